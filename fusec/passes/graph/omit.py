"""Omit: the graph of the calls that leave some optional tensors out.

Before: `dot(x, w) + choose(bias: given b, omitted 0)`; after, without `bias`: `dot(x, w) + 0`, for `simplify` to drop.
The parameters stay, so that both graphs have one signature. Relies on nothing.
"""

from __future__ import annotations

from fusec.ir.builder import GraphBuilder, keep, rebuild
from fusec.ir.expressions import OMITTED, Choose, NodeId
from fusec.ir.graph import Graph, Node


def omit(graph: Graph, names: frozenset[str]) -> Graph:
    """The graph with the optional tensors `names` left out."""

    def change(builder: GraphBuilder, node: Node, args: tuple[NodeId, ...]) -> NodeId:
        if isinstance(node.expr, Choose) and node.expr.selector in names:
            return next(arg for (case, _), arg in zip(node.expr.cases, args, strict=True) if case == OMITTED)
        return keep(builder, node, args)

    return rebuild(graph, change)
