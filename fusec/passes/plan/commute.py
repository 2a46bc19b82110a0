"""Commute: a factor that is constant along a reduced axis leaves the reduction.

Before: `amax(abs(x * r * w), over=N)` with `r = rsqrt(mean(x * x, over=N) + eps)`: two sweeps, one after the other.
After:  `amax(abs(x * w), over=N) * r`: both reductions share one sweep (and `r` is 1 there where N is 0).

Obligations, all checked here: the factor has none of the reduced axes; for `amax` and `amin` it is proved positive
(`sum` takes any sign); no declared cast stands between factor and reduction. A factor is moved only when it waits for
a reduction over one of the same axes: otherwise nothing is gained and the spec's own order of rounding is kept.
What comes after uses the product that was reduced, `(x * w) * r`, so that `x` and `w` need not both be kept for it.

What the rule does not keep is the range: where `x * w` is beyond f32 and `(x * r) * w` is not, the result is infinite,
or NaN where `r` is 0. That takes two numbers of f32 or bf16 whose product exceeds 3.4e38; numbers of f16 and of 8 bits
cannot do it. The error bound of an op is that of the graph after this pass, and says nothing for a result beyond f32.
"""

from __future__ import annotations

from dataclasses import dataclass

from fusec.ir.bottom_up import BottomUp
from fusec.ir.builder import GraphBuilder, keep, rebuild
from fusec.ir.expressions import (
    Choose,
    Const,
    Elementwise,
    Merge,
    NodeId,
    Part,
    Reduce,
    Rename,
    operands,
    with_operands,
)
from fusec.ir.graph import Graph, Node
from fusec.ir.types import REAL, Axis, Computed, Kind, ValueType, union
from fusec.passes.plan.unless_empty import unless_empty

_MOST_FACTORS = 32
"""More leave no reduction: squares of squares have exponentially many."""


def commute(graph: Graph) -> Graph:
    """The graph with factors moved out of the reductions that would wait for them."""
    products: dict[NodeId, _Product] = {}
    waiting: dict[tuple[Axis, ...], BottomUp[NodeId, bool]] = {}

    def change(builder: GraphBuilder, node: Node, args: tuple[NodeId, ...]) -> NodeId:
        if isinstance(node.expr, Reduce) and node.expr.op in ("sum", "amax", "amin"):
            reduced = waiting.setdefault(node.expr.axes, _reducing(builder, node.expr.axes))
            factoring = _Factoring(builder, node.expr.axes, node.expr.op != "sum", reduced)
            return _commuted(factoring, node, node.expr, args, products)
        if not isinstance(node.expr, Elementwise):
            return keep(builder, node, args)
        return keep(builder, node, tuple(_multiplied(builder, arg, products) for arg in args))

    return rebuild(graph, change)


def _commuted(
    factoring: _Factoring, node: Node, reduce: Reduce, args: tuple[NodeId, ...], products: dict[NodeId, _Product]
) -> NodeId:
    builder = factoring.builder
    found = factoring.split(args[0])
    if not found.factors:
        return keep(builder, node, args)
    products |= factoring.products
    inner = builder.add(Reduce(reduce.op, found.rest, reduce.axes), node.type, span=node.span)
    for factor in (unless_empty(builder, factor, reduce.axes) for factor in found.factors):
        axes = union(builder[inner].type.axes, builder[factor].type.axes)
        inner = builder.add(Elementwise("mul", (inner, factor)), ValueType(REAL, axes), node.name, node.span)
    return inner


def _multiplied(builder: GraphBuilder, value: NodeId, products: dict[NodeId, _Product]) -> NodeId:
    """`value` as the product it was found to be, written with the factors last."""
    product = products.get(value)
    if product is None:
        return value
    node, result = builder[value], product.rest
    for factor in product.factors:
        axes = union(builder[result].type.axes, builder[factor].type.axes)
        result = builder.add(Elementwise("mul", (result, factor)), ValueType(REAL, axes), node.name, node.span)
    return result


@dataclass(frozen=True, slots=True)
class _Product:
    """`rest` times every one of `factors`."""

    rest: NodeId
    factors: tuple[NodeId, ...] = ()


