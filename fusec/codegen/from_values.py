"""The op that takes prepared values in place of weights, for modules that keep nothing else: as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fusec.codegen.checks import extents_lines
from fusec.codegen.names import OpNames
from fusec.codegen.registration import call_lines, fitted, registration_lines
from fusec.codegen.signature import literal
from fusec.codegen.wrap import wrapped
from fusec.ir.arguments import extent_names, layout_arguments
from fusec.ir.program import Program


@dataclass(frozen=True, slots=True)
class ValuesView:
    """What makes such an op, and the function that modules call."""

    signature: tuple[str, ...]
    doc: str
    call: tuple[str, ...]
    layout: str
    extents: tuple[str, ...]
    registration: tuple[str, ...]


def values_view(program: Program, names: OpNames, imports: Mapping[str, str]) -> ValuesView | None:
    """The op of prepared values of `program`, where it has one: planned by the table of the op itself."""
    about, own = program.from_values, names.values
    if about is None or own is None:
        return None
    face, spelled = about.face, about.spelled
    tensors = literal(" ".join(tensor.name for tensor in spelled.tensors))
    extents = literal(" ".join(extent_names(spelled)))
    plans = f"{names.plans}.of_values({tensors}, extents={extents})"
    parts = {"extents": own.extents, "plans": plans}
    registered = registration_lines(replace(face, name=f"{face.name}_of_values"), spelled, own.constant, imports, parts)
    return ValuesView(
        tuple(wrapped(f"def {own.function}({', '.join(param.name for param in face.params)}):")),
        f'"""`{face.name}` of what was prepared of its weights."""',
        fitted(call_lines(face, own.constant, imports), {}),
        ", ".join(layout_arguments(spelled)),
        fitted(extents_lines(spelled, face), imports),
        tuple(registered),
    )
