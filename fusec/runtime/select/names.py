"""Names of plans: those of partitions and schedules, `q.rows` for that of the step that writes `q`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from fusec.ir.host.plans import Plans, Step
from fusec.ir.host.schedules import Schedule


def label(step: Step) -> str:
    """What the schedules of a step are qualified with: the first of what it writes."""
    return step.writes.split()[0]


def names_of(step: Step, plan: Schedule) -> frozenset[str]:
    """The names that mean a schedule of a step."""
    return frozenset({plan.name, f"{label(step)}.{plan.name}"})


def every_plan(plans: Plans) -> Iterator[tuple[Step, Schedule]]:
    """All schedules of an op, each with its step."""
    return ((step, plan) for step in plans.every() for plan in step.plans)


def tuned_names(plans: Plans) -> tuple[str, ...]:
    """The plans that a table chooses among: partitions, and the schedules of what is multiplied."""
    if plans.tuned is None:
        return ()
    outputs = set(plans.tuned.outputs.split())
    steps = (step for each in plans.steps for step in each.every() if outputs & set(step.writes.split()))
    names = chain((name for one in plans.partitions for name in one.names), (p.name for s in steps for p in s.plans))
    return tuple(dict.fromkeys(names))


def plan_names(plans: Plans) -> tuple[str, ...]:
    """All names by which plans of an op can be forced, where there are several steps by what each writes as well."""
    every = list(every_plan(plans))
    names = [*(name for one in plans.partitions for name in one.names), *(plan.name for _, plan in every)]
    if len({label(step) for step, _ in every}) > 1:
        names += [f"{label(step)}.{plan.name}" for step, plan in every]
    return tuple(dict.fromkeys(names))


def reaching_names(plans: Plans) -> tuple[str, ...]:
    """What, forced one after another, reaches every schedule of every step: names, and those within a partition."""
    steps = ((one, step) for one in plans.partitions for step in one.steps if isinstance(step, Step))
    inner = (
        f"{one.names[0]} {label(each)}.{plan.name}"
        for one, step in steps
        if step not in one.contracting and one.names
        for each in step.every()
        for plan in each.plans
    )
    return (*plan_names(plans), *dict.fromkeys(inner))
