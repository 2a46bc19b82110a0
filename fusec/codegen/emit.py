"""Emit: the text of a generated file. The view holds every name and line; the template only places them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from textwrap import fill

from jinja2 import Environment, PackageLoader, StrictUndefined

from fusec import __version__
from fusec.codegen.checks import extents_lines, outputs_text
from fusec.codegen.functions import FunctionView, function_views
from fusec.codegen.header import summary
from fusec.codegen.host_table import classes, table_lines
from fusec.codegen.kernels import KernelView, kernel_views
from fusec.codegen.module import ModuleView, conversion, module_view
from fusec.codegen.names import FileNames, OpNames, respelled, words
from fusec.codegen.outline import Body, Function, outlined
from fusec.codegen.package import SPEC
from fusec.codegen.prepare import prepared_lines
from fusec.codegen.shared_plans import with_shared
from fusec.codegen.signature import documentation, literal, parameter, quoted, returns, schema, sequence
from fusec.codegen.wrap import LIMIT, filled, wrapped
from fusec.ir.arguments import extent_names, layout_arguments, scalar_names, settings
from fusec.ir.graph import Graph, ScalarParam
from fusec.ir.host.names import with_names
from fusec.ir.program import HostTable, Program
from fusec.ir.sizes import size_text, symbols_in
from fusec.passes.host.table import PREPARE, SIZES

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
    call: tuple[str, ...]
    prepare: str
    prepared: tuple[str, ...]
    extents: tuple[str, ...]
    plans: tuple[str, ...]
    registration: tuple[str, ...]
    renamed: tuple[str, ...]
    modules: tuple[ModuleView, ...]


def emit(
    programs: tuple[Program, ...], functions: Mapping[str, str], names: FileNames, spec_name: str, spec_hash: str
) -> str:
    """The generated file of a spec. `functions` has by its name every function that is plain PyTorch, as text."""
    constants = {program.graph.name: own.constant for program, own in zip(programs, names.ops, strict=True)}
    views = tuple(
        _op_view(program, own, constants, names, functions, spec_hash)
        for program, own in zip(programs, names.ops, strict=True)
    )
    environment = Environment(
        loader=PackageLoader("fusec.codegen"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    public = [name for program in programs for name in program.graph.public]
    views, functions_of_kernels = _with_functions(views, _functions(programs, names), names)
    body = environment.get_template("op.py.j2").render(
        version=__version__,
        spec_name=spec_name,
        spec_mark=SPEC,
        spec_hash=spec_hash,
        docstring=quoted(summary(programs, names)),
        imports=_import_lines(
            views, functions_of_kernels, names.imports, set().union(*(classes(_table(p).plans) for p in programs))
        ),
        exports=wrapped(f"__all__ = [{', '.join(sorted(map(literal, public)))}]"),
        functions=functions_of_kernels,
        ops=views,
    )
    return body.rstrip() + "\n"


def _op_view(
    program: Program,
    names: OpNames,
    constants: Mapping[str, str],
    file: FileNames,
    functions: Mapping[str, str],
    spec_hash: str,
) -> OpView:
    """`constants` has what each op of the file is called as an object."""
    graph, spelled, imports = program.graph, program.spelled, file.imports
    return OpView(
        name=graph.name,
        names=names,
        kernels=tuple(kernel for kernel in kernel_views(program) if kernel.name in names.kernels),
        reference=functions[names.reference].rstrip() + "\n",
        signature=tuple(wrapped(f"def {graph.name}({', '.join(map(parameter, graph.params))}) -> {returns(graph)}:")),
        doc=tuple(quoted(documentation(graph)).split("\n")),
        layout=", ".join(layout_arguments(spelled)),
        call=_fitted(_call_lines(graph, names, imports), {}),
        prepare=functions[names.prepare].rstrip() + "\n" if program.once else "",
        prepared=_fitted(prepared_lines(program.once, names), imports) if program.once else (),
        extents=_fitted(extents_lines(spelled, graph), imports),
        plans=tuple(_plans_lines(program, names, file, spec_hash)),
        registration=tuple(_registration(program, names, imports, constants)),
        renamed=tuple(_renamed_lines(names, imports)),
        modules=tuple(module_view(module, graph, imports) for module in graph.modules),
    )


def _renamed_lines(names: OpNames, imports: Mapping[str, str]) -> Iterator[str]:
    """Kernels of the file under the names that their tensors have here."""
    for each in names.renamed:
        words = "".join(f", {word}={literal(other)}" for word, other in each.words)
        yield from wrapped(f"{each.name} = {imports['renamed']}({each.kernel}{words})")


def _functions(programs: tuple[Program, ...], names: FileNames) -> tuple[FunctionView, ...]:
    """The functions that the kernels of a file call, each once."""
    views = {view.name: view for program in programs for view in function_views(program)}
    return tuple(views[name] for name in names.functions)


def _with_functions(
    views: tuple[OpView, ...], called: tuple[FunctionView, ...], names: FileNames
) -> tuple[tuple[OpView, ...], tuple[FunctionView, ...]]:
    """The ops, and the functions that their kernels share: found before imports are called otherwise, as in kernels."""
    bodies = {
        kernel.name: Body(kernel.body, kernel.arguments, frozenset(kernel.arguments[-kernel.compile_time :]))
        for view in views
        for kernel in view.kernels
    }
    bodies, functions = outlined(bodies, names.taken)
    fitted = {name: _fitted(body.lines, names.imports) for name, body in bodies.items()}
    views = tuple(
        replace(view, kernels=tuple(replace(kernel, body=fitted[kernel.name]) for kernel in view.kernels))
        for view in views
    )
    both: tuple[FunctionView | Function, ...] = (*called, *functions)
    shown = tuple(
        FunctionView(each.name, _signature(each), quoted(each.doc), _fitted(each.body, names.imports)) for each in both
    )
    return views, shown


def _signature(function: FunctionView | Function) -> tuple[str, ...]:
    """The lines of a function before its body: one if that fits."""
    line = f"def {function.name}({', '.join(function.parameters)}):"
    if len(line) <= LIMIT:
        return (line,)
    return (f"def {function.name}(", *(f"    {row}" for row in filled(function.parameters)), "):")


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


def _registration(
    program: Program, names: OpNames, imports: Mapping[str, str], constants: Mapping[str, str]
) -> Iterator[str]:
    """The statement that makes the op, its schema over several lines where it is long."""
    graph = program.graph
    *first, last = fill(schema(graph), SCHEMA_WIDTH, break_long_words=False, break_on_hyphens=False).split("\n")
    yield f"{names.constant} = {imports['Op']}("
    yield from (f"    {literal(f'{line} ')}" for line in first)
    yield f"    {literal(last)},"
    given = [f"tensors={len(graph.tensors)}"]
    if scalar_names(graph):
        given.append(f"scalars={len(scalar_names(graph))}")
    given += [f"{part}={getattr(names, part)}" for part in ("extents", "plans")]
    if graph.overloads:
        # They may stand below.
        given.append(f"overloads=lambda: {sequence(constants[name] for name in graph.overloads)}")
    given.append(f"outputs={respelled(outputs_text(program.spelled), imports)}")
    given.append(f"function={graph.name}")
    yield from (f"    {row}" for line in filled(given) for row in wrapped(line, 1))
    yield ")"


def _table(program: Program) -> HostTable:
    assert program.table is not None
    return program.table


def _sizes_text(program: Program) -> str:
    """A function of extents: what is computed of them, by the keys of the table."""
    computed = _table(program).computed
    given = [name for name in extent_names(program.spelled) if name in symbols_in([value for _, value in computed])]
    entries = (f"{literal(key)}: {size_text(value)}" for key, value in computed)
    return f"lambda {', '.join(given)}: {{{', '.join(entries)}}}"


def _plans_lines(program: Program, own: OpNames, names: FileNames, spec_hash: str) -> Iterator[str]:
    """The statement that makes the table, behind those that make what it is the first to share with another."""
    op = names.ops.index(own)
    for each in names.shared:
        if each.op == op:
            yield from table_lines(f"{each.name} = ", each.shown, names.imports)
            yield ""
    plans = with_shared(_table(program).plans, names.shared)
    if plans.tuned is not None:
        plans = replace(plans, tuned=replace(plans.tuned, spec=spec_hash))
    told = with_names(plans, {SIZES: _sizes_text(program), PREPARE: own.prepared})
    yield from table_lines(f"{own.plans} = ", told, names.imports)


def _import_lines(
    views: tuple[OpView, ...],
    functions: tuple[FunctionView, ...],
    imports: Mapping[str, str],
    tables: set[str],
) -> list[str]:
    """The imports of a file whose `tables` are made of these classes."""
    bodies = [
        body for view in views for body in (view.call, view.prepared, view.extents, view.registration, view.renamed)
    ]
    bodies += [kernel.body for view in views for kernel in view.kernels]
    bodies += [function.body for function in functions]
    classes = [body for view in views for module in view.modules for body in (module.init, module.reset)]
    used = words(line for body in bodies for line in body) | {imports["Op"]} | {imports[name] for name in tables}
    used |= words(line for body in classes for line in body) - {"device"}  # an argument of constructors
    ordered = sorted(imports.items(), key=lambda name: (name[0].islower(), name[0]))
    names = [name if name == given else f"{name} as {given}" for name, given in ordered if given in used]
    line = f"from fusec.runtime import {', '.join(names)}"
    return (
        [line] if len(line) <= LIMIT else ["from fusec.runtime import (", *(f"    {row}" for row in filled(names)), ")"]
    )
