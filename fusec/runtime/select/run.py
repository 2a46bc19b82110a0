"""The runner: what the plans of an op, a table, come to for one call.

It takes the first partition that fits, of each of its steps the first schedule that does, and writes down the launches.
A table of measured choices, or whoever forces a plan, names partitions and schedules instead: `split_k`, or `q.rows`
for that of the step that writes `q`. Several names stand with blanks between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fusec.ir.host.plans import LIBRARY, Partition, Step
from fusec.ir.host.schedules import Schedule
from fusec.runtime.errors import PlanError
from fusec.runtime.launch import Launch
from fusec.runtime.plan import Buffer, Plan
from fusec.runtime.prepare import Prepared
from fusec.runtime.product import Product
from fusec.runtime.select import columns, gemm, roles, row_tiles, row_vectors, rows, scaled, tma
from fusec.runtime.select.call import Call, Tiled
from fusec.runtime.select.choice import measured, plain
from fusec.runtime.select.names import every_plan, names_of, plan_names, tuned_names
from fusec.runtime.select.partition import Partitions
from fusec.runtime.select.rule import Rule
from fusec.runtime.select.tables import Choice

_FAMILIES = (rows, row_tiles, row_vectors, columns, gemm, roles, scaled, tma)

RULES: dict[type, Rule] = {kind: rule for family in _FAMILIES for kind, rule in family.RULES.items()}
"""Of every schedule: whether it can take a call, whether it should, and its launches."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A step of a plan as it is taken: the schedule by name, the tiles that it asked for, and what it launches."""

    writes: str
    plan: str
    launches: tuple[Launch | Product, ...]
    tiled: tuple[Tiled, ...] = ()


@dataclass(slots=True)
class Decision:
    """A plan for one call: its steps, and what the call allocates and prepares for them.

    It `is_forced` where the choice of the call is not that of a table.
    """

    call: Call
    steps: list[Taken] = field(default_factory=list)
    prepared: Prepared | None = None
    is_forced: bool = False

    @property
    def launches(self) -> list[Launch | Product]:
        """All launches in order."""
        return [launch for step in self.steps for launch in step.launches]

    @property
    def dtypes(self) -> dict[str, torch.dtype]:
        """The dtype of every buffer that launches are given."""
        call = self.call
        found = {name: tensor.dtype for name, tensor in call.tensors.items() if tensor is not None}
        found |= {name: buffer.dtype for name, buffer in {**call.outputs, **call.workspaces}.items()}
        found |= {copy: found[name] for copy, name in call.aliases.items()}
        if self.prepared:
            found |= {name: call.workspace(name).dtype for name in self.prepared.names}
        return found

    @property
    def tuned(self) -> str:
        """The plan by name, of those that a table chooses among."""
        about = self.call.plans.tuned
        outputs = set(about.outputs.split()) if about else set()
        library = any(step.plan == LIBRARY for step in self.steps)
        return LIBRARY if library else next(s.plan for s in self.steps if outputs & set(s.writes.split()))

    def plan(self) -> Plan:
        """The plan, ready to run."""
        call, plans = self.call, self.call.plans
        return Plan(
            call.op,
            call.device,
            tensors=tuple(call.tensors),
            scalars=tuple(plans.scalars.split()),
            mutated=tuple(plans.mutated.split()),
            outputs=call.outputs,
            workspaces=call.workspaces,
            aliases=call.aliases,
            prepared=self.prepared,
            absent=tuple(plans.absent.split()),
            launches=self.launches,
        )


def decide(call: Call, folder: Path, forced: Choice | None) -> Decision:
    """The plan for a call: as `forced`, else as a table in `folder` has it, else by rule.

    Raises `PlanError` where what is forced is no plan of the op, or cannot take the call.
    """
    runner = Runner(call)
    if forced is None:
        runner.take(runner.measured(folder))
    else:
        runner.decision.is_forced = True
        runner.take(forced)
        if missing := [name for name in forced.plan.split() if name not in runner.used]:
            raise runner.refusal(missing[0])
    return runner.decision


