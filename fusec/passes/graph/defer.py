"""Defer: a factor that is constant along the contracted axes leaves the dot, a weight along them joins a weight.

Before: `dot(x * r * gain, w, over=K)` with `r = rsqrt(mean(x * x, over=K) + eps)`, where `gain` and `w` are weights.
After:  `dot(x, w * gain, over=K) * r`: the dot reads `x` as it is stored and waits for no statistic, and `w * gain` is
computed once.

Factors leave either operand as they stand in it: multiplying, dividing or turning the sign. Sums are not distributed,
and a declared cast is never crossed. Obligations, checked in `deferral.py`, for what leaves:
- it has none of the contracted axes;
- an operand that may be rounded (`precision=T`) to a type of less range than f32 (f16) is what it was, or peaks at 1
  along the contracted axes, as `exp(s - amax(s))` does: numbers that a factor kept in range stay with it;
- neither the sum (`accum=f16`) nor the arithmetic (integers, f32 in place of f64) gets less range or precision.
For what joins a weight, besides:
- both follow from weights and literals alone, and the product has no more axes than the weight;
- what stays is stored and has every contracted axis. Where operands may be rounded to its type, every product of the
  sum has one rounding to that type before and one after, of the same relative size.

The range that is kept is that of commuted products: where a sum of products with `x` is beyond f32 and one with `x * r`
is not, the result is infinite or NaN; numbers of f16 cannot do it. Where a factor is infinite or a divisor 0, the
result is infinite or NaN as before, but may be the other of the two. A weight with its gain that is rounded has the
range of that type: in f16 it is infinite beyond 65504, and has fewer bits below 2**-14. The error bound of an op is
that of the graph after this pass: it has the rounding of the product in it, and says nothing where that is infinite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from fusec.ir.builder import GraphBuilder, keep, rebuild
from fusec.ir.expressions import Dot, Elementwise, NodeId
from fusec.ir.graph import Graph, Node
from fusec.ir.types import REAL, ValueType, union, without
from fusec.passes.graph.deferral import Moves, moves
from fusec.passes.graph.factor import Factor, Product, product, weights_of
from fusec.passes.graph.unless_empty import unless_empty

Watch: TypeAlias = Callable[[GraphBuilder, Node, Moves], None]
"""Told of every dot with real operands: the nodes so far, its node, and what becomes of it."""


def defer(graph: Graph) -> Graph:
    """The graph with factors moved out of its dots."""
    return deferred(graph, lambda builder, node, found: None)


def deferred(graph: Graph, watch: Watch) -> Graph:
    """What `defer` makes of a graph, told as it goes."""
    weights = weights_of(graph)

    def change(builder: GraphBuilder, node: Node, args: tuple[NodeId, ...]) -> NodeId:
        if not isinstance(node.expr, Dot):
            return keep(builder, node, args)
        dot = replace(node.expr, a=args[0], b=args[1])
        found = moves(builder, dot, weights)
        watch(builder, node, found)
        return _written(builder, node, dot, found)

    return rebuild(graph, change)


def _written(builder: GraphBuilder, node: Node, dot: Dot, found: Moves) -> NodeId:
    a, b = (
        _operand(builder, value, product(builder, value, dot.axes), kept)
        for value, kept in zip((dot.a, dot.b), found.operands, strict=True)
    )
    axes = without(union(builder[a].type.axes, builder[b].type.axes), dot.axes)
    result = builder.add(replace(dot, a=a, b=b), replace(node.type, axes=axes), node.name, node.span)
    for factor in found.left.factors:
        kept = unless_empty(builder, factor.value, dot.axes)
        result = _times(builder, result, replace(factor, value=kept), node)
    if found.left.negative:
        result = builder.add(Elementwise("neg", (result,)), builder[result].type, node.name, node.span)
    return result


def _operand(builder: GraphBuilder, value: NodeId, before: Product, after: Product) -> NodeId:
    """An operand of which some factors are gone, or that has some more; the rest in the order of the spec."""
    if after == before:
        return value
    first, *others = sorted(after.factors, key=lambda factor: factor.divides)
    result = first.value
    for factor in others:
        result = _times(builder, result, factor, replace(builder[value], name=None))
    return result


def _times(builder: GraphBuilder, value: NodeId, factor: Factor, source: Node) -> NodeId:
    """`value` times a factor, by the name and at the place of `source`."""
    axes = union(builder[value].type.axes, builder[factor.value].type.axes)
    op = "div" if factor.divides else "mul"
    return builder.add(Elementwise(op, (value, factor.value)), ValueType(REAL, axes), source.name, source.span)
