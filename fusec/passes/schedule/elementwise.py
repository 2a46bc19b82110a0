"""Elementwise: the schedules of a group that reduces nothing, and of outputs with different axes.

Before: the facts of a flow. After: the inner axes of a row in registers where some load lacks them, or where several
outputs share what they read; and blocks of the innermost axis, which take every call.
"""

from __future__ import annotations

from fusec.ir.expressions import Load
from fusec.ir.flow import LEAD_AXES
from fusec.ir.schedule import Elementwise, Schedule, Tile
from fusec.ir.types import Axis, without
from fusec.passes.schedule.survey import Survey, live, written_axes


def elementwise(facts: Survey, label: str) -> tuple[Schedule, ...]:
    """The schedules in order of preference. Names of stages end in `label`."""
    flow, order = facts.flow, facts.order
    reused = _reused_tail(facts)
    tile = (Tile(f"tile{label}", flow, order, without(order, reused), reused),) if reused else ()
    return (*tile, Elementwise(f"elementwise{label}", flow, order, order[:-1], order[-1] if order else None))


def one_tile(facts: Survey, label: str) -> tuple[Tile, ...]:
    """One program for all outputs of a row, though their axes differ; none where they have no row in common."""
    rows = _common_rows(facts)
    return (Tile(f"tile{label}", facts.flow, facts.order, rows, without(facts.order, rows)),) if rows else ()


def _common_rows(facts: Survey) -> tuple[Axis, ...]:
    """The outermost axes that all major stores begin with and no reduction removes."""
    rows: list[Axis] = []
    for axes in zip(*(written_axes(facts.flow, store) for store in facts.majors), strict=False):
        if len(set(axes)) > 1 or axes[0] in facts.reduced:
            break
        rows.append(axes[0])
    return tuple(rows)


def _reused_tail(facts: Survey) -> tuple[Axis, ...]:
    """The innermost axes down from those that some load of the innermost axis lacks: kept together, it is read once."""
    loads = [node.type.axes for node in live(facts.flow) if isinstance(node.expr, Load)]
    wide = [axes for axes in loads if facts.order and facts.order[-1] in axes]
    tail: list[Axis] = []
    for axis in reversed(facts.order):
        lacking = any(axis not in axes for axes in wide)
        if axis != facts.order[-1] and not lacking:
            break
        tail.insert(0, axis)
    rows = facts.order[: len(facts.order) - len(tail)]
    bounded = not set(tail) & set(LEAD_AXES)
    return tuple(tail) if len(tail) > 1 and rows and bounded else ()
