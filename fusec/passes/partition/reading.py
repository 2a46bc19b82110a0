"""Reading: a part of a graph by itself, where some values are tensors to some of those that read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from fusec.ir.bottom_up import BottomUp
from fusec.ir.builder import Builder, keep
from fusec.ir.expressions import Expr, Input, NodeId, operands
from fusec.ir.graph import Graph, Scatter
from fusec.ir.partition import Intermediate
from fusec.ir.types import ValueType

_Read: TypeAlias = tuple[NodeId, Intermediate | None]
"""A node, and the tensor that it is to a reader."""


class Reading:
    """Moves nodes of a graph into `builder`, with all that they are computed of.

    `stored` is told a node and one that it reads, or None and what something outside of nodes reads: it says which
    tensor that is. What is a tensor is computed of nothing.
    """

    def __init__(self, graph: Graph, stored: Callable[[NodeId | None, NodeId], Intermediate | None]) -> None:
        self.builder = Builder[Expr]()
        self._graph = graph
        self._stored = stored
        self._moved = BottomUp(self._needs, self._move)

    def value(self, number: NodeId) -> NodeId:
        """A node, moved."""
        return self._moved((number, self._stored(None, number)))

    def write(self, scatter: Scatter) -> Scatter:
        """A write in place, of nodes that are moved."""
        return replace(scatter, indices=tuple(map(self.value, scatter.indices)), value=self.value(scatter.value))

    def _needs(self, key: _Read) -> list[_Read]:
        number, tensor = key
        read = () if tensor else operands(self._graph.nodes[number].expr)
        return [(n, self._stored(number, n)) for n in read]

    def _move(self, key: _Read) -> NodeId:
        number, tensor = key
        node = self._graph.nodes[number]
        if tensor is None:
            return keep(self.builder, node, tuple(map(self._moved, self._needs(key))))
        return self.builder.add(Input(tensor.name), ValueType(tensor.element, node.type.axes), node.name, node.span)
