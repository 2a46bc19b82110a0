"""What must hold of every plan: each call has one that takes it."""

from __future__ import annotations

from math import prod

from fusec.diagnostics import InternalError
from fusec.ir.schedule import SHORT_ROW, Group, Plan, Shape, known_extent
from fusec.ir.show_schedule import show_group

_WITHOUT_LIMITS = (Shape.SPLIT, Shape.BLOCKED, Shape.PRODUCT)
"""The shapes whose loops, blocks and tiles are of any extent."""


def verify_groups(groups: tuple[Group, ...], known: dict[str, int], step: str = "place") -> None:
    """Raises `InternalError`, in the name of `step`, when a call may come that no plan of a group takes.

    `known` holds the extents that constraints fix. What is launched last has no condition, so the last plan takes all.
    """
    for group in groups:
        last = group.plans[-1] if group.plans and not group.apart else None
        if not group.apart and (last is None or not takes_all(last, known)):
            raise InternalError(step, f"no plan of {', '.join(group.outputs)} takes every call", show_group(group))
        verify_groups((*group.apart, *((group.alone,) if group.alone else ())), known, step)


def verify_contraction(group: Group, step: str = "place_dots") -> None:
    """The same for a step of a chain, which is taken where boxes are possible or one of its other plans fits."""
    *others, last = group.plans
    limited = [plan for plan in others if not plan.few]
    if last.shape is not Shape.PERSISTENT or limited:
        raise InternalError(step, f"a plan of {', '.join(group.outputs)} has a limit of its own", show_group(group))


def takes_all(plan: Plan, known: dict[str, int]) -> bool:
    """Whether a plan takes calls of all extents."""
    if plan.few:
        return False
    if plan.shape in _WITHOUT_LIMITS or (plan.shape is Shape.STREAMED and not plan.stages[0].tile):
        return True
    extents = [known_extent(axis, known) for axis in plan.stages[0].tile]
    return plan.shape is Shape.ROWS and prod(extent or SHORT_ROW + 1 for extent in extents) <= SHORT_ROW
