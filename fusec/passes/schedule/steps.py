"""Schedule: the groups of every step, each with its schedules.

Before: the partitions of an op, their views resolved. After: those whose steps all have schedules, in order of
preference: what ends in the library, one kernel for a single vector, contractions of stored operands, products of the
library with kernels behind them; and what is written last. Contractions of stored operands take every call; where an op
has none, its single step does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from fusec.diagnostics import InternalError
from fusec.ir.expressions import Reduce
from fusec.ir.graph import reachable
from fusec.ir.partition import FUSED, LAST, LIBRARY, STORED, VECTOR, Partition, Step
from fusec.ir.schedule import Gemv, Group
from fusec.ir.stage import Stage
from fusec.passes.schedule.gemv import expand_dots
from fusec.passes.schedule.groups import contraction, groups
from fusec.passes.schedule.known import Known
from fusec.passes.schedule.library import library


def schedule(partitions: tuple[Partition, ...], known: Known) -> tuple[Partition, ...]:
    """The partitions with schedules. Kernels that are the same have one name, others have several."""
    (fused,) = (partition for partition in partitions if partition.name == FUSED)
    products = [partition for partition in partitions if partition.name == LIBRARY]
    stored = _stored(partitions, known)
    whole = [fused] if stored is None else [vector] if (vector := _vector(fused, stored, known)) else []
    names = _Names()
    vectors = not whole
    whole = [_named(partition, known, names) for partition in whole]
    own = [_named(stored, known, names, vectors)] if stored else []
    found = [made for each in products if (made := _scheduled(each, known, names)) is not None]
    last = [_named(partition, known, names) for partition in partitions if partition.name == LAST]
    direct = [partition for partition in found if partition.ends_in_library]
    others = [partition for partition in found if not partition.ends_in_library]
    return (*direct, *whole, *own, *others, *last) if own else (*direct, *others, *whole, *last)


def _stored(partitions: tuple[Partition, ...], known: Known) -> Partition | None:
    """The contractions of stored operands; of an op whose outputs have different axes, what the library would make.

    An op with f64 has no tiles.
    """
    found = [each for each in partitions if each.name == STORED]
    found += [each for each in partitions if each.name == LIBRARY and not each.omits and not known.wide]
    named = (replace(partition, name=STORED) for partition in found)
    return next((partition for partition in named if _scheduled(partition, known, _Names())), None)


def _vector(fused: Partition, stored: Partition, known: Known) -> Partition | None:
    """All of an op in one kernel for a single vector, where that is fewer launches, or reads what others prepare.

    A vector whose numbers wait for a reduction, as where it is quantised, is reduced once for all columns.
    """
    if any(map(_waits, fused.steps)):
        return None
    held = {tensor.name for tensor in stored.holds}
    read, instead = ({name for step in each.steps for name in step.reads} for each in (fused, stored))
    if len(stored.steps) == 1 and instead - held <= read:
        return None
    vector = replace(fused, name=VECTOR)
    return vector if _scheduled(vector, known, _Names()) else None


@dataclass(slots=True)
class _Names:
    """The stages of an op by their names, of which no two have one; those of a partition that is cut wait in turn."""

    taken: dict[str, tuple[Stage, bool]] = field(default_factory=dict)

    def take(self, groups: tuple[Group, ...], partition: Partition) -> bool:
        """Whether the stages of some groups can have their names: nothing else has them."""
        plans = (plan for group in groups for plan in group.all_plans())
        chained = ((plan, partition.is_chained or plan.is_chained) for plan in plans)
        found = [(stage.kernel, (stage.whole, waits)) for plan, waits in chained for stage in plan.stages]
        stages = dict(found)
        if any(stages[name] != stage for name, stage in found):
            raise InternalError("schedule", "two kernels of a step have one name", repr(sorted(stages)))
        if any(self.taken.get(name, stage) != stage for name, stage in found):
            return False
        self.taken |= stages
        return True


def _named(partition: Partition, known: Known, names: _Names, vectors: bool = False) -> Partition:
    """A partition that can be scheduled, with the names that its kernels have."""
    found = _scheduled(partition, known, names, vectors)
    assert found is not None
    return found


def _scheduled(partition: Partition, known: Known, names: _Names, vectors: bool = False) -> Partition | None:
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
    if len(partition.steps) == 1 and partition.name != LAST:
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
    if partition.name in (FUSED, VECTOR):
        found = groups(expand_dots(flow) if known.wide else flow, known, label)
        return found if partition.name == FUSED else _for_vectors(found)
    if not flow.dots:
        return groups(flow, known, label, frozenset(tensor.name for tensor in partition.holds))
    if partition.name == LIBRARY:
        product = library(flow)
        return None if isinstance(product, str) else (Group(step.writes, (product,)),)
    group = contraction(flow, known, label, vectors)
    return None if isinstance(group, str) else (group,)


def _for_vectors(groups: tuple[Group, ...]) -> tuple[Group, ...] | None:
    """What multiplies a single vector, of an op that is one launch; None where nothing does."""
    plans = [plan for plan in groups[0].plans if isinstance(plan, Gemv)]
    if len(groups) > 1 or not plans or groups[0].alone:
        return None
    return (replace(groups[0], plans=tuple(plans)),)


def _waits(step: Step) -> bool:
    """Whether a dot multiplies what is made of a reduction."""
    assert step.flow is not None
    operands = [number for dot in step.flow.dots.values() for number in (dot.a, dot.b)]
    made = reachable(step.flow.nodes, operands)
    return any(isinstance(step.flow.nodes[number].expr, Reduce) for number in made)
