"""The dataflow of an op after every view has become an address.

Halves, pairs, parts, renames and gathers are gone: a value is made of loads with affine addresses, arithmetic and
reductions, and every root is a store. What a `Graph` says on named axes, a `Flow` says on iteration axes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from fusec.diagnostics import Span
from fusec.ir.builder import Builder
from fusec.ir.expressions import BOTH, Dot, FlowExpr, Load, Neighbours, NodeId, Pair, Position, lookups, position_axes
from fusec.ir.graph import NodeOf, dots_among, reachable
from fusec.ir.types import Axis, Named, Storage, union

LEAD_AXES = (Named("lead1"), Named("lead0"))
"""The axes a kernel walks `...` by: all leading dimensions, collapsed to two that have strides of their own."""


def axes_text(axes: Iterable[Axis]) -> str:
    """`B, S`: axes in words, the two that `...` is walked by under that name."""
    return ", ".join(dict.fromkeys("..." if axis in LEAD_AXES else str(axis) for axis in axes))


FlowNode: TypeAlias = NodeOf[FlowExpr]
FlowBuilder: TypeAlias = Builder[FlowExpr]


@dataclass(frozen=True, slots=True)
class Store:
    """Writes `value`, rounded to `element`, to the output or mutable parameter `target`.

    It reaches every place `once` where that is known; places outside of the tensor do not count.
    """

    target: str
    element: Storage
    positions: tuple[Position, ...]
    value: NodeId
    pair: Pair | None = None
    span: Span | None = field(default=None, compare=False)
    once: bool = True


@dataclass(frozen=True, slots=True)
class Flow:
    """What one op, or one kernel of it, computes: nodes in topological order and the stores they feed."""

    nodes: tuple[FlowNode, ...]
    stores: tuple[Store, ...]

    @property
    def roots(self) -> tuple[NodeId, ...]:
        """The nodes its stores read."""
        return tuple(number for store in self.stores for number in store_inputs(store))

    @property
    def live(self) -> list[NodeId]:
        """The nodes some store depends on, in topological order."""
        return sorted(reachable(self.nodes, self.roots))

    @property
    def dots(self) -> dict[NodeId, Dot]:
        """The dots among these."""
        return dots_among(self.nodes, self.live)


def two_apart(nodes: tuple[FlowNode, ...], number: NodeId) -> tuple[Load | NodeId, ...]:
    """The two elements at each position of an operand, each a node or the load of one; () where there is one."""
    match nodes[number].expr:
        case Neighbours(args=args):
            return args
        case Load(param, positions, Pair(dim, step, index)) if index == BOTH:
            return Load(param, positions, Pair(dim, step, 0)), Load(param, positions, Pair(dim, step, 1))
        case _:
            return ()


def store_inputs(store: Store) -> tuple[NodeId, ...]:
    """The nodes a store reads: its value and its looked-up positions."""
    return (store.value, *lookups(store.positions))


def store_axes(flow: Flow, store: Store) -> tuple[Axis, ...]:
    """The axes a store iterates over."""
    values = (flow.nodes[n].type.axes for n in store_inputs(store))
    return union(position_axes(store.positions), *values)
