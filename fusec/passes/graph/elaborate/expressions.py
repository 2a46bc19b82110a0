"""Expressions to nodes: names, arithmetic and look-ups."""

from __future__ import annotations

from abc import abstractmethod
from typing import assert_never

from fusec.diagnostics import Span
from fusec.ir.expressions import GIVEN, OMITTED, Choose, Const, Elementwise, Expr, Extent, Gather, Input, NodeId
from fusec.ir.type_rules import TypeFault
from fusec.ir.types import Dim, Quotient
from fusec.lang import syntax
from fusec.passes.graph.elaborate.bindings import Axes, Binding, Bound, Choice, Function, Tuple, Type, Value
from fusec.passes.graph.elaborate.context import Context
from fusec.passes.graph.elaborate.frame import Frame
from fusec.passes.graph.elaborate.scope import Scope

MAX_NESTING = 150
"""Expressions inside expressions, counted across inlined calls."""


class Expressions(Scope):
    """Evaluates expressions in a scope; `depth` counts those this one stands in."""

    def __init__(self, context: Context, frame: Frame, names: dict[str, Binding], depth: int = 0) -> None:
        super().__init__(context, frame, names)
        self.depth = depth

    @abstractmethod
    def call(self, call: syntax.Call) -> Bound | None:
        """The result of a call."""

    def bound(self, expr: syntax.Expr) -> Bound | None:
        """What an expression stands for."""
        if self.depth == MAX_NESTING:
            self.fault("this is nested too deeply, counting the functions it calls", expr.span)
            return None
        self.depth += 1
        found = self._bound(expr)
        self.depth -= 1
        return found

    def value(self, expr: syntax.Expr) -> NodeId | None:
        """The node of an expression that must be one value."""
        bound = self.bound(expr)
        return None if bound is None else self.as_value(bound, expr.span)

    def values(self, exprs: tuple[syntax.Expr, ...]) -> tuple[NodeId, ...] | None:
        """The nodes of several expressions; each is evaluated, so that the mistakes of all are reported."""
        nodes = [self.value(expr) for expr in exprs]
        found = tuple(node for node in nodes if node is not None)
        return found if len(found) == len(nodes) else None

    def as_value(self, bound: Bound, span: Span) -> NodeId | None:
        """The node of what stands at `span`, which must be one value."""
        match bound:
            case Value(node):
                return node
            case Axes(dim):
                return self._number(dim, self.frame.place(span))
            case Tuple(items):
                help = "give them names first, as in `a, b = ...`"
                self.fault(f"one value is needed, these are {len(items)}", span, help=help)
                return None
            case Type(storage):
                self.fault(f"a value is needed, `{storage}` is a dtype", span)
                return None
            case Function() | Choice():
                self.fault(f"a value is needed, `{span.text}` is a function", span, help="call it")
                return None
            case _:
                assert_never(bound)

    def node(self, expr: Expr, span: Span, operands: tuple[syntax.Expr, ...]) -> Value | None:
        """The typed node of `expr`; `operands` are the places of its operands, for the report when it has no type."""
        try:
            return Value(self.context.add(expr, self.frame.place(span)))
        except TypeFault as fault:
            self.type_fault(fault, span, operands)
            return None

    def _bound(self, expr: syntax.Expr) -> Bound | None:
        match expr:
            case syntax.Name():
                return self.name(expr)
            case syntax.Number(value):
                return self.node(Const(value), expr.span, ())
            case syntax.Unary(op="neg", operand=syntax.Number(value)):
                return self.node(Const(-value), expr.span, ())
            case syntax.Unary(op=op, operand=operand):
                return self._elementwise(op, (operand,), expr.span)
            case syntax.Binary(op=op, left=left, right=right):
                return self._elementwise(op, (left, right), expr.span)
            case syntax.Call():
                return self.call(expr)
            case syntax.Lookup():
                return self._lookup(expr)
            case syntax.Several(items=items):
                found = [self.bound(item) for item in items]
                return Tuple(tuple(b for b in found if b)) if all(found) else None
            case syntax.Dots():
                help = "a look-up begins with the first dimension and keeps those it does not name: `x[i]`"
                self.fault("`...` stands for axes, not for a value", expr.span, help=help)
                return None
            case syntax.Arrow():
                self.fault("`OLD -> NEW` is for `rename`", expr.span)
                return None
            case _:
                assert_never(expr)

    def _elementwise(self, op: str, operands: tuple[syntax.Expr, ...], span: Span) -> Bound | None:
        nodes = self.values(operands)
        return None if nodes is None else self.node(Elementwise(op, nodes), span, operands)

    def _number(self, dim: Dim, span: Span) -> NodeId:
        match dim:
            case (Quotient(of, by),):
                args = (self.context.add(Extent((of,)), span), self.context.add(Const(by), span))
                return self.context.add(Elementwise("div", args), span)
            case _:
                return self.context.add(Extent(dim), span)

    def _lookup(self, lookup: syntax.Lookup) -> Bound | None:
        target = self.value(lookup.target)
        indices = self.values(lookup.indices)
        if target is None or indices is None:
            return None
        for place, index in enumerate(indices):
            expr = self.context.builder[index].expr
            if isinstance(expr, Const) and expr.value < 0:
                help = "positions are counted from 0: the last one along an axis is `N - 1`"
                self.fault("there is nothing at a negative position", lookup.indices[place].span, help=help)
                return None
        match self.context.builder[target].expr:
            case Input(param):
                return self.node(Gather(param, indices), lookup.span, lookup.indices)
            case Choose(selector, (_, (omitted, default))) if omitted == OMITTED:
                looked_up = self.node(Gather(selector, indices), lookup.span, lookup.indices)
                if looked_up and self.context.type_of(default).axes:
                    message = f"`{selector}` cannot be indexed: when it is omitted, it is computed"
                    self.fault(message, lookup.target.span, *self.origin(lookup.target))
                    return None
                cases = looked_up and ((GIVEN, looked_up.node), (OMITTED, default))
                return self.node(Choose(selector, cases), lookup.span, ()) if cases else None
            case _:
                message = "only a tensor parameter can be indexed, this is computed"
                self.fault(message, lookup.target.span, *self.origin(lookup.target))
                return None
