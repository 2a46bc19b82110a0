"""Rows: the schedules of a group that reduces rows, from short ones, several to a program, to very long ones.

Before: the facts of a flow with reductions. After: several rows per program, a row in registers, rows with column sums,
a row in a loop, and a row split over programs. The last of those that are there takes every call.
"""

from __future__ import annotations

from math import prod

from fusec.ir.fixed_extents import known_extent
from fusec.ir.schedule import SHORT_ROW, Resident, RowLoop, Rows, Schedule
from fusec.ir.types import Axis, without
from fusec.passes.schedule.column_sums import column_sums
from fusec.passes.schedule.known import Known
from fusec.passes.schedule.long_rows import is_of_a_matrix
from fusec.passes.schedule.split_rows import split_rows
from fusec.passes.schedule.survey import Survey


def rows(facts: Survey, known: Known, label: str) -> tuple[Schedule, ...]:
    """The schedules in order of preference. Names of stages end in `label`."""
    flow, order, inner = facts.flow, facts.order, facts.inner
    outside, block = _rows_and_block(facts)
    sizes = [known_extent(axis, known.extents) for axis in inner]
    length = prod(size for size in sizes if size is not None) if None not in sizes else None
    plans: list[Schedule] = []
    if outside or block:
        plans.append(Rows(f"rows{label}", flow, order, outside, inner, block))
    if length is not None and length <= SHORT_ROW and plans:
        return tuple(plans)
    if block is None:
        plans.append(Resident(f"resident{label}", flow, order, outside, inner))
    plans += column_sums(facts, label)
    outer = next(axis for axis in inner if axis in facts.reduced)
    rest = without(inner, (outer,))
    if outside or block:
        plans.append(RowLoop(f"row_loop{label}", flow, order, outside, rest, block, (outer,)))
        if not rest and is_of_a_matrix(outer, known.matrices):
            return tuple(plans)
    return (*plans, split_rows(facts, outside, known.extents, label))


def _rows_and_block(facts: Survey) -> tuple[tuple[Axis, ...], Axis | None]:
    """Rows of a reducing stage, and the innermost axis as a block when it is not reduced (coalesced access)."""
    last = facts.order[-1]
    if last in facts.kept:
        return without(facts.kept, (last,)), last
    return facts.kept, None
