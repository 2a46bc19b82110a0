"""Emit: the text of a generated file. The view holds every name and line; the template only places them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from textwrap import fill

from jinja2 import Environment, PackageLoader, StrictUndefined

from fusec import __version__
from fusec.codegen.checks import extent_names, extents_lines, layout_arguments, outputs_lines, settings
from fusec.codegen.header import summary
from fusec.codegen.kernels import KernelView, kernel_views
from fusec.codegen.launcher import plan_lines, scalar_names
from fusec.codegen.module import ModuleView, conversion, module_view
from fusec.codegen.names import FileNames, OpNames, respelled, words
from fusec.codegen.package import SPEC
from fusec.codegen.prepare import prepared_lines
from fusec.codegen.signature import documentation, literal, parameter, quoted, returns, schema, sequence
from fusec.codegen.ways import choosing, plan_names
from fusec.codegen.wrap import LIMIT, wrapped
from fusec.ir.graph import Graph, ScalarParam
from fusec.ir.program import Program

SCHEMA_WIDTH = 112
"""Characters of a schema in one line: what is left of the page beside quotes and indentation."""


@dataclass(frozen=True, slots=True)
class OpView:
    """One op as text, section by section."""

    name: str
    names: OpNames
    kernels: tuple[KernelView, ...]
    reference: str
    signature: tuple[str, ...]
    doc: tuple[str, ...]
    layout: str
    extent_names: str
    call: tuple[str, ...]
    prepare: str
    prepared: tuple[str, ...]
    extents: tuple[str, ...]
    outputs: tuple[str, ...]
    plan: tuple[str, ...]
    ways: tuple[str, ...]
    registration: tuple[str, ...]
    modules: tuple[ModuleView, ...]


def emit(
    programs: tuple[Program, ...], functions: Mapping[str, str], names: FileNames, spec_name: str, spec_hash: str
) -> str:
    """The generated file of a spec. `functions` has by its name every function that is plain PyTorch, as text."""
    constants = {program.graph.name: own.constant for program, own in zip(programs, names.ops, strict=True)}
    views = tuple(
        _op_view(program, own, constants, names.imports, functions, spec_hash)
        for program, own in zip(programs, names.ops, strict=True)
    )
    environment = Environment(
        loader=PackageLoader("fusec.codegen"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    public = [name for program in programs for name in program.graph.public]
    body = environment.get_template("op.py.j2").render(
        version=__version__,
        spec_name=spec_name,
        spec_mark=SPEC,
        spec_hash=spec_hash,
        docstring=quoted(summary(programs)),
        imports=_import_lines(views, names.imports),
        exports=wrapped(f"__all__ = [{', '.join(sorted(map(literal, public)))}]"),
        ops=views,
    )
    return body.rstrip() + "\n"


def _op_view(
    program: Program,
    names: OpNames,
    constants: Mapping[str, str],
    imports: Mapping[str, str],
    functions: Mapping[str, str],
    spec_hash: str,
) -> OpView:
    """`constants` has what each op of the file is called as an object."""
    graph, spelled = program.graph, program.spelled
    return OpView(
        name=graph.name,
        names=names,
        kernels=tuple(
            replace(kernel, body=_fitted(kernel.body, imports))
            for kernel in kernel_views(program)
            if kernel.name in names.kernels
        ),
        reference=functions[names.reference].rstrip() + "\n",
        signature=tuple(wrapped(f"def {graph.name}({', '.join(map(parameter, graph.params))}) -> {returns(graph)}:")),
        doc=tuple(quoted(documentation(graph)).split("\n")),
        layout=", ".join(layout_arguments(spelled)),
        extent_names=", ".join(extent_names(spelled)),
        call=_fitted(_call_lines(graph, names, imports), {}),
        prepare=functions[names.prepare].rstrip() + "\n" if program.once else "",
        prepared=_fitted(prepared_lines(program.once, names), imports) if program.once else (),
        extents=_fitted(extents_lines(spelled, graph), imports),
        outputs=_fitted(outputs_lines(spelled), imports),
        plan=_fitted(plan_lines(program, names), imports),
        ways=tuple(_ways(program, names, imports["Ways"], spec_hash)),
        registration=tuple(_registration(graph, names, imports["Op"], constants)),
        modules=tuple(module_view(module, graph, imports) for module in graph.modules),
    )


def _fitted(lines: Iterable[str], imports: Mapping[str, str]) -> tuple[str, ...]:
    """The lines of a function's body, none longer than the page."""
    return tuple(part for line in lines for part in wrapped(respelled(line, imports), depth=1))


def _call_lines(graph: Graph, names: OpNames, imports: Mapping[str, str]) -> list[str]:
    """The body of the public function: scalars as numbers, then the op."""
    lines: list[str] = []
    for param in graph.params:
        if isinstance(param, ScalarParam):
            lines.append(f"{param.name} = {conversion(graph.name, param, imports)}")
    given = [sequence(tensor.name for tensor in graph.tensors)]
    if scalar_names(graph) or settings(graph):
        given.append(sequence(scalar_names(graph)))
    if settings(graph):
        given.append(sequence(settings(graph)))
    return [*lines, f"return {names.constant}({', '.join(given)})"]


def _registration(graph: Graph, names: OpNames, op: str, constants: Mapping[str, str]) -> Iterator[str]:
    """The statement that makes the op, its schema over several lines where it is long."""
    *first, last = fill(schema(graph), SCHEMA_WIDTH, break_long_words=False, break_on_hyphens=False).split("\n")
    yield f"{names.constant} = {op}("
    yield from (f"    {literal(f'{line} ')}" for line in first)
    yield f"    {literal(last)},"
    yield f"    tensors={len(graph.tensors)},"
    if scalar_names(graph):
        yield f"    scalars={len(scalar_names(graph))},"
    yield from (f"    {part}={getattr(names, part)}," for part in ("extents", "outputs", "plan"))
    if graph.overloads:
        # They may stand below.
        yield from wrapped(f"    overloads=lambda: {sequence(constants[name] for name in graph.overloads)},")
    yield ")"


def _ways(program: Program, names: OpNames, ways: str, spec_hash: str) -> Iterator[str]:
    """The statement that finds the tables of an op with a choice of plans."""
    about = choosing(program.graph)
    if about is None:
        return
    yield f"{names.ways} = {ways}("
    yield f"    {literal(program.graph.name)},"
    yield "    __file__,"
    yield f"    spec={literal(spec_hash)},"
    yield f"    case={sequence(map(literal, about.case))},"
    yield f"    plans={sequence(map(literal, plan_names(program)))},"
    yield ")"


def _import_lines(views: tuple[OpView, ...], imports: Mapping[str, str]) -> list[str]:
    bodies = [body for view in views for body in (view.call, view.prepared, view.extents, view.outputs, view.plan)]
    bodies += [kernel.body for view in views for kernel in view.kernels]
    bodies += [view.ways for view in views]
    classes = [body for view in views for module in view.modules for body in (module.init, module.reset)]
    used = words(line for body in bodies for line in body) | {imports["Op"]}
    used |= words(line for body in classes for line in body) - {"device"}  # an argument of constructors
    names = [name if name == given else f"{name} as {given}" for name, given in imports.items() if given in used]
    line = f"from fusec.runtime import {', '.join(names)}"
    return [line] if len(line) <= LIMIT else ["from fusec.runtime import (", *(f"    {name}," for name in names), ")"]
