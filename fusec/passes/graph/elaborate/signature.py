"""The header of an op: parameters, outputs, type variables and axes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from fusec.diagnostics import Note, Span
from fusec.ir.graph import ChoiceParam, DimParam, DTypeParam, Param, ScalarParam, TensorParam
from fusec.ir.types import DTYPES, Axis, Dim, DType, DTypeVar, Kind, Lead, Named, Storage
from fusec.lang import syntax
from fusec.passes.graph.elaborate.defaults import check_order, choice_default, scalar_default
from fusec.passes.graph.elaborate.dims import DimFault, to_dim
from fusec.passes.graph.elaborate.identifiers import check_axis_name, check_name
from fusec.passes.graph.elaborate.report import Report, did_you_mean
from fusec.passes.graph.elaborate.type_variables import Variable, check_variables, element_of, read_variables

KINDS = ("weight", "mut", "distinct")
"""The words that may stand before a parameter."""

_MOST_PARAMS = 64
"""Arguments that PyTorch's schema of an operator may have."""
_MOST_DIMS = 64
"""Dimensions that a tensor of PyTorch may have; here also the axes that they are made of."""
MAX_AXES = 64
"""Axes that an op may have."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A declared output; its value is found in the body."""

    name: syntax.Name
    element: Storage
    dims: tuple[Dim, ...]
    span: Span


@dataclass(slots=True)
class Signature:
    """What the header declares. A parameter that is wrong is missing in `params` and stands in `poisoned`.

    `axes` has every axis with the place that first writes it, `defaults` the defaults of optional tensors.
    """

    params: dict[str, Param] = field(default_factory=dict)
    poisoned: dict[str, Span] = field(default_factory=dict)
    outputs: list[Declared] = field(default_factory=list)
    variables: dict[str, Variable] = field(default_factory=dict)
    axes: dict[str, Span] = field(default_factory=dict)
    defaults: dict[str, syntax.Expr] = field(default_factory=dict)


def read_signature(op: syntax.Op, overloads: frozenset[str], report: Report) -> Signature:
    """The header of `op`; every mistake in it is reported.

    One of the `overloads` takes what another op does, so what it needs may stand behind what may be left out.
    """
    reader = _Reader(report)
    reader.signature.variables = read_variables(op.conditions, report)
    for param in op.params:
        reader.param(param)
    for result in op.results:
        reader.result(result)
    if not reader.signature.poisoned:
        stored = [str(output.element) for output in reader.signature.outputs]
        read = [
            each.text for statement in op.body for each in syntax.walk(statement.value) if isinstance(each, syntax.Name)
        ]
        check_variables(reader.signature.variables, reader.signature.params.values(), stored, read, report)
    reader.check_axes()
    if op.name.text not in overloads:
        check_order(((param.name, param.default is not None) for param in op.params), report)
    reader.check_count(op)
    return reader.signature


