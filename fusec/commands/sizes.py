"""The extents a benchmark runs at: those the user gives, the rest chosen to move some hundred megabytes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from fusec.commands.outcome import UsageError
from fusec.extents.room import LEAD, Room
from fusec.extents.signature import Signature
from fusec.ir.graph import ChoiceParam, Graph
from fusec.testing.cases import Case, shape

ROW = 4096
"""The extent of a row that is one axis; a row of several axes gets `PART` for each of them."""

PART = 128

ELEMENTS = 2**26
"""The most elements any one tensor gets by default."""


def parse(sizes: list[str]) -> tuple[dict[str, int], tuple[int, ...] | None]:
    """`N=4096` and `...=8x2048` as extents by axis and the extents of `...`. Raises `UsageError` for anything else."""
    extents: dict[str, int] = {}
    lead: tuple[int, ...] | None = None
    for text in sizes:
        name, _, value = text.partition("=")
        try:
            numbers = tuple(int(part) for part in value.split("x"))
        except ValueError:
            raise UsageError(f"--size {text}: write AXIS=EXTENT, for instance N=4096 or ...=8x2048") from None
        if name == "...":
            lead = numbers
        else:
            extents[name] = prod(numbers)
    return extents, lead


def choose(graph: Graph, sizes: list[str], dtypes: Mapping[str, str]) -> Case:
    """A call of the op at the sizes given, with normally distributed values and every default.

    Raises `UsageError` for an axis or a dtype that the op does not have, or extents that break its conditions.
    """
    given, lead = parse(sizes)
    signature = Signature.of(graph)
    unknown = [name for name in given if name not in (*signature.free, *signature.bound)]
    if unknown:
        axes = ", ".join((*signature.free, *(["..."] if signature.has_lead else [])))
        raise UsageError(f"{graph.name} has no axis {', '.join(unknown)}; it has {axes}")
    rows = sum(name in signature.inner for name in signature.free)
    inner = {name: ROW if rows == 1 else PART for name in signature.free if name in signature.inner}
    outer = [name for name in signature.free if name not in signature.inner]
    for exponent in reversed(range(15)):
        extents = {**inner, **dict.fromkeys(outer, 2**exponent), **given}
        case = case_of(graph, signature, extents, lead or (2**exponent,), dtypes)
        if max(prod(shape(case, param.dims)) for param in graph.tensors) <= ELEMENTS:
            break
    return case


def case_of(
    graph: Graph,
    signature: Signature,
    extents: Mapping[str, int],
    lead: tuple[int, ...],
    dtypes: Mapping[str, str],
    omitted: tuple[str, ...] = (),
) -> Case:
    """A call with these extents, plain otherwise. Raises `UsageError` where the op cannot have them, or a dtype."""
    room = Room(signature, rows=2**62, elements=2**62)
    lead = lead if signature.has_lead else ()
    room.extents.update(extents)
    if signature.has_lead:
        room.extents[LEAD] = prod(lead)
    if not room.settle():
        raise UsageError(f"{graph.name} cannot have these extents: {extents}")
    chosen = {}
    for variable in graph.variables:
        names = [option.name for option in variable.options]
        name = dtypes.get(variable.name, "bf16" if "bf16" in names else names[0])
        if name not in names:
            raise UsageError(f"--dtype {variable.name}={name}: it is one of {', '.join(names)}")
        chosen[variable.name] = name
    return Case(
        op=graph.name,
        seed=0,
        extents={name: extent for name, extent in room.extents.items() if name != LEAD},
        lead=lead,
        dtypes=chosen,
        picks={p.name: p.default or p.options[0] for p in graph.params if isinstance(p, ChoiceParam)},
        omitted=omitted,
    )
