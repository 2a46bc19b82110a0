"""Making graphs: a builder shares equal expressions, and a rewrite passes every node through a change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeAlias

from fusec.diagnostics import Span
from fusec.ir.expressions import Const, Expr, Merge, NodeId, Part, Rename, operands, with_operands
from fusec.ir.graph import E, Graph, Node, NodeOf
from fusec.ir.types import Computed, ValueType


class Builder(Generic[E]):
    """Collects typed nodes; an expression that is already there is returned, not added again."""

    def __init__(self) -> None:
        self._nodes: list[NodeOf[E]] = []
        self._known: dict[tuple[object, ValueType], NodeId] = {}

    def add(self, expr: E, type: ValueType, name: str | None = None, span: Span | None = None) -> NodeId:
        """The node of `expr`, new or shared. A shared node without a name takes the one given."""
        key = (_exact(expr), type)
        if key in self._known:
            number = self._known[key]
            if name and self._nodes[number].name is None:
                self._nodes[number] = replace(self._nodes[number], name=name)
            return number
        self._nodes.append(NodeOf(expr, type, name, span))
        self._known[key] = len(self._nodes) - 1
        return len(self._nodes) - 1

    def call(self, number: NodeId, name: str) -> None:
        """Give a node this name, whatever it was called."""
        self._nodes[number] = replace(self._nodes[number], name=name)

    def __getitem__(self, number: NodeId) -> NodeOf[E]:
        return self._nodes[number]

    @property
    def nodes(self) -> tuple[NodeOf[E], ...]:
        return tuple(self._nodes)


GraphBuilder: TypeAlias = Builder[Expr]


def rebuild(graph: Graph, change: Callable[[GraphBuilder, Node, tuple[NodeId, ...]], NodeId]) -> Graph:
    """A graph with every reachable node passed through `change(builder, old node, new operands)`; the rest dropped."""
    builder = Builder[Expr]()
    new: dict[NodeId, NodeId] = {}
    for number in graph.live:
        node = graph.nodes[number]
        new[number] = change(builder, node, tuple(new[n] for n in operands(node.expr)))
    return replace(
        graph,
        nodes=builder.nodes,
        outputs=tuple(replace(output, value=new[output.value]) for output in graph.outputs),
        scatters=tuple(
            replace(s, indices=tuple(new[n] for n in s.indices), value=new[s.value]) for s in graph.scatters
        ),
    )


def keep(builder: GraphBuilder, node: Node, new: tuple[NodeId, ...]) -> NodeId:
    """The change that changes nothing: the same expression over the new operands. A view is of the type it shows."""
    expr, type = with_operands(node.expr, new), node.type
    if isinstance(expr, Part | Merge | Rename):
        types = [builder[number].type for number in new]
        elements = {own.element for own in types}
        element = elements.pop() if len(elements) == 1 else Computed(type.kind)
        type = ValueType(element, type.axes)
    return builder.add(expr, type, node.name, node.span)


def _exact(expr: object) -> object:
    # 1, 1.0 and True are equal and hash alike in Python, 0.0 equals -0.0, and NaN equals nothing: keep them apart.
    return (type(expr.value), repr(expr.value)) if isinstance(expr, Const) else expr
