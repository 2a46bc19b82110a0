"""Marks: the reductions of an op, followed through the passes by the number each has in the spec's graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fusec.diagnostics import Source, Span
from fusec.ir.flow import FlowNode
from fusec.ir.graph import Graph, Node, NodeId, Reduce, reachable

_MARKS = Source("the reductions of an op", "")


def marked(graph: Graph) -> Graph:
    """The same graph with the number of each reduction in the place of its span, which every pass hands on."""
    marks = {node: Span(_MARKS, number, number) for node, number in numbers(graph).items()}
    nodes = (replace(node, span=marks.get(n, node.span)) for n, node in enumerate(graph.nodes))
    return replace(graph, nodes=tuple(nodes))


def numbers(graph: Graph) -> dict[NodeId, int]:
    """The reductions that something depends on, counted from 1."""
    live = sorted(reachable(graph.nodes, graph.roots))
    return {n: count for count, n in enumerate((n for n in live if isinstance(graph.nodes[n].expr, Reduce)), 1)}


def mark_of(node: Node | FlowNode) -> int | None:
    """The number of the reduction that a node was made of."""
    return node.span.start if node.span and node.span.source is _MARKS else None


def marked_reductions(
    nodes: Sequence[Node | FlowNode], live: frozenset[NodeId] | None = None
) -> dict[int, list[NodeId]]:
    """The reductions made of each number, of those that are `live`: several where an axis has parts."""
    found: dict[int, list[NodeId]] = {}
    for place, node in enumerate(nodes):
        number = mark_of(node)
        if isinstance(node.expr, Reduce) and number is not None and (live is None or place in live):
            found.setdefault(number, []).append(place)
    return found
