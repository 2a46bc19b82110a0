"""Strand: the stores that no program makes when some axis of the rows is empty, although they do not have it.

`y[M, B, N]` and `bias[B]` in one launch over rows of `M` and `B`: without any `M` there is no program, yet there are
biases. Where a grid of at least one block, or one program for rows, is enough, the launch takes care of that; other
stores are stranded, and a group of their own makes them.
"""

from __future__ import annotations

from fusec.ir.flow import Flow, Store, store_axes
from fusec.ir.schedule import Schedule
from fusec.ir.types import Axis, union, without


def stranded(plans: tuple[Schedule, ...], flow: Flow) -> tuple[tuple[Store, ...], tuple[Axis, ...]]:
    """The stores that a launch over empty rows leaves out, and the axes of rows that some of them lack."""
    stages = [stage for plan in plans for stage in plan.stages if stage.flow.stores]
    lacking: dict[Store, tuple[Axis, ...]] = {}
    for stage in stages:
        # The stores of a stage are some of those of the flow, in order.
        originals = iter(flow.stores)
        for moved in stage.flow.stores:
            store = next(each for each in originals if _same(each, moved))
            if not stage.is_without_rows(moved):
                rows = without(stage.rows, store_axes(stage.flow, moved))
                lacking[store] = union(lacking.get(store, ()), rows)
    return tuple(store for store in flow.stores if lacking.get(store)), union(*lacking.values())


def _same(store: Store, moved: Store) -> bool:
    """Whether the second is what became of the first in a flow of a stage."""
    return (store.target, store.pair, store.span) == (moved.target, moved.pair, moved.span)
