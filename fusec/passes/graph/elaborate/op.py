"""One op to one graph, and all ops of a program with their modules and overloads."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

import sympy

from fusec.diagnostics import Note, Source, Span, SpecError
from fusec.ir.expressions import GIVEN, OMITTED, Choose, Input, Scalar
from fusec.ir.graph import BOUNDED, ChoiceParam, DimParam, DTypeParam, Graph, Output, Param, ScalarParam, TensorParam
from fusec.ir.types import Named, Sum, symbol, without
from fusec.lang import syntax
from fusec.passes.graph.elaborate.bindings import Axes, Binding, Bound, Choice, Function, Type, Value
from fusec.passes.graph.elaborate.constraints import declared_constraints, implied_constraints
from fusec.passes.graph.elaborate.context import Context
from fusec.passes.graph.elaborate.extents import check_solved, used_axes
from fusec.passes.graph.elaborate.frame import Frame
from fusec.passes.graph.elaborate.identifiers import check_public_names
from fusec.passes.graph.elaborate.modules import read_modules
from fusec.passes.graph.elaborate.outputs import find_output
from fusec.passes.graph.elaborate.overloads import read_overloads
from fusec.passes.graph.elaborate.primitives import PRIMITIVES
from fusec.passes.graph.elaborate.report import Report, did_you_mean
from fusec.passes.graph.elaborate.signature import Declared, Signature, read_signature
from fusec.passes.graph.elaborate.statements import Body, check_function, storable
from fusec.passes.graph.solve_extents import solve_extents
from fusec.passes.graph.unpack import unpack


def elaborate(program: syntax.Program) -> tuple[Graph, ...]:
    """The graphs of all ops of a file. Raises `SpecError` with every mistake of the file and of those it uses."""
    report = Report()
    _check_functions(program, report)
    check_public_names(program.file, report)
    graphs = [_Op(program, op, report).graph() for op in program.file.ops]
    named = {op.name.text: graph for op, graph in zip(program.file.ops, graphs, strict=True)}
    modules = read_modules(program, named, report)
    overloads = read_overloads(program, named, report)
    found = (*program.faults, *report.diagnostics)
    if found:
        raise SpecError(tuple(sorted(found, key=lambda d: (d.span.source.name, d.span.start, d.span.end))))
    return tuple(
        replace(graph, modules=tuple(modules.get(graph.name, ())), overloads=tuple(overloads.get(graph.name, ())))
        for graph in graphs
        if graph
    )


def _check_functions(program: syntax.Program, report: Report) -> None:
    seen: set[tuple[Source, int]] = set()
    for functions in program.visible.values():
        for function in functions.values():
            key = (function.span.source, function.span.start)
            if function.span.source == program.standard or key in seen:
                continue
            seen.add(key)
            if function.name.text in PRIMITIVES:
                report.add(
                    f"`{function.name.text}` is built in and cannot be defined", function.name.span, help="rename it"
                )
            check_function(function, report)


class _Op:
    """Elaborates one op."""

    def __init__(self, program: syntax.Program, op: syntax.Op, report: Report) -> None:
        self._op = op
        self._report = report
        self._before = len(report)
        overloads = frozenset(each.name.text for each in program.file.overloads)
        self._signature = read_signature(op, overloads, report)
        self._context = Context(
            program,
            report,
            self._signature.params,
            {name: variable.type for name, variable in self._signature.variables.items()},
            dict(self._signature.axes),
            _sums(self._signature),
        )
        self._body = Body(self._context, Frame(program.standard), {})

    def graph(self) -> Graph | None:
        """The graph, or None when the op is wrong, which has been reported."""
        self._bind_params()
        for statement in self._op.body:
            self._body.execute(statement)
        found = [find_output(declared, self._body, self._report) for declared in self._signature.outputs]
        outputs = tuple(output for output in found if output)
        self._check_effects()
        constraints = declared_constraints(self._op.conditions, self._extent, self._report)
        graph = None if self._is_wrong() else self._unpacked(outputs)
        if graph is None:
            return None
        params, nodes, outputs = graph.params, graph.nodes, graph.outputs
        axes = used_axes(params, outputs, nodes)
        constraints = (*constraints, *implied_constraints(axes, nodes, constraints))
        named = [axis.name for axis in axes if isinstance(axis, Named)]
        solves = solve_extents(params, constraints, named)
        solved = {solve.name for solve in solves}
        check_solved(axes, solved, params, self._context.axes, self._op.name.span, self._report)
        if self._is_wrong():
            return None
        return replace(graph, solves=solves, constraints=constraints)

    def _unpacked(self, outputs: tuple[Output, ...]) -> Graph | None:
        """What the op computes, with packed numbers as bytes."""
        graph = Graph(
            self._op.name.text,
            self._op.doc,
            tuple(self._signature.params.values()),
            outputs,
            self._context.builder.nodes,
            tuple(self._context.scatters),
            tuple(variable.type for variable in self._signature.variables.values()),
            bounded=BOUNDED if self._context.bounded is None else self._context.bounded,
        )
        try:
            return unpack(graph)
        except SpecError as error:
            for fault in error.diagnostics:
                self._report.add(fault.message, fault.span, *fault.notes, help=fault.help)
            return None

    def _is_wrong(self) -> bool:
        return len(self._report) > self._before or self._context.excused

    # --- Parameters ----------------------------------------------------------------------------------------------

    def _bind_params(self) -> None:
        for param in self._op.params:
            name, known = param.name, self._signature.params.get(param.name.text)
            bound: Bound | None
            if isinstance(param.type, syntax.ChoiceType):
                bound = self._choice(name.text, param.type)
            else:
                bound = self._bound(known, name.span)
            self._body.names.setdefault(name.text, Binding(bound, name.span, parameter=True))

    def _bound(self, param: Param | None, span: Span) -> Bound | None:
        match param:
            case TensorParam(optional=False):
                return Value(self._context.add(Input(param.name), span, param.name))
            case TensorParam():
                return self._optional(param, span)
            case ScalarParam():
                return Value(self._context.add(Scalar(param.name), span, param.name))
            case DimParam():
                return Axes((param.axis,))
            case DTypeParam():
                return Type(param.variable)
            case ChoiceParam() | None:
                return None
            case _:
                assert_never(param)

    def _optional(self, param: TensorParam, span: Span) -> Bound | None:
        expr = self._signature.defaults[param.name]
        if isinstance(expr, syntax.Name) and expr.text == "None":
            help = "write `= 0`, or whatever it is to be when the caller omits it"
            self._report.add("an omitted tensor stands for a value", expr.span, help=help)
            return None
        default = self._body.value(expr)
        if default is None:
            return None
        given = self._context.add(Input(param.name), span, param.name)
        type, wanted = self._context.type_of(default), self._context.type_of(given)
        extra = without(type.axes, wanted.axes)
        if extra:
            self._report.add(f"the default has axis `{extra[0]}`, which `{param.name}` lacks", expr.span)
        elif not storable(type.kind, wanted.kind):
            self._report.add(f"the default is {type.kind.value}, `{param.name}` is {wanted.kind.value}", expr.span)
        return self._body.node(Choose(param.name, ((GIVEN, given), (OMITTED, default))), span, ())

    def _choice(self, name: str, type: syntax.ChoiceType) -> Bound | None:
        found = []
        for option in type.options:
            callee = self._body.callee(option)
            if isinstance(callee, Function):
                found.append((option.text, callee))
        return Choice(name, tuple(found)) if len(found) == len(type.options) else None

    # --- Checks --------------------------------------------------------------------------------------------------

    def _check_effects(self) -> None:
        """Every `mut` tensor is written, and an op leaves something behind."""
        for param in self._signature.params.values():
            unwritten = isinstance(param, TensorParam) and param.mutable and param.name not in self._context.written
            if unwritten and not self._is_wrong() and param.span:
                help = f"write it with `{param.name}[...] = ...`, or drop `mut`"
                self._report.add(f"`{param.name}` is `mut` but is never written", param.span, help=help)
        if not self._op.results and not any(p.kind and p.kind.text == "mut" for p in self._op.params):
            self._report.add(
                f"op `{self._op.name.text}` has no output", self._op.name.span, help="add `-> y: T[...]` to the header"
            )
        self._check_device()

    def _check_device(self) -> None:
        """A tensor that every call has says on which device an op runs."""
        tensors = [param for param in self._signature.params.values() if isinstance(param, TensorParam)]
        if any(not param.optional for param in tensors) or self._is_wrong():
            return
        which = "every tensor may be omitted" if tensors else "there is no tensor"
        self._report.add(
            f"op `{self._op.name.text}` has no parameter that says on which device it runs: {which}",
            self._op.name.span,
            *(Note(f"`{param.name}` has a default", param.span) for param in tensors if param.span),
            help=f"drop the default of `{tensors[0].name}`" if tensors else "add a tensor that is always given",
        )

    def _extent(self, name: syntax.Name) -> sympy.Expr | None:
        """The extent that a name stands for in a condition."""
        param = self._signature.params.get(name.text)
        if isinstance(param, DimParam):
            return symbol(param.axis.name)
        if name.text in self._context.axes:
            return symbol(name.text)
        if name.text in self._signature.poisoned:
            return None
        if param:
            assert param.span
            note = Note("it is defined here", param.span)
            self._report.add(f"`{name.text}` is no extent; conditions are about extents", name.span, note)
        else:
            near = did_you_mean(name.text, self._context.axes)
            self._report.add(f"there is no axis `{name.text}`", name.span, help=near)
        return None


def _sums(signature: Signature) -> tuple[Sum, ...]:
    holders = (*signature.params.values(), *signature.outputs)
    dims = (dim for holder in holders if isinstance(holder, TensorParam | Declared) for dim in holder.dims)
    return tuple(dict.fromkeys(axis for dim in dims for axis in dim if isinstance(axis, Sum)))
