"""Emit: the text of a generated file. The view holds every name and line; the template only places them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from textwrap import dedent

from jinja2 import Environment, PackageLoader, StrictUndefined

from fusec import __version__
from fusec.codegen.checks import extent_names, extents_lines, layout_arguments, outputs_lines, settings
from fusec.codegen.launcher import PlanWriter, scalar_names
from fusec.codegen.names import FileNames, OpNames, respelled, words
from fusec.codegen.signature import documentation, parameter, returns, schema, sequence
from fusec.codegen.triton import kernel_lines
from fusec.codegen.wrap import wrapped
from fusec.ir.graph import Graph, ScalarParam
from fusec.ir.kernel import Kernel
from fusec.ir.plan import Stage
from fusec.ir.program import Program
from fusec.ir.sizes import symbols_in
from fusec.ir.types import Kind, extent, without


@dataclass(frozen=True, slots=True)
class KernelView:
    """A kernel as text: decorator options, parameters, documentation and body."""

    name: str
    options: str
    parameters: tuple[str, ...]
    doc: str
    body: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpView:
    """One op as text, section by section."""

    name: str
    names: OpNames
    kernels: tuple[KernelView, ...]
    reference: str
    parameters: tuple[str, ...]
    returns: str
    doc: tuple[str, ...]
    layout: str
    extent_names: str
    call: tuple[str, ...]
    tensors: int
    scalars: int
    extents: tuple[str, ...]
    outputs: tuple[str, ...]
    plan: tuple[str, ...]
    schema: str


def emit(
    programs: tuple[Program, ...], references: tuple[str, ...], names: FileNames, spec_name: str, spec_hash: str
) -> str:
    """The generated file of a spec. `references` holds the PyTorch source of each op's reference."""
    views = tuple(
        _op_view(program, own, names.imports, text)
        for program, own, text in zip(programs, names.ops, references, strict=True)
    )
    environment = Environment(
        loader=PackageLoader("fusec.codegen"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    body = environment.get_template("op.py.j2").render(
        version=__version__,
        spec_name=spec_name,
        spec_hash=spec_hash,
        docstring=_quoted(_summary(programs)),
        imports=_used_imports(views, names.imports),
        op_class=names.imports["Op"],
        exports=repr([view.name for view in views]).replace("'", '"'),
        ops=views,
    )
    return body.rstrip() + "\n"


def _op_view(program: Program, names: OpNames, imports: Mapping[str, str], reference: str) -> OpView:
    graph, spelled = program.graph, program.spelled
    writer = PlanWriter(program, names)
    return OpView(
        name=graph.name,
        names=names,
        kernels=_kernel_views(program, writer.wide, imports),
        reference=reference.rstrip() + "\n",
        parameters=tuple(parameter(param) for param in graph.params),
        returns=returns(graph),
        doc=tuple(_quoted(documentation(graph)).split("\n")),
        layout=", ".join(layout_arguments(spelled)),
        extent_names=", ".join(extent_names(spelled)),
        call=_fitted(_call_lines(graph, names, imports), {}),
        tensors=len(graph.tensors),
        scalars=len(scalar_names(graph)),
        extents=_fitted(extents_lines(spelled, graph), imports),
        outputs=_fitted(outputs_lines(spelled), imports),
        plan=_fitted(writer.lines(), imports),
        schema=repr(schema(graph)).replace("'", '"'),
    )


def _fitted(lines: Iterable[str], imports: Mapping[str, str]) -> tuple[str, ...]:
    """The lines of a function's body, none longer than the page."""
    return tuple(part for line in lines for part in wrapped(respelled(line, imports), depth=1))


def _call_lines(graph: Graph, names: OpNames, imports: Mapping[str, str]) -> list[str]:
    """The body of the public function: scalars as numbers, then the op."""
    lines: list[str] = []
    for param in graph.params:
        if isinstance(param, ScalarParam):
            check = imports[{Kind.REAL: "real", Kind.INT: "integer", Kind.BOOL: "flag"}[param.dtype.kind]]
            bits = f", {param.dtype.bits}" if param.dtype.kind is Kind.INT else ""
            lines.append(f'{param.name} = {check}("{graph.name}", "{param.name}", {param.name}{bits})')
    given = [sequence(tensor.name for tensor in graph.tensors)]
    if scalar_names(graph) or settings(graph):
        given.append(sequence(scalar_names(graph)))
    if settings(graph):
        given.append(sequence(settings(graph)))
    return [*lines, f"return {names.constant}({', '.join(given)})"]


def _kernel_views(program: Program, wide: bool, imports: Mapping[str, str]) -> tuple[KernelView, ...]:
    stages = {
        kernel.name: stage
        for group in program.groups
        for plan in group.all_plans()
        for stage, kernel in zip(plan.plan.stages, plan.kernels, strict=True)
    }
    return tuple(
        _kernel_view(kernel, stages[kernel.name], program.spelled, wide, imports) for kernel in program.kernels
    )


def _kernel_view(kernel: Kernel, stage: Stage, graph: Graph, wide: bool, imports: Mapping[str, str]) -> KernelView:
    varying = _row_extents(stage) & set(kernel.integers)
    scalars = [param for param in graph.params if isinstance(param, ScalarParam) and param.name in kernel.scalars]
    fixed = sorted(varying | {param.name for param in scalars if param.dtype.kind is Kind.INT})
    quoted = ", ".join(f'"{name}"' for name in fixed)
    constexprs = [*kernel.structure, *kernel.blocks, *kernel.flags, *(["REAL"] if wide else [])]
    parameters = (
        *(f"{name}_ptr" for name in kernel.pointers),
        *(_scalar_parameter(param) for param in scalars),
        *kernel.integers,
        *(f"{name}: tl.constexpr" for name in constexprs),
    )
    body = kernel_lines(kernel, "REAL" if wide else "tl.float32")
    return KernelView(
        kernel.name,
        f"(do_not_specialize=[{quoted}])" if fixed else "",
        parameters,
        _quoted(f"{kernel.doc[0].upper()}{kernel.doc[1:]}."),
        _fitted(body, imports),
    )


def _row_extents(stage: Stage) -> set[str]:
    """Extents that vary from call to call and matter to no vector access: a kernel is not compiled anew for them."""
    rows = set(symbols_in([extent(axis) for axis in stage.rows]))
    inner = set(symbols_in([extent(axis) for axis in without(stage.order, stage.rows)]))
    return rows - inner - {"lead0"}


def _scalar_parameter(param: ScalarParam) -> str:
    types = {"i32": "tl.int32", "i64": "tl.int64", "f64": "tl.float64", "i8": "tl.int32", "u8": "tl.int32"}
    return f"{param.name}: {types[param.dtype.name]}" if param.dtype.name in types else param.name


def _summary(programs: tuple[Program, ...]) -> str:
    """The docstring of the file: each op with its plans in words."""
    parts: list[str] = []
    for program in programs:
        doc = dedent(program.graph.doc).strip()
        plans = [
            f"  {plan.plan.shape.value:9} {plan.plan.words}" for group in program.groups for plan in group.all_plans()
        ]
        parts.append(
            "\n".join([doc or program.graph.name, "", f"Plans of `{program.graph.name}`, the first that fits:", *plans])
        )
    return "\n\n".join(parts) + "\n"


def _quoted(text: str) -> str:
    """A docstring: text as data, whatever it contains."""
    if "\\" in text or '"""' in text or text.endswith('"') or (not text.isprintable() and not _plain(text)):
        return repr(text)
    return f'"""{text}\n"""' if "\n" in text else f'"""{text}"""'


def _plain(text: str) -> bool:
    return all(char == "\n" or char.isprintable() for char in text)


def _used_imports(views: tuple[OpView, ...], imports: Mapping[str, str]) -> list[str]:
    bodies = [body for view in views for body in (view.call, view.extents, view.outputs, view.plan)]
    bodies += [kernel.body for view in views for kernel in view.kernels]
    used = words(line for body in bodies for line in body) | {imports["Op"]}
    return [name if name == given else f"{name} as {given}" for name, given in imports.items() if given in used]