class _Reader:
    def __init__(self, report: Report) -> None:
        self.signature = Signature()
        self._report = report
        self._names: dict[str, Span] = {}

    # --- Dimensions ----------------------------------------------------------------------------------------------

    def _dims(self, type: syntax.TensorType) -> tuple[Dim, ...] | None:
        found: list[Dim] = []
        seen: dict[Axis, Span] = {}
        count = len(self._report)
        leaves = [leaf for expr in type.dims for leaf in syntax.walk(expr) if not syntax.children(leaf)]
        if len(leaves) > _MOST_DIMS:
            self._report.add(f"a tensor has at most {_MOST_DIMS} axes", leaves[_MOST_DIMS].span)
            return None
        for place, expr in enumerate(type.dims):
            try:
                dim = to_dim(expr, self._axis)
            except DimFault as fault:
                self._report.add(fault.message, fault.span, help=fault.help)
                continue
            if Lead() in dim and place > 0:
                self._report.add("`...` stands for the leading dimensions, so it comes first", expr.span)
                continue
            for axis in dim:
                if axis in seen:
                    help = "give the second one a name of its own; `where` can say that they are equal"
                    self._report.add(
                        f"axis `{axis}` stands twice in one tensor",
                        expr.span,
                        Note("it is here", seen[axis]),
                        help=help,
                    )
                seen.setdefault(axis, expr.span)
            found.append(dim)
        return tuple(found) if len(self._report) == count else None

    def _axis(self, name: syntax.Name) -> Dim:
        text, variable = name.text, self.signature.variables.get(name.text)
        if variable:
            note = Note("it is bound here", variable.span)
            self._report.add(f"`{text}` is a type variable, it cannot be an axis too", name.span, note)
        else:
            check_axis_name(name, self._report)
        self.signature.axes.setdefault(text, name.span)
        return (Named(text),)

    def check_axes(self) -> None:
        """No name is both an axis and a parameter or output, and there are not too many."""
        if len(self.signature.axes) > MAX_AXES:
            self._report.add(f"an op has at most {MAX_AXES} axes", [*self.signature.axes.values()][MAX_AXES])
        for text, span in self._names.items():
            if text in self.signature.axes:
                param = self.signature.params.get(text)
                help = f"its axis is `{param.axis}`" if isinstance(param, DimParam) else "rename one of them"
                self._report.add(
                    f"`{text}` is an axis", span, Note("it is an axis here", self.signature.axes[text]), help=help
                )

    # --- Parameters and outputs ----------------------------------------------------------------------------------

    def param(self, param: syntax.Param) -> None:
        """One parameter, known by its name even if it is wrong."""
        count = len(self._report)
        self._declare(param.name)
        self._check_kind(param)
        made: Param | None
        match param.type:
            case syntax.TensorType():
                made = self._tensor(param, param.type)
            case syntax.ScalarType():
                made = self._scalar(param, param.type)
            case syntax.DimType():
                made = self._dim(param, param.type)
            case syntax.ChoiceType():
                made = self._choice(param, param.type)
            case _:
                assert_never(param.type)
        if made is None or len(self._report) > count:
            self.signature.poisoned.setdefault(param.name.text, param.name.span)
        else:
            self.signature.params[param.name.text] = made

    def result(self, result: syntax.Result) -> None:
        """One output."""
        self._declare(result.name)
        if not isinstance(result.type, syntax.TensorType):
            self._report.add("an output is a tensor", result.type.span, help="`f32[]` is one without dimensions")
            return
        element, dims = element_of(result.type.element, self.signature.variables, self._report), self._dims(result.type)
        if element and dims is not None:
            self.signature.outputs.append(Declared(result.name, element, dims, result.type.span))

    def check_count(self, op: syntax.Op) -> None:
        """PyTorch calls an operator with so many arguments and no more."""
        if len(op.params) > _MOST_PARAMS:
            text = f"`{op.name.text}` has {len(op.params)} parameters, and PyTorch passes {_MOST_PARAMS} at most"
            help = "pass some of them as one tensor"
            self._report.add(text, op.params[_MOST_PARAMS].name.span, help=help)

    def _declare(self, name: syntax.Name) -> None:
        first = self._names.setdefault(name.text, name.span)
        if first is not name.span:
            note = Note("it is taken here", first)
            self._report.add(f"the name `{name.text}` is taken", name.span, note, help="give one of them another name")
        elif check_name(name, self._report) and name.text in self.signature.variables:
            note = Note("it is bound here", self.signature.variables[name.text].span)
            self._report.add(f"`{name.text}` is a type variable", name.span, note)

    def _check_kind(self, param: syntax.Param) -> None:
        if param.kind is None:
            return
        if param.kind.text not in KINDS:
            help = did_you_mean(param.kind.text, KINDS) or "the kinds are `weight`, `mut` and `distinct`"
            self._report.add(f"there is no kind of parameter `{param.kind.text}`", param.kind.span, help=help)
        elif not isinstance(param.type, syntax.TensorType):
            self._report.add(f"only a tensor can be `{param.kind.text}`", param.kind.span)
        elif param.kind.text == "mut" and param.default is not None:
            self._report.add("a `mut` tensor cannot be omitted", param.default.span)

    def _tensor(self, param: syntax.Param, type: syntax.TensorType) -> TensorParam | None:
        element, dims = element_of(type.element, self.signature.variables, self._report), self._dims(type)
        if element is None or dims is None:
            return None
        if param.default is not None:
            self.signature.defaults[param.name.text] = param.default
        kind = param.kind.text if param.kind else ""
        if kind == "distinct" and (element.kind is not Kind.INT or (isinstance(element, DType) and element.packed)):
            help = "it is for indices; declare it as `i32` or `i64`"
            self._report.add("only a tensor of integers can be `distinct`", type.span, help=help)
        return TensorParam(
            param.name.text,
            element,
            dims,
            static=kind == "weight",
            mutable=kind == "mut",
            optional=param.default is not None,
            default_text=param.default.span.text if param.default else None,
            span=param.name.span,
            distinct=kind == "distinct",
        )

    def _scalar(self, param: syntax.Param, type: syntax.ScalarType) -> ScalarParam | None:
        element = element_of(type.element, self.signature.variables, self._report)
        if element is None:
            return None
        if not isinstance(element, DType) or element.packed:
            self._report.add(f"a scalar cannot be `{element}`", type.span, help="for example `f32` or `i32`")
            return None
        default = None if param.default is None else scalar_default(param.default, element, self._report)
        return ScalarParam(param.name.text, element, default, param.name.span)

    def _dim(self, param: syntax.Param, type: syntax.DimType) -> DimParam | DTypeParam | None:
        if type.word.text == "dtype":
            return self._dtype(param, type)
        if type.word.text != "dim":
            help = "an extent is `dim(H)`, a dtype `dtype(T)`"
            self._report.add(f"there is no type `{type.word.text}(...)`", type.span, help=help)
            return None
        inferred = isinstance(param.default, syntax.Name) and param.default.text == "infer"
        if param.default is not None and not inferred:
            self._report.add("a `dim` has no default but `infer`", param.default.span)
        (axis,) = self._axis(type.axis)
        return DimParam(param.name.text, axis, inferred, param.name.span) if isinstance(axis, Named) else None

    def _dtype(self, param: syntax.Param, type: syntax.DimType) -> DTypeParam | None:
        variable = element_of(type.axis, self.signature.variables, self._report)
        if not isinstance(variable, DTypeVar):
            if variable:
                self._report.add(f"`{variable}` is a dtype already, there is nothing to choose", type.axis.span)
            return None
        names = [option.name for option in variable.options]
        default = None if param.default is None else choice_default(param.default, names, self._report)
        return DTypeParam(param.name.text, variable, DTYPES[default] if default else None, param.name.span)

    def _choice(self, param: syntax.Param, type: syntax.ChoiceType) -> ChoiceParam | None:
        options = tuple(option.text for option in type.options)
        for place, option in enumerate(type.options):
            if option.text in options[:place]:
                self._report.add(f"option `{option.text}` stands twice", option.span)
        if not options:
            self._report.add("a choice needs options", type.span)
        default = None if param.default is None else choice_default(param.default, options, self._report)
        return ChoiceParam(param.name.text, options, default, param.name.span)
