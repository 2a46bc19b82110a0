"""What must hold of every partition: what a step reads was stored before it, and each call has a schedule."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from fusec.diagnostics import InternalError
from fusec.ir.fixed_extents import known_extent
from fusec.ir.partition import FUSED, LAST, VECTOR, Partition, Step
from fusec.ir.schedule import SHORT_ROW, Elementwise, Gemm, Group, Library, RowLoop, Rows, Schedule, SplitRows
from fusec.ir.show_partition import show_partition
from fusec.ir.show_schedule import show_group


def verify_partition(partition: Partition, step: str = "partition") -> None:
    """Raises `InternalError`, in the name of `step`, when the steps do not run one after another."""
    fault = next(_faults(partition), None)
    if fault:
        raise InternalError(step, fault, show_partition(partition))


def _faults(partition: Partition) -> Iterator[str]:
    held = {tensor.name: tensor for tensor in partition.holds}
    if len(held) < len(partition.holds):
        yield "two intermediates have one name"
    done: set[str] = set()
    read: set[str] = set()
    for each in partition.steps:
        if partition.name not in (FUSED, VECTOR, LAST):
            early = sorted(name for name in each.reads & held.keys() if name not in done)
            if early:
                yield f"{', '.join(early)} is read before it is stored"
        written = [output.name for output in each.graph.outputs]
        if again := sorted(done.intersection(written)):
            yield f"{', '.join(again)} is stored by two steps"
        if unlike := [o.name for o in each.graph.outputs if o.name in held and o.dims != held[o.name].dims]:
            yield f"{', '.join(unlike)} is stored in another shape than it is held in"
        done.update(written)
        read |= each.reads
        yield from _unscheduled(each)
    if missing := sorted(held.keys() - done):
        yield f"{', '.join(missing)} is never stored"
    if unread := sorted(held.keys() - read):
        yield f"{', '.join(unread)} is stored for nobody"


def _unscheduled(step: Step) -> Iterator[str]:
    """What a step writes and no group of it does, once there are groups."""
    made = {name for group in step.groups for name in group.outputs}
    if step.groups and set(step.writes) != made:
        yield f"the groups of a step make {', '.join(sorted(made))}, and it is to write {', '.join(step.writes)}"


def verify_schedules(partition: Partition, known: dict[str, int], step: str = "schedule") -> None:
    """Raises `InternalError`, in the name of `step`, when a call may come that no schedule of a group takes.

    `known` holds the extents that constraints fix. What is launched last has no condition, so the last schedule takes
    all; but for a partition that is for single vectors alone.
    """
    for group in partition.groups if partition.name != VECTOR else ():
        verify_group(group, known, step)


def verify_group(group: Group, known: dict[str, int], step: str = "schedule") -> None:
    """The same for one group and what is in it."""
    for each in group.every():
        last = each.plans[-1] if each.plans else None
        if not each.apart and (last is None or not takes_all(last, known)):
            raise InternalError(step, f"no plan of {', '.join(each.outputs)} takes every call", show_group(each))


def takes_all(plan: Schedule, known: dict[str, int]) -> bool:
    """Whether a schedule takes calls of all extents."""
    if plan.few:
        return False
    match plan:
        case SplitRows() | Elementwise() | Gemm() | Library():
            return True
        case RowLoop(tile=tile):
            return not tile
        case Rows(tile=tile):
            extents = [known_extent(axis, known) for axis in tile]
            return prod(extent or SHORT_ROW + 1 for extent in extents) <= SHORT_ROW
        case _:
            return False
