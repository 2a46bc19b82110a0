"""Elementwise: the schedules of a group that reduces nothing, and of outputs with different axes.

Before: the facts of a flow. After: axes of a row in registers where some load lacks them, or where several outputs
share what they read; and blocks of the innermost axis, which take every call.
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
    reused = _reused_tile(facts)
    tile = (Tile(f"tile{label}", flow, order, without(order, reused), reused),) if reused else ()
    return (*tile, Elementwise(f"elementwise{label}", flow, order, order[:-1], order[-1] if order else None))


def one_tile(facts: Survey, label: str) -> tuple[Tile, ...]:
    """One program for all outputs of a row, though their axes differ; none where they have no row in common."""
    rows = _common_rows(facts)
    return (Tile(f"tile{label}", facts.flow, facts.order, rows, without(facts.order, rows)),) if rows else ()


def _common_rows(facts: Survey) -> tuple[Axis, ...]:
    """The axes that all major stores have and no reduction removes, but for those that neighbours in memory differ in.

    They may lie within others: heads that come before tokens share the tables of a token as well.
    """
    innermost = {axes[-1] for store in facts.majors if (axes := written_axes(facts.flow, store))}
    return tuple(axis for axis in facts.kept if axis not in innermost)


def _reused_tile(facts: Survey) -> tuple[Axis, ...]:
    """The innermost axis and those next to each other that some load of it lacks: kept together, it is read once.

    There may be axes of rows between, as where heads come before tokens. An outermost axis is then one of the rows, if
    there are others: a batch is of any size, and few of them read a table again.
    """
    if not facts.order:
        return ()
    *outer, inner = facts.order
    wide = [node.type.axes for node in live(facts.flow) if isinstance(node.expr, Load) and inner in node.type.axes]
    lacking = [axis for axis in outer if any(axis not in axes for axes in wide)]
    if not lacking:
        return ()
    last = outer.index(lacking[-1])
    first = next((place + 1 for place in range(last, -1, -1) if outer[place] not in lacking), 0)
    if first == 0 < last < len(outer) - 1:
        first = 1
    tile = (*outer[first : last + 1], inner)
    bounded = not set(tile) & set(LEAD_AXES)
    return tile if len(tile) < len(facts.order) and bounded else ()
