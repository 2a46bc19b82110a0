"""Emit: the text of a generated file. The view holds every name and line; the template only places them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from fusec import __version__
from fusec.codegen.checks import extents_lines
from fusec.codegen.from_values import ValuesView, values_view
from fusec.codegen.functions import FunctionView, function_views
from fusec.codegen.header import summary
from fusec.codegen.host_table import classes, table_lines
from fusec.codegen.kernels import KernelView, kernel_views
from fusec.codegen.module import ModuleView, module_view
from fusec.codegen.names import FileNames, OpNames, words
from fusec.codegen.outline import Body, Function, outlined
from fusec.codegen.package import SPEC
from fusec.codegen.prepare import prepared_lines
from fusec.codegen.registration import call_lines, fitted, registration_lines
from fusec.codegen.shared_plans import with_shared
from fusec.codegen.signature import documentation, literal, parameters, quoted, returns, sequence
from fusec.codegen.wrap import LIMIT, filled, wrapped
from fusec.ir.arguments import extent_names, layout_arguments
from fusec.ir.graph import Graph
from fusec.ir.host.names import Name, with_names
from fusec.ir.program import HostTable, Program
from fusec.ir.sizes import size_text, symbols_in
from fusec.passes.host.table import PREPARE, SIZES


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
    values: ValuesView | None
    modules: tuple[ModuleView, ...]


def emit(
    programs: tuple[Program, ...], functions: Mapping[str, str], names: FileNames, spec_name: str, spec_hash: str
) -> str:
    """The generated file of a spec. `functions` has by its name every function that is plain PyTorch, as text."""
    constants = {program.graph.name: own.constant for program, own in zip(programs, names.ops, strict=True)}
    views = tuple(
        _op_view(program, own, constants, names, functions) for program, own in zip(programs, names.ops, strict=True)
    )
    public = [name for program in programs for name in program.graph.public]
    views, functions_of_kernels = _with_functions(views, _functions(programs, names), names)
    body = _template().render(
        version=__version__,
        spec_name=spec_name,
        spec_mark=SPEC,
        spec_hash=spec_hash,
        tuned_for=[f'{names.hash} = "{spec_hash}"'] if any(_table(program).plans.tuned for program in programs) else [],
        docstring=quoted(summary(programs, names)),
        imports=_import_lines(
            views, functions_of_kernels, names.imports, set().union(*(classes(_table(p).plans) for p in programs))
        ),
        exports=wrapped(f"__all__ = [{', '.join(sorted(map(literal, public)))}]"),
        functions=functions_of_kernels,
        ops=views,
    )
    return body.rstrip() + "\n"


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("fusec.codegen"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("op.py.j2")


def _op_view(
    program: Program,
    names: OpNames,
    constants: Mapping[str, str],
    file: FileNames,
    functions: Mapping[str, str],
) -> OpView:
    """`constants` has what each op of the file is called as an object."""
    graph, spelled, imports = program.graph, program.spelled, file.imports
    return OpView(
        name=graph.name,
        names=names,
        kernels=tuple(kernel for kernel in kernel_views(program) if kernel.name in names.kernels),
        reference=functions[names.reference].rstrip() + "\n",
        signature=tuple(wrapped(f"def {graph.name}({', '.join(parameters(graph.params))}) -> {returns(graph)}:")),
        doc=tuple(quoted(documentation(graph)).split("\n")),
        layout=", ".join(layout_arguments(spelled)),
        call=fitted(call_lines(graph, names.constant, imports), {}),
        prepare=functions[names.prepare].rstrip() + "\n" if program.once else "",
        prepared=fitted(prepared_lines(program.once, names), imports) if program.once else (),
        extents=fitted(extents_lines(spelled, graph), imports),
        plans=tuple(_plans_lines(program, names, file)),
        registration=tuple(
            registration_lines(graph, program.spelled, names.constant, imports, _about(graph, names, constants))
        ),
        renamed=tuple(_renamed_lines(names, imports)),
        values=values_view(program, names, imports),
        modules=tuple(module_view(module, program, names, imports) for module in graph.modules),
    )


def _renamed_lines(names: OpNames, imports: Mapping[str, str]) -> Iterator[str]:
    """Kernels of the file under the names that their tensors have here."""
    for each in names.renamed:
        words = "".join(f", {word}={literal(other)}" for word, other in each.words if word.isidentifier())
        # Words of strides may begin with a digit, as that of `2*N`.
        others = [f"{literal(word)}: {literal(other)}" for word, other in each.words if not word.isidentifier()]
        words += f", **{{{', '.join(others)}}}" if others else ""
        yield from wrapped(f"{each.name} = {imports['renamed']}({each.kernel}{words})")


def _functions(programs: tuple[Program, ...], names: FileNames) -> tuple[FunctionView, ...]:
    """The functions that the kernels of a file call, each once."""
    views = function_views(programs)
    return tuple(views[name] for name in names.functions)


def _with_functions(
    views: tuple[OpView, ...], called: tuple[FunctionView, ...], names: FileNames
) -> tuple[tuple[OpView, ...], tuple[FunctionView, ...]]:
    """The ops, and the functions that their kernels share: found before imports are called otherwise, as in kernels."""
    bodies = {
        kernel.name: Body(kernel.body, kernel.arguments, frozenset(kernel.arguments[-kernel.compile_time :]))
        for view in views
        for kernel in view.kernels
        if kernel.group is None
    }
    bodies, functions = outlined(bodies, names.taken)
    own = {name: fitted(body.lines, names.imports) for name, body in bodies.items()}
    views = tuple(
        replace(view, kernels=tuple(_fitting(kernel, own, names.imports) for kernel in view.kernels)) for view in views
    )
    both: tuple[FunctionView | Function, ...] = (*called, *functions)
    shown = tuple(
        FunctionView(each.name, _signature(each), quoted(each.doc), fitted(each.body, names.imports)) for each in both
    )
    return views, shown


def _fitting(kernel: KernelView, known: Mapping[str, tuple[str, ...]], imports: Mapping[str, str]) -> KernelView:
    """A kernel whose lines fit: they are known, or it is in roles and shares none."""
    if kernel.group is None:
        return replace(kernel, body=known[kernel.name])
    group = replace(kernel.group, body=fitted(kernel.group.body, imports))
    (jit,) = fitted((kernel.jit,), imports)
    return replace(kernel, jit=jit, body=fitted(kernel.body, imports), group=group)


def _signature(function: FunctionView | Function) -> tuple[str, ...]:
    """The lines of a function before its body: one if that fits."""
    line = f"def {function.name}({', '.join(function.parameters)}):"
    if len(line) <= LIMIT:
        return (line,)
    return (f"def {function.name}(", *(f"    {row}" for row in filled(function.parameters)), "):")


def _about(graph: Graph, names: OpNames, constants: Mapping[str, str]) -> dict[str, str]:
    """Where the parts of an op stand. Its overloads may stand below."""
    overloads = {"overloads": f"lambda: {sequence(constants[name] for name in graph.overloads)}"}
    return {
        **{part: getattr(names, part) for part in ("extents", "plans")},
        **(overloads if graph.overloads else {}),
        "function": graph.name,
    }


def _table(program: Program) -> HostTable:
    assert program.table is not None
    return program.table


def _sizes_text(program: Program) -> str:
    """A function of extents: what is computed of them, by the keys of the table."""
    computed = _table(program).computed
    given = [name for name in extent_names(program.spelled) if name in symbols_in([value for _, value in computed])]
    entries = (f"{literal(key)}: {size_text(value)}" for key, value in computed)
    return f"lambda {', '.join(given)}: {{{', '.join(entries)}}}"


def _plans_lines(program: Program, own: OpNames, names: FileNames) -> Iterator[str]:
    """The statement that makes the table, behind those that make what it is the first to share with another."""
    op = names.ops.index(own)
    for each in names.shared:
        if each.op == op:
            yield from table_lines(f"{each.name} = ", each.shown, names.imports)
            yield ""
    plans = with_shared(_table(program).plans, names.shared)
    if plans.tuned is not None:
        plans = replace(plans, tuned=replace(plans.tuned, spec=Name(names.hash)))
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
    bodies += [(kernel.jit, *kernel.body) for view in views for kernel in view.kernels]
    bodies += [body for view in views if (of := view.values) for body in (of.call, of.extents, of.registration)]
    bodies += [function.body for function in functions]
    classes = [body for view in views for module in view.modules for body in (module.bases, module.init, module.reset)]
    used = words(line for body in bodies for line in body) | {imports["Op"]} | {imports[name] for name in tables}
    used |= words(line for body in classes for line in body) - {"device"}  # an argument of constructors
    ordered = sorted(imports.items(), key=lambda name: (name[0].islower(), name[0]))
    names = [name if name == given else f"{name} as {given}" for name, given in ordered if given in used]
    line = f"from fusec.runtime import {', '.join(names)}"
    return (
        [line] if len(line) <= LIMIT else ["from fusec.runtime import (", *(f"    {row}" for row in filled(names)), ")"]
    )
