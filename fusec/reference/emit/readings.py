"""Who reads a value, and which values belong to one case of a choice and are computed only there."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TypeAlias

from fusec.ir.expressions import (
    Cast,
    Choose,
    Dot,
    Elementwise,
    Gather,
    Input,
    Layout,
    Merge,
    NodeId,
    Part,
    Reduce,
    operands,
)
from fusec.ir.graph import Graph, reachable
from fusec.ir.types import Axis, Sum
from fusec.reference.emit.layout import root

Case: TypeAlias = tuple[NodeId, str]
"""A `Choose` and the name of one of its cases."""


@dataclass(slots=True)
class Readings:
    """The nodes in use, in topological order, with the case that owns each (None: always needed) and its readers."""

    graph: Graph
    owners: dict[NodeId, Case | None] = field(init=False)
    readers: dict[NodeId, list[NodeId]] = field(init=False)
    count: Counter[NodeId] = field(init=False)

    def __post_init__(self) -> None:
        self.owners = _owners(self.graph)
        self.readers = {number: [] for number in self.owners}
        self.count = Counter(self.graph.roots)
        for number in self.owners:
            read = operands(self.graph.nodes[number].expr)
            self.count.update(read)
            for operand in dict.fromkeys(read):
                self.readers[operand].append(number)

    def keeps(self, number: NodeId) -> bool:
        """Whether a reduction is broadcast against an axis that it has reduced, so that it had better keep it."""
        expr = self.graph.nodes[number].expr
        if not isinstance(expr, Reduce):
            return False
        stack, seen = [number], set[NodeId]()
        while stack:
            for reader in self.readers[stack.pop()]:
                node = self.graph.nodes[reader]
                if reader not in seen and isinstance(node.expr, Elementwise | Cast):
                    if any(axis in node.type.axes for axis in expr.axes):
                        return True
                    stack.append(reader)
                    seen.add(reader)
        return False

    def company(self, number: NodeId) -> tuple[Axis, ...]:
        """The axes of the first operation that combines a value, or parts of it, with more axes; else its own."""
        own = {root(axis) for axis in self.graph.nodes[number].type.axes}
        queue, seen = deque([number]), set[NodeId]()
        while queue:
            for reader in self.readers[queue.popleft()]:
                node = self.graph.nodes[reader]
                if reader in seen:
                    continue
                seen.add(reader)
                if isinstance(node.expr, Elementwise) and not own >= {root(axis) for axis in node.type.axes}:
                    return tuple(dict.fromkeys(root(axis) for axis in node.type.axes))
                if isinstance(node.expr, Elementwise | Cast) or (
                    isinstance(node.expr, Part) and node.expr.layout is not Layout.PARTS
                ):
                    queue.append(reader)
        return self.graph.nodes[number].type.axes

    def widened(self, number: NodeId) -> int:
        """How many arithmetic readers a value has, which need it out of its storage type."""
        arithmetic = (Elementwise, Reduce, Dot, Merge)
        return sum(isinstance(self.graph.nodes[reader].expr, arithmetic) for reader in self.readers[number])

    def siblings(self, number: NodeId) -> list[NodeId]:
        """All parts of an axis in their order, given one of them, if each is read in the same scope; else nothing."""
        expr = self.graph.nodes[number].expr
        if not isinstance(expr, Part):
            return []
        found: dict[int, NodeId] = {}
        for candidate in self.owners:
            other = self.graph.nodes[candidate].expr
            if not isinstance(other, Part) or self.owners[candidate] != self.owners[number]:
                continue
            if (other.arg, other.axis, other.layout) == (expr.arg, expr.axis, expr.layout):
                found[other.index] = candidate
        count = len(expr.axis.parts) if isinstance(expr.axis, Sum) else 2
        return [found[index] for index in sorted(found)] if len(found) == count else []

    def reads(self, param: str) -> bool:
        """Whether an element of a tensor parameter is read."""
        exprs = (self.graph.nodes[number].expr for number in self.owners)
        return any(isinstance(expr, Input | Gather) and expr.param == param for expr in exprs)

    def needs_stored(self, param: str) -> bool:
        """Whether a tensor parameter is needed as it came, because it is gathered from or written to."""
        gathered = (self.graph.nodes[number].expr for number in self.owners)
        return self.graph.tensor(param).mutable or any(isinstance(e, Gather) and e.param == param for e in gathered)


def _owners(graph: Graph) -> dict[NodeId, Case | None]:
    """For each node in use, the innermost case in which all its readers stand, or None where it is always needed."""
    live = reachable(graph.nodes, graph.roots)
    owned: dict[NodeId, tuple[int, Case]] = {}
    for number in sorted(live):
        expr = graph.nodes[number].expr
        if not isinstance(expr, Choose):
            continue
        for case, _ in expr.cases:
            own = live - _reachable_without(graph, (number, case))
            for node in own:
                if node not in owned or len(own) < owned[node][0]:
                    owned[node] = (len(own), (number, case))
    return {number: owned[number][1] if number in owned else None for number in sorted(live)}


def _reachable_without(graph: Graph, cut: Case) -> set[NodeId]:
    seen: set[NodeId] = set()
    stack = list(graph.roots)
    while stack:
        number = stack.pop()
        if number in seen:
            continue
        seen.add(number)
        expr = graph.nodes[number].expr
        if isinstance(expr, Choose):
            stack.extend(value for case, value in expr.cases if (number, case) != cut)
        else:
            stack.extend(operands(expr))
    return seen
