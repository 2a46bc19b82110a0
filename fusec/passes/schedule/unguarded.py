"""Unguarded: the stores that no program makes when some axis of the rows is empty, although they do not have it.

`y[M, B, N]` and `bias[B]` in one launch over rows of `M` and `B`: without any `M` there is no program, yet there are
biases. Where a grid of at least one block, or one program for rows, is enough, the launch takes care of that; other
stores are unguarded, and a group of their own makes them. So are those made of a partial result that no program leaves.
"""

from __future__ import annotations

from fusec.ir.expressions import Partial
from fusec.ir.fixed_extents import known_extent
from fusec.ir.flow import Flow, Store, store_axes, store_inputs
from fusec.ir.graph import reachable
from fusec.ir.schedule import Schedule
from fusec.ir.stage import Stage
from fusec.ir.types import Axis, union, without


def unguarded(
    plans: tuple[Schedule, ...], flow: Flow, extents: dict[str, int]
) -> tuple[tuple[Store, ...], tuple[Axis, ...]]:
    """The stores that a launch over empty rows leaves out, and the axes of rows that some of them lack.

    Where `extents` fix that of an axis, it has positions.
    """
    lacking: dict[Store, tuple[Axis, ...]] = {}
    for plan in plans:
        parts = {part.workspace: without(stage.rows, part.axes) for stage in plan.stages for part in stage.partials}
        for stage in plan.stages:
            # The stores of a stage are some of those of the flow, in order.
            originals = iter(flow.stores)
            for moved in stage.flow.stores:
                store = next(each for each in originals if _same(each, moved))
                rows = () if stage.is_without_rows(moved) else stage.rows
                needed = union(rows, *(parts[name] for name in _read(stage, moved)))
                needed = tuple(axis for axis in needed if not known_extent(axis, extents))
                lacking[store] = union(lacking.get(store, ()), without(needed, store_axes(stage.flow, moved)))
    return tuple(store for store in flow.stores if lacking.get(store)), union(*lacking.values())


def _read(stage: Stage, store: Store) -> list[str]:
    """The workspaces of the partial results that a store is made of."""
    nodes = stage.flow.nodes
    reached = (nodes[number].expr for number in sorted(reachable(nodes, store_inputs(store))))
    return [expr.workspace for expr in reached if isinstance(expr, Partial)]


def _same(store: Store, moved: Store) -> bool:
    """Whether the second is what became of the first in a flow of a stage."""
    return (store.target, store.pair, store.span) == (moved.target, moved.pair, moved.span)