class _Factoring:
    """Splits values into a rest and the factors that may leave a reduction over `axes`."""

    def __init__(
        self, builder: GraphBuilder, axes: tuple[Axis, ...], needs_positive: bool, waits: BottomUp[NodeId, bool]
    ) -> None:
        self.builder = self._builder = builder
        self._axes = axes
        self._needs_positive = needs_positive
        self._waits = waits
        self.products: dict[NodeId, _Product] = {}
        """Every product of a chain of multiplications that a factor was moved out of."""
        self._is_movable: dict[NodeId, bool] = {}
        self.split = BottomUp(self._taken_apart, self._split)

    def _taken_apart(self, value: NodeId) -> tuple[NodeId, ...]:
        """The operands of a value that factors may come from."""
        node = self._builder[value]
        match node.expr:
            case Elementwise(op="mul", args=(a, b)):
                return (a,) if self._movable(b) else (b,) if self._movable(a) else (a, b)
            case Elementwise(op="div", args=(a, _)):
                return (a,)
            case Elementwise(op="abs" | "neg" | "add" | "sub" | "maximum" | "minimum", args=args) | Merge(args=args):
                return args
            case Part(arg=a) | Rename(arg=a) if isinstance(node.type.element, Computed):
                return (a,)
            case _:
                return ()

    def _split(self, value: NodeId) -> _Product:
        node = self._builder[value]
        match node.expr:
            case Elementwise(op="mul", args=(a, b)):
                return self._product(value, node, a, b)
            case Elementwise(op="div", args=(a, b)):
                above = self.split(a)
                return self._rebuilt(node, above.factors, (above.rest, b)) if above.factors else _Product(value)
            case Elementwise(op="abs" | "neg", args=(a,)):
                inner = self.split(a)
                return self._rebuilt(node, inner.factors, (inner.rest,)) if self._positive(inner) else _Product(value)
            case Elementwise(op="add" | "sub" | "maximum" | "minimum", args=args):
                return self._common(value, node, args)
            case Merge(args=args):
                return self._common(value, node, args)
            case Part(arg=a) | Rename(arg=a) if isinstance(node.type.element, Computed):
                inner = self.split(a)
                free = all(not self._has_axis(factor, node.expr) for factor in inner.factors)
                return self._rebuilt(node, inner.factors, (inner.rest,)) if inner.factors and free else _Product(value)
            case _:
                return _Product(value)

    def _product(self, value: NodeId, node: Node, a: NodeId, b: NodeId) -> _Product:
        for kept, moved in ((a, b), (b, a)):
            if self._movable(moved):
                inner = self.split(kept)
                return self._found(value, _Product(inner.rest, (*inner.factors, moved)))
        left, right = self.split(a), self.split(b)
        factors = (*left.factors, *right.factors)
        if not 0 < len(factors) <= _MOST_FACTORS:
            return _Product(value)
        return self._found(value, self._rebuilt(node, factors, (left.rest, right.rest)))

    def _found(self, value: NodeId, product: _Product) -> _Product:
        self.products[value] = product
        return product

    def _common(self, value: NodeId, node: Node, args: tuple[NodeId, ...]) -> _Product:
        """The factors that every operand has: `r * a - r * b` is `r * (a - b)`."""
        parts = [self.split(arg) for arg in args]
        same = all(part.factors == parts[0].factors for part in parts)
        ordered = isinstance(node.expr, Elementwise) and node.expr.op in ("maximum", "minimum")
        if not parts[0].factors or not same or (ordered and not all(map(self._positive, parts))):
            return _Product(value)
        return self._rebuilt(node, parts[0].factors, tuple(part.rest for part in parts))

    def _rebuilt(self, node: Node, factors: tuple[NodeId, ...], args: tuple[NodeId, ...]) -> _Product:
        axes = tuple(
            axis
            for axis in node.type.axes
            if isinstance(node.expr, Part | Merge | Rename) or any(axis in self._builder[arg].type.axes for arg in args)
        )
        expr = with_operands(node.expr, args)
        return _Product(self._builder.add(expr, ValueType(node.type.element, axes), span=node.span), factors)

    def _movable(self, value: NodeId) -> bool:
        if value not in self._is_movable:
            self._is_movable[value] = self._may_move(value)
        return self._is_movable[value]

    def _may_move(self, value: NodeId) -> bool:
        node = self._builder[value]
        if node.type.kind is not Kind.REAL or any(axis in node.type.axes for axis in self._axes):
            return False
        return self._waits(value) and (not self._needs_positive or is_positive(self._builder, value))

    def _positive(self, product: _Product) -> bool:
        return bool(product.factors) and all(is_positive(self._builder, factor) for factor in product.factors)

    def _has_axis(self, value: NodeId, view: Part | Rename) -> bool:
        axis = view.axis if isinstance(view, Part) else view.old
        return axis in self._builder[value].type.axes


def reduces_over(builder: GraphBuilder | tuple[Node, ...], value: NodeId, axes: tuple[Axis, ...]) -> bool:
    """Whether `value` depends on a reduction over one of `axes`."""
    stack, seen = [value], set()
    while stack:
        number = stack.pop()
        if number in seen:
            continue
        seen.add(number)
        expr = builder[number].expr
        if isinstance(expr, Reduce) and any(axis in expr.axes for axis in axes):
            return True
        stack.extend(operands(expr))
    return False


def _reducing(builder: GraphBuilder, axes: tuple[Axis, ...]) -> BottomUp[NodeId, bool]:
    """`reduces_over` for many values of one graph."""

    def rule(number: NodeId) -> bool:
        expr = builder[number].expr
        own = isinstance(expr, Reduce) and any(axis in expr.axes for axis in axes)
        return own or any(map(known, operands(expr)))

    known = BottomUp(lambda number: operands(builder[number].expr), rule)
    return known


def is_positive(builder: GraphBuilder | tuple[Node, ...], value: NodeId) -> bool:
    """Whether `value` is proved greater than 0 wherever it is not NaN."""

    def needs(number: NodeId) -> tuple[NodeId, ...]:
        expr = builder[number].expr
        return operands(expr) if isinstance(expr, Elementwise | Reduce | Choose) else ()

    def rule(number: NodeId) -> bool:
        match builder[number].expr:
            case Const(literal):
                return literal > 0
            case Elementwise(op="exp" | "exp2" | "rsqrt" | "sigmoid"):
                return True
            case Elementwise(op="maximum", args=args):
                return any(map(known, args))
            case (
                Elementwise(op="mul" | "div" | "add" | "minimum", args=args) | Elementwise(op="where", args=(_, *args))
            ):
                return all(map(known, args))
            case Elementwise(op="sqrt" | "abs", args=(arg,)) | Reduce(op="amax" | "amin", arg=arg):
                return known(arg)
            case Choose(cases=cases):
                return all(known(case) for _, case in cases)
            case _:
                return False

    known = BottomUp(needs, rule)
    return known(value)
