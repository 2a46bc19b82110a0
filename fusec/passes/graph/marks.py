"""Marks: the reductions and dots of an op, followed through the passes by their numbers in the spec's graph."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from fusec.diagnostics import Source, Span
from fusec.ir.expressions import Dot, NodeId, Reduce
from fusec.ir.flow import FlowNode
from fusec.ir.graph import Graph, Node

_KINDS: dict[type[Reduce | Dot], Source] = {
    Reduce: Source("the reductions of an op", ""),
    Dot: Source("the dots of an op", ""),
}
_NAMES = {_KINDS[Reduce]: "reduction", _KINDS[Dot]: "dot"}


def marked(graph: Graph) -> Graph:
    """The same graph with the number of each reduction and dot in the place of its span, which every pass hands on."""
    marks = {node: Span(source, n, n) for kind, source in _KINDS.items() for node, n in numbers(graph, kind).items()}
    nodes = (replace(node, span=marks.get(n, node.span)) for n, node in enumerate(graph.nodes))
    return replace(graph, nodes=tuple(nodes))


def numbers(graph: Graph, kind: type[Reduce | Dot]) -> dict[NodeId, int]:
    """The reductions, or the dots, that something depends on, counted from 1."""
    return {n: count for count, n in enumerate((n for n in graph.live if isinstance(graph.nodes[n].expr, kind)), 1)}


def mark_of(node: Node | FlowNode, kind: type[Reduce | Dot]) -> int | None:
    """The number of the reduction, or the dot, that a node was made of."""
    return node.span.start if node.span and node.span.source is _KINDS[kind] else None


def mark_words(node: Node) -> str | None:
    """`reduction 2`, `dot 1`: what the marked node was made of."""
    name = _NAMES.get(node.span.source) if node.span else None
    return f"{name} {node.span.start}" if name and node.span else None


def marked_reductions(
    nodes: Sequence[Node | FlowNode], live: Collection[NodeId] | None = None
) -> dict[int, list[NodeId]]:
    """The reductions made of each number, of those that are `live`: several where an axis has parts."""
    found: dict[int, list[NodeId]] = {}
    for place, node in enumerate(nodes):
        number = mark_of(node, Reduce)
        if isinstance(node.expr, Reduce) and number is not None and (live is None or place in live):
            found.setdefault(number, []).append(place)
    return found
