"""Survey of a flow: which axes its stores and reductions have, and in which order memory holds them."""

from __future__ import annotations

from dataclasses import dataclass

from fusec.ir.expressions import Dot, Load, Lookup, NodeId, Reduce, operands, position_axes
from fusec.ir.flow import Flow, FlowNode, Store, store_axes
from fusec.ir.types import Axis, union, without


@dataclass(frozen=True, slots=True)
class Survey:
    """Facts a planner asks for. `order` holds every axis of the flow, outermost in memory first."""

    flow: Flow
    order: tuple[Axis, ...]
    reduced: tuple[Axis, ...]
    majors: tuple[Store, ...]

    @property
    def kept(self) -> tuple[Axis, ...]:
        """The axes that every major store has and no reduction removes, in memory order."""
        common = [axis for axis in self.order if all(axis in store_axes(self.flow, store) for store in self.majors)]
        return without(tuple(common), self.reduced)

    @property
    def inner(self) -> tuple[Axis, ...]:
        """All other axes, in memory order."""
        return without(self.order, self.kept)


def survey(flow: Flow) -> Survey:
    """The facts of a flow."""
    reduced = union(*(node.expr.axes for node in live(flow) if isinstance(node.expr, Reduce | Dot)))
    return Survey(flow, _memory_order(flow), reduced, _majors(flow))


def live(flow: Flow) -> list[FlowNode]:
    """The nodes some store depends on, in topological order."""
    return [flow.nodes[n] for n in flow.live]


def depths(flow: Flow, axes: tuple[Axis, ...]) -> dict[NodeId, int]:
    """For each node, how many reductions over one of `axes` stand one after another on its longest way in."""
    found: dict[NodeId, int] = {}
    for number, node in enumerate(flow.nodes):
        depth = max((found[n] for n in operands(node.expr)), default=0)
        # A dot that differs from step to step is made of one.
        ends = not (isinstance(node.expr, Dot) and any(axis in axes for axis in node.type.axes))
        if isinstance(node.expr, Reduce | Dot) and ends and any(axis in axes for axis in node.expr.axes):
            depth += 1
        found[number] = depth
    return found


def _majors(flow: Flow) -> tuple[Store, ...]:
    """The stores whose axes no other store has all of and more."""
    sets = [set(store_axes(flow, store)) for store in flow.stores]
    return tuple(
        store for store, axes in zip(flow.stores, sets, strict=True) if not any(axes < other for other in sets)
    )


def _memory_order(flow: Flow) -> tuple[Axis, ...]:
    accesses = [written_axes(flow, store) for store in flow.stores]
    accesses += [position_axes(node.expr.positions) for node in live(flow) if isinstance(node.expr, Load)]
    accesses.sort(key=len, reverse=True)
    order: list[Axis] = []
    for axes in accesses:
        _merge(order, axes)
    _merge(order, union(*(node.type.axes for node in live(flow))))
    return tuple(order)


def written_axes(flow: Flow, store: Store) -> tuple[Axis, ...]:
    """The axes that tell where a store goes, those of an index where it stands among the positions."""
    positions = store.positions
    return union(*(flow.nodes[p.index].type.axes if isinstance(p, Lookup) else p.axes for p in positions))


def _merge(order: list[Axis], axes: tuple[Axis, ...]) -> None:
    """Put each new axis right before the next known one, else at the end."""
    for place, axis in enumerate(axes):
        if axis not in order:
            after = next((a for a in axes[place + 1 :] if a in order), None)
            order.insert(len(order) if after is None else order.index(after), axis)
