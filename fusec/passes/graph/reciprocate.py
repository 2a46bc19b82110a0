"""Reciprocate: a division of every element by a value they share becomes one division and a product.

Before: `x / scale` with `x` over `[M, N]` and `scale` over `[M]`; after: `x * (1 / scale)`, a tenth of the arithmetic.

Obligations, checked here: the divisor lacks an axis of the dividend, and is proved to stay clear of the numbers whose
reciprocal overflows (its lower bound is a normal number of f32), and of those whose reciprocal is no normal number,
which has fewer digits, and is 0 on a GPU. The product has one rounding more than the quotient, which the error bound of
the rewritten graph has in it.
"""

from __future__ import annotations

from fusec.ir.builder import GraphBuilder, keep, rebuild
from fusec.ir.expressions import Const, Elementwise, MaxOf, NodeId
from fusec.ir.graph import Graph, Node
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.ranges import LARGEST_F32, LARGEST_F64
from fusec.ir.types import REAL, Kind, ValueType
from fusec.ir.value_ranges import ValueRanges

_SMALLEST = 2.0**-126


def reciprocate(graph: Graph) -> Graph:
    """The graph with divisions by shared, safely large values as products."""
    known: list[ValueRanges] = []

    def change(builder: GraphBuilder, node: Node, args: tuple[NodeId, ...]) -> NodeId:
        if not known:
            # Callers choose whether reals are computed in f32 or in f64.
            limits = (LARGEST_F32, LARGEST_F64)[: 1 + graph.may_be_wide]
            known.extend(ValueRanges(builder, largest=most) for most in limits)
        return _reciprocated(builder, node, args, known)

    return rebuild(graph, change)


def _reciprocated(builder: GraphBuilder, node: Node, args: tuple[NodeId, ...], known: list[ValueRanges]) -> NodeId:
    if not isinstance(node.expr, Elementwise) or not ELEMENTWISE[node.expr.op].is_quotient:
        return keep(builder, node, args)
    above, below = args
    shared = set(builder[below].type.axes) < set(builder[above].type.axes)
    if not shared or builder[below].type.kind is not Kind.REAL:
        return keep(builder, node, args)
    if isinstance(builder[below].expr, MaxOf):
        # Scales are compared bit by bit with those of other libraries, which divide.
        return keep(builder, node, args)
    # Divided by infinity, everything is 0 either way.
    if not all(ranges(below).within(_SMALLEST, ranges.largest / 4) and not ranges(below).below for ranges in known):
        return keep(builder, node, args)
    one = builder.add(Const(1.0), ValueType(REAL))
    inverse = builder.add(Elementwise("div", (one, below)), ValueType(REAL, builder[below].type.axes), span=node.span)
    return builder.add(Elementwise("mul", (above, inverse)), node.type, node.name, node.span)
