"""Schedule: the groups of every step, each with its schedules.

Before: the partitions of an op, their views resolved. After: those whose
steps all have schedules, in order of preference: first what ends in the library, then contractions of stored operands,
then products of the library with kernels behind them, then the single step; and what is written last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from fusec.diagnostics import InternalError
from fusec.ir.expressions import Dot
from fusec.ir.partition import FUSED, LAST, LIBRARY, STORED, Partition, Step
from fusec.ir.schedule import Gemm, Group
from fusec.ir.stage import Stage
from fusec.passes.schedule.gemv import expand_dots
from fusec.passes.schedule.groups import contraction, groups
from fusec.passes.schedule.known import Known
from fusec.passes.schedule.library import library
from fusec.passes.schedule.survey import live


def schedule(partitions: tuple[Partition, ...], known: Known) -> tuple[Partition, ...]:
    """The partitions with schedules. Kernels that are the same have one name, others have several."""
    names = _Names()
    (whole,) = (partition for partition in partitions if partition.name == FUSED)
    cut = [partition for partition in partitions if partition is not whole]
    fused = _scheduled(whole, known, names, vectors=True)
    assert fused is not None
    vectors = not any(plan.few for group in fused.groups for plan in group.plans)
    found = [made for partition in cut if (made := _scheduled(partition, known, names, vectors)) is not None]
    last = [partition for partition in found if partition.name == LAST]
    stored = [partition for partition in found if partition.name == STORED]
    direct = [partition for partition in found if partition.name == LIBRARY and partition.ends_in_library]
    others = [partition for partition in found if partition.name == LIBRARY and not partition.ends_in_library]
    if stored:
        # A few rows are multiplied faster where nothing else is computed in the same loop.
        fused = replace(fused, steps=tuple(_without_few(step) for step in fused.steps))
    return (*direct, *stored, *others, fused, *last)


@dataclass(slots=True)
class _Names:
    """The stages of an op by their names, of which no two have one; those of a partition that is cut wait in turn."""

    taken: dict[str, tuple[Stage, bool]] = field(default_factory=dict)

    def take(self, groups: tuple[Group, ...], partition: Partition) -> bool:
        """Whether the stages of some groups can have their names: nothing else has them."""
        plans = (plan for group in groups for plan in group.all_plans())
        found = [(stage.name, (stage.whole, partition.is_chained)) for plan in plans for stage in plan.stages]
        stages = dict(found)
        if any(stages[name] != stage for name, stage in found):
            raise InternalError("schedule", "two kernels of a step have one name", repr(sorted(stages)))
        if any(self.taken.get(name, stage) != stage for name, stage in found):
            return False
        self.taken |= stages
        return True


def _scheduled(partition: Partition, known: Known, names: _Names, vectors: bool) -> Partition | None:
    """A partition whose steps have groups; None where one of its dots cannot be made as it is cut for."""
    steps: list[Step] = []
    for step in partition.steps:
        labels = _labels(partition, step)
        groups = _groups(partition, step, known, next(labels), vectors)
        while groups is not None and not names.take(groups, partition):
            groups = _groups(partition, step, known, next(labels), vectors)
        if groups is None:
            return None
        steps.append(replace(step, groups=groups))
    return replace(partition, steps=tuple(steps))


def _labels(partition: Partition, step: Step) -> Iterator[str]:
    """What the names of a step's kernels may end in: what it writes, then what it reads as well, then a number."""
    if partition.name == FUSED:
        yield ""
    written = "".join(f"_{name}" for name in step.writes)
    held = "".join(f"_{tensor.name}" for tensor in partition.holds if tensor.name in step.reads)
    yield written
    yield f"{written}_of{held or '_arguments'}"
    number = 1
    while True:
        number += 1
        yield f"{written}_{number}"


def _groups(partition: Partition, step: Step, known: Known, label: str, vectors: bool) -> tuple[Group, ...] | None:
    flow = step.flow
    assert flow is not None
    if partition.name == FUSED:
        return groups(expand_dots(flow) if known.wide else flow, known, label)
    if not any(isinstance(node.expr, Dot) for node in live(flow)):
        return groups(flow, known, label, frozenset(tensor.name for tensor in partition.holds))
    if partition.name == LIBRARY:
        product = library(flow)
        return None if isinstance(product, str) else (Group(step.writes, (product,)),)
    group = contraction(flow, known, label, vectors)
    return None if isinstance(group, str) else (group,)


def _without_few(step: Step) -> Step:
    return replace(step, groups=tuple(map(_group_without_few, step.groups)))


def _group_without_few(group: Group) -> Group:
    """The group without the plans whose tiles have a few rows as columns."""
    plans = tuple(plan for plan in group.plans if not (isinstance(plan, Gemm) and plan.few))
    alone = _group_without_few(group.alone) if group.alone else None
    return replace(group, plans=plans, apart=tuple(map(_group_without_few, group.apart)), alone=alone)
