"""Calls: primitives become nodes, functions are inlined, a choice becomes one case per option."""

from __future__ import annotations

from abc import abstractmethod
from typing import assert_never

from fusec.diagnostics import Span
from fusec.ir.expressions import Choose
from fusec.ir.type_rules import TypeFault
from fusec.ir.types import Axis, Named, Storage
from fusec.lang import syntax
from fusec.passes.graph.elaborate.arguments import ArgumentFault, bind
from fusec.passes.graph.elaborate.bindings import Axes, Binding, Bound, Choice, Function, Tuple, Type
from fusec.passes.graph.elaborate.context import MAX_CALLS, MAX_NODES
from fusec.passes.graph.elaborate.expressions import Expressions
from fusec.passes.graph.elaborate.frame import Frame
from fusec.passes.graph.elaborate.identifiers import check_axis_name
from fusec.passes.graph.elaborate.primitives import Given, Place, Precision, Primitive, Wants
from fusec.passes.graph.elaborate.report import did_you_mean, listing
from fusec.passes.graph.elaborate.signature import MAX_AXES

_FLOATS = ("f16", "bf16", "f32", "f64")
"""The dtypes that `precision` takes; the wide ones, which a type variable may be, change nothing."""


class Calls(Expressions):
    """Evaluates calls in a scope."""

    @abstractmethod
    def run(self, function: syntax.Fn, frame: Frame, names: dict[str, Binding]) -> Bound | None:
        """What `function` returns when its parameters are `names`."""

    def call(self, call: syntax.Call) -> Bound | None:
        """The result of a call."""
        callee = self.callee(call.callee)
        match callee:
            case Function(target):
                return self._apply(target, call)
            case Choice(selector, options):
                cases = [(name, self._apply(option.target, call)) for name, option in options]
                found = [(name, case) for name, case in cases if case is not None]
                return self._choose(selector, found, call.span) if len(found) == len(cases) else None
            case None:
                for argument in call.args:
                    if argument.keyword is None:
                        self._argument(argument.value)
                return None
            case _:
                assert_never(callee)

    def _choose(self, selector: str, cases: list[tuple[str, Bound]], span: Span) -> Bound | None:
        widths = {len(case.items) if isinstance(case, Tuple) else 0 for _, case in cases}
        if len(widths) > 1:
            self.fault(f"the options of `{selector}` have different numbers of results", span)
            return None
        if widths == {0}:
            nodes = [(name, self.as_value(case, span)) for name, case in cases]
            found = tuple((name, node) for name, node in nodes if node is not None)
            return self.node(Choose(selector, found), span, ()) if len(found) == len(nodes) else None
        rows = [[(name, item) for item in case.items] for name, case in cases if isinstance(case, Tuple)]
        columns = [self._choose(selector, list(column), span) for column in zip(*rows, strict=True)]
        return Tuple(tuple(column for column in columns if column)) if all(columns) else None

    def _apply(self, target: syntax.Fn | Primitive, call: syntax.Call) -> Bound | None:
        try:
            return self._primitive(target, call) if isinstance(target, Primitive) else self._inline(target, call)
        except ArgumentFault as fault:
            self.fault(fault.message, fault.span, *fault.notes, help=fault.help)
            return None

    # --- Functions -----------------------------------------------------------------------------------------------

    def _inline(self, function: syntax.Fn, call: syntax.Call) -> Bound | None:
        places = [param.text for param in function.params]
        if len(set(places)) < len(places):
            return None  # `check_function` has reported it
        given = bind(function.name.text, call, places, frozenset(places))
        if self.frame.inlines(function):
            message = f"`{function.name.text}` comes back to itself; functions are inlined, so none can call itself"
            self.fault(message, call.span)
            return None
        self.context.calls += 1
        if self.context.calls > MAX_CALLS or len(self.context.builder.nodes) > MAX_NODES:
            self.fault("the op is too large: too many calls are inlined into it", call.span)
            return None
        names = {
            param.text: Binding(self._argument(given[param.text][0]), param.span, parameter=True)
            for param in function.params
        }
        if any(binding.bound is None for binding in names.values()):
            return None
        return self.run(function, self.frame.enter(function, call.span), names)

    def _argument(self, expr: syntax.Expr) -> Bound | None:
        """An argument whose use is not known yet: an axis expression stays one, all else is evaluated."""
        if not self.is_axes(expr):
            return self.bound(expr)
        dim = self.axes(expr)
        return None if dim is None else Axes(dim)

    # --- Primitives ----------------------------------------------------------------------------------------------

    def _primitive(self, primitive: Primitive, call: syntax.Call) -> Bound | None:
        gathering = next((place.name for place in primitive.places if place.gathers), None)
        required = frozenset(place.name for place in primitive.places if place.required)
        exprs = bind(primitive.name, call, [place.name for place in primitive.places], required, gathering)
        given = [self._given(place, exprs[place.name]) for place in primitive.places]
        if any(g is None and exprs[place.name] for g, place in zip(given, primitive.places, strict=True)):
            return None
        values = (Wants.VALUE, Wants.VALUES)
        operands = tuple(e for place in primitive.places if place.wants in values for e in exprs[place.name])
        try:
            built = primitive.build(self.context, *given)
        except TypeFault as fault:
            self.type_fault(fault, call.span, operands)
            return None
        if not isinstance(built, tuple):
            return self.node(built, call.span, operands)
        results = [self.node(expr, call.span, operands) for expr in built]
        return Tuple(tuple(result for result in results if result)) if all(results) else None

    def _given(self, place: Place, exprs: tuple[syntax.Expr, ...]) -> Given:
        if not exprs:
            return None
        match place.wants:
            case Wants.VALUE:
                return self.value(exprs[0])
            case Wants.VALUES:
                return self.values(exprs)
            case Wants.AXES:
                return self.axes(exprs[0])
            case Wants.AXIS:
                return self.axis(exprs[0], place.of_product)
            case Wants.PARTS:
                parts = [self.dim(expr) for expr in exprs]
                return None if None in parts else tuple(part for part in parts if part is not None)
            case Wants.DTYPE:
                return self._storage(exprs[0])
            case Wants.WORD:
                return self._word(exprs[0], place.words)
            case Wants.PRECISION:
                return self._precision(exprs[0], place.words)
            case Wants.RENAMING:
                return self._renaming(exprs[0])
            case _:
                assert_never(place.wants)

    def _storage(self, expr: syntax.Expr) -> Storage | None:
        match self.bound(expr):
            case Type(storage):
                return storage
            case None:
                return None
            case _:
                self.fault("a dtype is needed here", expr.span, help="for example `f16` or a type variable")
                return None

    def _word(self, expr: syntax.Expr, words: tuple[str, ...]) -> str | None:
        text = expr.span.text
        if text in words:
            return text
        self.fault(f"only {listing(words, 'or')} can stand here", expr.span, help=did_you_mean(text, words))
        return None

    def _precision(self, expr: syntax.Expr, words: tuple[str, ...]) -> Precision | None:
        """A word, a dtype, or one of each in parentheses."""
        items = expr.items if isinstance(expr, syntax.Several) else (expr,)
        said = [item.span.text for item in items if item.span.text in words]
        types = [item for item in items if item.span.text not in words]
        if len(said) > 1 or len(types) > 1:
            help = "for example `precision=(T, tf32)`"
            self.fault("a dot has one word for f32, and one dtype to round operands to", expr.span, help=help)
            return None
        rounded = self._multiplied(types[0], words) if types else None
        return Precision(said[0] if said else "ieee", rounded) if rounded or not types else None

    def _multiplied(self, expr: syntax.Expr, words: tuple[str, ...]) -> Storage | None:
        """A dtype that operands of a dot may be rounded to."""
        if not self.is_type(expr):
            possible = (*words, "f16", "bf16")
            help = did_you_mean(expr.span.text, possible) or "or a type variable of `f16`, `bf16` and `f32`"
            self.fault(f"only {listing(possible, 'or')} can stand here", expr.span, help=help)
            return None
        storage = self._storage(expr)
        wrong = next((option for option in storage.options if option.name not in _FLOATS), None) if storage else None
        if wrong:
            text = f"`{storage}`" if storage == wrong else f"`{storage}`, which may be `{wrong}`"
            message = f"operands of a dot are rounded to `f16` or `bf16`, not to {text}"
            self.fault(message, expr.span, help=f"`cast` rounds to every dtype: `dot(cast(x, {wrong}), ...)`")
            return None
        return storage

    def _renaming(self, expr: syntax.Expr) -> tuple[Axis, Axis] | None:
        if not isinstance(expr, syntax.Arrow):
            self.fault("`rename` needs the axis and its new name", expr.span, help="write `rename(x, S -> T)`")
            return None
        old, new = self.axis(expr.old), self._new_axis(expr.new)
        return None if old is None or new is None else (old, new)

    def _new_axis(self, expr: syntax.Expr) -> Axis | None:
        """The axis that a renaming leads to; a name nobody has is a new axis of the op."""
        if isinstance(expr, syntax.Name) and self.frame.function is None and expr.text not in self.names:
            taken = expr.text in self.context.axes or expr.text in self.context.variables
            if not taken and len(self.context.axes) >= MAX_AXES:
                self.fault(f"an op has at most {MAX_AXES} axes", expr.span, help="use a name a second time")
                return None
            if not taken and check_axis_name(expr, self.context.report):
                self.context.axes[expr.text] = expr.span
                return Named(expr.text)
        return self.axis(expr)
