"""Marks: the reductions and dots of an op, followed through the passes by their numbers in the spec's graph."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from fusec.diagnostics import Source, Span
from fusec.ir.expressions import Dot, NodeId, Reduce
from fusec.ir.flow import FlowNode
from fusec.ir.graph import Graph, Node

_REDUCTIONS = Source("the reductions of an op", "")
_DOTS = Source("the dots of an op", "")
_NAMES = {_REDUCTIONS: "reduction", _DOTS: "dot"}


def marked(graph: Graph) -> Graph:
    """The same graph with the number of each reduction and dot in the place of its span, which every pass hands on."""
    marks = {node: Span(_REDUCTIONS, number, number) for node, number in numbers(graph).items()}
    marks |= {node: Span(_DOTS, number, number) for node, number in dot_numbers(graph).items()}
    nodes = (replace(node, span=marks.get(n, node.span)) for n, node in enumerate(graph.nodes))
    return replace(graph, nodes=tuple(nodes))


def numbers(graph: Graph) -> dict[NodeId, int]:
    """The reductions that something depends on, counted from 1."""
    return _counted(graph, Reduce)


def dot_numbers(graph: Graph) -> dict[NodeId, int]:
    """The dots that something depends on, counted from 1."""
    return _counted(graph, Dot)


def mark_of(node: Node | FlowNode) -> int | None:
    """The number of the reduction that a node was made of."""
    return node.span.start if node.span and node.span.source is _REDUCTIONS else None


def dot_mark_of(node: Node) -> int | None:
    """The number of the dot that a node was made of."""
    return node.span.start if node.span and node.span.source is _DOTS else None


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
        number = mark_of(node)
        if isinstance(node.expr, Reduce) and number is not None and (live is None or place in live):
            found.setdefault(number, []).append(place)
    return found


def _counted(graph: Graph, form: type[Reduce | Dot]) -> dict[NodeId, int]:
    return {n: count for count, n in enumerate((n for n in graph.live if isinstance(graph.nodes[n].expr, form)), 1)}