@dataclass(frozen=True, slots=True)
class Asked:
    """What a table is asked for a call, and the plans that are possible for it."""

    rows: int
    case: dict[str, int | bool | str]
    possible: tuple[str, ...]


def outline(call: Call) -> Asked:
    """How a call with a choice of plans stands in a table."""
    runner, tuned = Runner(call), call.plans.tuned
    assert tuned is not None
    case = dict(zip(tuned.case.split(), map(plain, runner.case), strict=True))
    return Asked(runner.rows, case, runner.possible())


class Runner:
    """Plans one call."""

    def __init__(self, call: Call) -> None:
        self.decision = Decision(call)
        self.used: set[str] = set()
        self._call = call
        self._plans = call.plans
        self._partitions = Partitions(call)
        self._names: frozenset[str] = frozenset()

    def take(self, choice: Choice | None) -> None:
        """Plan as chosen, by rule where nothing is."""
        self._call.choice = choice
        names = choice.plan.split() if choice else []
        self._names = frozenset(filter(self._partitions.is_possible, names))
        partition = self._chosen_partition()
        if partition is None and not self._plans.steps:
            partition = self._plans.whole
        if partition is not None:
            self._partition(partition)
        else:
            self._steps(self._plans.steps)
        self._steps(self._plans.last)

    # What is measured

    @property
    def rows(self) -> int:
        """The number of rows together, by which a table is asked."""
        assert self._plans.tuned is not None
        return self._call.count(self._plans.tuned.rows)

    @property
    def case(self) -> tuple[Any, ...]:
        """What else a table is asked by: extents, dtypes, and whether optional tensors are given."""
        assert self._plans.tuned is not None
        call = self._call
        names = self._plans.tuned.case.split()
        return tuple(call.sizes[n] if n in call.sizes else call.tensors[n] is not None for n in names)

    def measured(self, folder: Path) -> Choice | None:
        """What a table has for the call, if that is possible."""
        call, tuned = self._call, self._plans.tuned
        if tuned is None:
            return None
        found = measured(tuned, call.op, folder, call.device, self.rows, self.case)
        return found if found is not None and found.plan in self.possible() else None

    def possible(self) -> tuple[str, ...]:
        """The plans by name that can take the call, of those that a table chooses among."""
        return tuple(filter(self._can_take, tuned_names(self._plans)))

    # Partitions

    def _chosen_partition(self) -> Partition | None:
        """The partition that is asked for, or has what is asked for, or is taken by rule."""
        partitions, found = self._plans.partitions, None
        if self._names:
            found = next(filter(self._is_named, partitions), None)
            if found is None and self._names_one_of(self._plans.steps):
                return None
            found = found or next(filter(self._has_named, partitions), None)
        return found or next(filter(self._partitions.is_preferred, partitions), None)

    def _is_named(self, partition: Partition) -> bool:
        """Whether what is asked for is what a partition is called, and it can take the call."""
        named = self._names & set(partition.names)
        return bool(named) and self._partitions.is_legal(partition)

    def _has_named(self, partition: Partition) -> bool:
        """Whether what is asked for is of some step of a partition that can take the call."""
        steps = tuple(step for step in partition.steps if isinstance(step, Step))
        return self._names_one_of(steps) and self._partitions.is_legal(partition)

    def _names_one_of(self, steps: tuple[Step, ...]) -> bool:
        """Whether what is asked for is of one of these steps."""
        every = (step for each in steps for step in each.every())
        return any(self._named(step, plan) for step in every for plan in step.plans)

    def _partition(self, partition: Partition) -> None:
        call, plans = self._call, self._plans
        self.used |= self._names & ({LIBRARY} if partition.products else set())
        if not self.decision.is_forced:
            copies = (each.split("=") for each in partition.copies.split())
            call.aliases |= {copy: name for copy, name in copies if call.lies_as(copy, name)}
        held = (name for name in partition.holds.split() if name not in call.aliases)
        call.workspaces |= {name: call.workspace(name) for name in held}
        prepared: list[Buffer] = []
        if plans.prepare is not None and not partition.is_for_vectors:
            weights = [call.tensors[name] for name in plans.prepare.weights]
            told = {name: call.sizes[name] for name in plans.told.split()}
            self.decision.prepared = plans.prepare.like(*weights, **told)
            prepared = [call.workspace(name) for name in plans.prepare.names]
        call.choose_index(*call.workspaces.values(), *prepared)
        products = iter(self._partitions.products(partition))
        for step in partition.steps:
            if isinstance(step, Step):
                if not call.aliases.keys() >= set(step.writes.split()):
                    self._step(step)
            else:
                self._multiply(next(products))

    def _multiply(self, product: Product | None) -> None:
        assert product is not None
        call = self._call
        names = dict.fromkeys(matrix.name for matrix in (*product.read, product.out))
        led = [name for name in names if name in call.led]
        walks = call.walks.offsets if call.walks and led else ((),)
        made = tuple(product.at({name: at[call.led[name]] for name in led}) if led else product for at in walks)
        self.decision.steps.append(Taken(product.out.name, LIBRARY, made))

    # Steps

    def _steps(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            self._step(step)

    def _step(self, step: Step) -> None:
        plan = self._chosen(step)
        if plan is not None:
            self._schedule(step, plan)
        else:
            self._steps(step.apart)
        if step.alone is not None and any(self._call.size(key) == 0 for key in step.absent.split()):
            self._step(step.alone)

    def _chosen(self, step: Step) -> Schedule | None:
        """The schedule of a step; None where its outputs are computed apart."""
        call = self._call
        if self._names:
            for plan in step.plans:
                if (named := self._named(step, plan)) and RULES[type(plan)].is_legal(plan, call):
                    self.used |= named
                    return plan
            if self._names_one_of(step.apart):
                return None
        others = step.plans if step.apart else step.plans[:-1]
        preferred = next((plan for plan in others if RULES[type(plan)].is_preferred(plan, call)), None)
        if preferred is not None or step.apart:
            return preferred
        # The last schedule is for every call, unless somebody asks for a partition that its rule would not have taken.
        return next((p for p in reversed(step.plans) if RULES[type(p)].is_legal(p, call)), step.plans[-1])

    def _schedule(self, step: Step, plan: Schedule) -> None:
        call = self._call
        call.enter(plan)
        call.tiled = []
        launches = tuple(RULES[type(plan)].launches(plan, call))
        self.decision.steps.append(Taken(step.writes, plan.name, launches, tuple(call.tiled)))

    # Names

    def _named(self, step: Step, plan: Schedule) -> frozenset[str]:
        """The names that are asked for and mean a schedule of a step."""
        return self._names & names_of(step, plan)

    def refusal(self, name: str) -> PlanError:
        """Why a plan that is asked for is not taken."""
        op, known = self._call.op, plan_names(self._plans)
        if name not in known:
            return PlanError(f"{op}: there is no plan `{name}`; its plans are {', '.join(known)}", None, known, name)
        beside = " ".join(sorted(self._names - {name}))
        together = f" together with `{beside}`" if beside else ""
        fitting = tuple(each for each in known if each != name and self._can_take(each))
        message = f"{op}: the plan `{name}` cannot take this call{together}; those that can are {', '.join(fitting)}"
        return PlanError(message, None, fitting, name)

    def _can_take(self, name: str) -> bool:
        if name in (LIBRARY, "tma"):
            return self._partitions.is_possible(name)
        own = (plan for step, plan in every_plan(self._plans) if name in names_of(step, plan))
        return any(RULES[type(plan)].is_legal(plan, self._call) for plan in own)
