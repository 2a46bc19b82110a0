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

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from fusec.ir.bottom_up import BottomUp
from fusec.ir.builder import GraphBuilder, keep, rebuild
from fusec.ir.expressions import (
    Cast,
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
from fusec.ir.ops import ELEMENTWISE, REDUCTIONS
from fusec.ir.type_rules import infer
from fusec.ir.types import REAL, Axis, Computed, Kind, ValueType, union, without
from fusec.ir.value_ranges import ValueRanges
from fusec.passes.graph.unless_empty import unless_empty

_MOST_FACTORS = 32
"""More leave no reduction: squares of squares have exponentially many."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """The first condition that keeps a factor from leaving: a sentence with a place for the words of a node."""

    sentence: str
    value: NodeId


@dataclass(frozen=True, slots=True)
class Leaving:
    """What becomes of a reduction: whether it `waits` for another one, the factors that left, what kept others."""

    waits: bool
    factors: tuple[NodeId, ...] = ()
    kept: Obstacle | None = None


Watch: TypeAlias = Callable[[GraphBuilder, Node, Leaving], None]
"""Told of every reduction: the nodes so far, its node, and what becomes of it."""


def commute(graph: Graph) -> Graph:
    """The graph with factors moved out of the reductions that would wait for them."""
    return commuted(graph, lambda builder, node, found: None)


def commuted(graph: Graph, watch: Watch) -> Graph:
    """What `commute` makes of a graph, told as it goes."""
    known: list[_Facts] = []

    def change(builder: GraphBuilder, node: Node, args: tuple[NodeId, ...]) -> NodeId:
        if not known:
            known.append(_Facts(graph, builder))
        facts = known[0]
        if isinstance(node.expr, Reduce):
            found = _Factoring(facts, node.expr).split(args[0])
            waits = facts.waits(node.expr.axes)(args[0])
            watch(builder, node, Leaving(waits, found.factors, found.kept))
            return _written(facts, node, node.expr, args, found)
        if not isinstance(node.expr, Elementwise):
            return keep(builder, node, args)
        return keep(builder, node, tuple(_multiplied(facts, arg) for arg in args))

    return rebuild(graph, change)


@dataclass(frozen=True, slots=True)
class _Product:
    """`rest` times every one of `factors`; `kept` is what keeps `rest` waiting, if it does."""

    rest: NodeId
    factors: tuple[NodeId, ...] = ()
    kept: Obstacle | None = None


class _Facts:
    """What is known of the values of a graph as it is rebuilt."""

    def __init__(self, graph: Graph, builder: GraphBuilder) -> None:
        self.argument = graph.argument
        self.builder = builder
        self.ranges = ValueRanges(builder)
        self.products: dict[NodeId, _Product] = {}
        """Every product of a chain of multiplications that a factor was moved out of."""
        self._waits: dict[tuple[Axis, ...], BottomUp[NodeId, bool]] = {}

    def waits(self, axes: tuple[Axis, ...]) -> BottomUp[NodeId, bool]:
        """Whether a value depends on a reduction over one of `axes`."""
        if axes not in self._waits:
            self._waits[axes] = reducing(self.builder, axes)
        return self._waits[axes]

    def is_positive(self, value: NodeId) -> bool:
        """Whether a value is proved greater than 0 wherever it is not NaN."""
        return self.ranges(value).is_positive


def _written(facts: _Facts, node: Node, reduce: Reduce, args: tuple[NodeId, ...], found: _Product) -> NodeId:
    builder = facts.builder
    if not found.factors:
        return keep(builder, node, args)
    axes = tuple(axis for axis in node.type.axes if axis in builder[found.rest].type.axes)
    inner = builder.add(Reduce(reduce.op, found.rest, reduce.axes), replace(node.type, axes=axes), span=node.span)
    for factor in (unless_empty(builder, factor, reduce.axes) for factor in found.factors):
        inner = _times(builder, inner, factor, node)
    return inner


def _multiplied(facts: _Facts, value: NodeId) -> NodeId:
    """`value` as the product it was found to be, written with the factors last."""
    product = facts.products.get(value)
    if product is None:
        return value
    node, result = facts.builder[value], product.rest
    for factor in product.factors:
        result = _times(facts.builder, result, factor, node)
    return result


def _times(builder: GraphBuilder, value: NodeId, factor: NodeId, source: Node) -> NodeId:
    """`value` times a factor, by the name and at the place of `source`."""
    axes = union(builder[value].type.axes, builder[factor].type.axes)
    return builder.add(Elementwise("mul", (value, factor)), ValueType(REAL, axes), source.name, source.span)


_Place: TypeAlias = tuple[NodeId, tuple[Axis, ...]]
"""A value, and the axes along which a factor of it must not vary: the reduced ones, and below a view their parts."""


class _Factoring:
    """Splits values into a rest and the factors that may leave a reduction, and says what keeps others."""

    def __init__(self, facts: _Facts, reduce: Reduce) -> None:
        self._facts = facts
        self._builder = facts.builder
        self._axes = reduce.axes
        self._any_sign = REDUCTIONS[reduce.op].passes_any_sign
        self._waits = facts.waits(reduce.axes)
        self._split_of = BottomUp(self._taken_apart, self._split)
        self._products: dict[NodeId, _Product] = {}

    def split(self, value: NodeId) -> _Product:
        """What is reduced, as a product."""
        found = self._split_of((value, self._axes))
        if not found.factors:
            return found
        if self._builder[found.rest].type.kind is not Kind.REAL:
            return _Product(value, (), Obstacle("what would stay, {}, is no real number", found.rest))
        self._facts.products |= self._products
        return found

    def _taken_apart(self, place: _Place) -> tuple[_Place, ...]:
        """The operands of a value that factors may come from."""
        value, axes = place
        node = self._builder[value]
        match node.expr:
            case Elementwise(op, (a, _)) if ELEMENTWISE[op].is_quotient:
                return ((a, axes),)
            case Elementwise(op, (a, b)) if ELEMENTWISE[op].is_product:
                first, second = (a, axes), (b, axes)
                return (first,) if self._movable(second) else (second,) if self._movable(first) else (first, second)
            case Elementwise(op, args) if ELEMENTWISE[op].passes_factor:
                return tuple((arg, axes) for arg in args[ELEMENTWISE[op].numbers])
            case Merge(args=args):
                return tuple((arg, self._seen_through(value, arg, axes)) for arg in args)
            case Part(arg=a) | Rename(arg=a) if isinstance(node.type.element, Computed):
                return ((a, self._seen_through(value, a, axes)),)
            case _:
                return ()

    def _seen_through(self, view: NodeId, arg: NodeId, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
        """The axes of what a view shows: where it makes one of `axes`, these are all that it makes it of."""
        shown, own = self._builder[view].type.axes, self._builder[arg].type.axes
        made = any(axis in axes for axis in without(shown, own))
        return union(axes, without(own, shown)) if made else axes

    def _split(self, place: _Place) -> _Product:
        value, _ = place
        if not self._waits(value):
            return _Product(value)
        found = self._of_operands(place, self._builder[value])
        if found.factors or self._spans(place):
            return found
        return replace(found, kept=self._refusal(value))

    def _of_operands(self, place: _Place, node: Node) -> _Product:
        value, _ = place
        match node.expr:
            case Elementwise(op) if ELEMENTWISE[op].is_quotient:
                return self._quotient(place, node)
            case Elementwise(op, (_, _)) if ELEMENTWISE[op].is_product:
                return self._product(place, node)
            case Elementwise(op) if ELEMENTWISE[op].passes_factor:
                return self._common(place, node, ELEMENTWISE[op].scaling.any_sign)
            case Merge() | Part() | Rename() if self._taken_apart(place):
                return self._common(place, node, any_sign=True)
            case Cast(dtype=dtype):
                return _Product(value, (), Obstacle(f"the declared cast to {dtype} stands in between", value))
            case _:
                return _Product(value, (), Obstacle("a factor does not pass through {}", value))

    def _quotient(self, place: _Place, node: Node) -> _Product:
        (above,) = self._taken_apart(place)
        found, below = self._split_of(above), operands(node.expr)[1]
        kept = Obstacle("it is divided by {}, and only a factor can leave", below) if self._waits(below) else found.kept
        if self._waits(above[0]) and not self._spans(above):
            kept = Obstacle("{} is divided, and only a factor can leave", above[0])
        return self._rebuilt(place[0], node, found.factors, (found.rest, below), kept)

    def _product(self, place: _Place, node: Node) -> _Product:
        value, axes = place
        a, b = ((arg, axes) for arg in operands(node.expr))
        for other, moved in ((a, b), (b, a)):
            if self._movable(moved):
                inner = self._split_of(other)
                return self._found(value, _Product(inner.rest, (*inner.factors, moved[0]), inner.kept))
        left, right = self._split_of(a), self._split_of(b)
        factors, kept = (*left.factors, *right.factors), left.kept or right.kept
        if len(factors) > _MOST_FACTORS:
            return _Product(value, (), Obstacle("{} has too many factors", value))
        if not factors:
            return _Product(value, (), kept)
        return self._found(value, self._rebuilt(value, node, factors, (left.rest, right.rest), kept))

    def _found(self, value: NodeId, product: _Product) -> _Product:
        self._products[value] = product
        return product

    def _common(self, place: _Place, node: Node, any_sign: bool) -> _Product:
        """The factors that every operand has: `r * a - r * b` is `r * (a - b)`."""
        value, _ = place
        places = self._taken_apart(place)
        parts = [self._split_of(own) for own in places]
        factors, kept = parts[0].factors, next((part.kept for part in parts if part.kept), None)
        varying = any(self._varies_within(node, factor) for factor in factors)
        negative = [] if any_sign else [factor for factor in factors if not self._facts.is_positive(factor)]
        if any(not (self._waits(own[0]) and self._spans(own)) for own in places) and isinstance(node.expr, Elementwise):
            kept = Obstacle("{} does not multiply all of it, and only a factor can leave", value)
        elif any(part.factors != factors for part in parts):
            kept = kept or Obstacle("not all that meets in {} has the factor", value)
        elif varying:
            kept = Obstacle("a view takes an axis of the factor apart", value)
        elif negative:
            kept = Obstacle("{} is not proved positive", negative[0])
        elif factors:
            rests = tuple(part.rest for part in parts)
            return self._rebuilt(value, node, factors, (*operands(node.expr)[: -len(rests)], *rests), kept)
        return _Product(value, (), kept)

    def _varies_within(self, node: Node, factor: NodeId) -> bool:
        """Whether a factor of what a view shows has an axis that the view has not."""
        return not isinstance(node.expr, Elementwise) and bool(without(self._builder[factor].type.axes, node.type.axes))

    def _rebuilt(
        self, value: NodeId, node: Node, factors: tuple[NodeId, ...], args: tuple[NodeId, ...], kept: Obstacle | None
    ) -> _Product:
        """What a value is of the rests of its operands; itself where no factor came from them."""
        if not factors:
            return _Product(value, (), kept)
        expr = with_operands(node.expr, args)
        type = infer(expr, lambda number: self._builder[number].type, self._facts.argument)
        axes = tuple(axis for axis in node.type.axes if axis in type.axes)
        return _Product(self._builder.add(expr, replace(type, axes=axes), span=node.span), factors, kept)

    def _movable(self, place: _Place) -> bool:
        value, _ = place
        return not self._spans(place) and self._waits(value) and self._refusal(value) is None

    def _refusal(self, value: NodeId) -> Obstacle | None:
        """What keeps a value that has none of the reduced axes from leaving."""
        if self._builder[value].type.kind is not Kind.REAL:
            return Obstacle("{} is no real number", value)
        positive = self._any_sign or self._facts.is_positive(value)
        return None if positive else Obstacle("{} is not proved positive", value)

    def _spans(self, place: _Place) -> bool:
        value, axes = place
        return any(axis in self._builder[value].type.axes for axis in axes)


def reducing(nodes: GraphBuilder | tuple[Node, ...], axes: tuple[Axis, ...]) -> BottomUp[NodeId, bool]:
    """Whether a value depends on a reduction over one of `axes`."""

    def rule(number: NodeId) -> bool:
        expr = nodes[number].expr
        own = isinstance(expr, Reduce) and any(axis in expr.axes for axis in axes)
        return own or any(map(known, operands(expr)))

    known = BottomUp(lambda number: operands(nodes[number].expr), rule)
    return known
