"""The plans of an op in words and formulas: what each launches, and what it moves against the least possible."""

from __future__ import annotations

from dataclasses import dataclass

from fusec.ir.partition import LIBRARY
from fusec.ir.program import Program
from fusec.ir.schedule import Schedule
from fusec.passes.schedule.traffic import excess_traffic, least_traffic, traffic


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """One plan of an op: its kernels by name, and the bytes it moves, the least possible, and those above, as formulas.

    `excess` is empty where the plan moves no more than it must.
    """

    name: str
    words: str
    kernels: tuple[str, ...]
    moved: str
    least: str
    excess: str


def plan_records(program: Program) -> tuple[PlanRecord, ...]:
    """The plans of an op in words and figures, in the order of `Program.plans`.

    Kernels are called as the program has them: by other names before a file has them than in it, where one that is the
    same as another, be it of another op, is not written again.
    """
    return tuple(
        PlanRecord(
            name=_plan_name(program, plan),
            words=plan.words,
            kernels=tuple(kernel.name for kernel in program.kernels_of(plan)),
            moved=traffic(plan),
            least=least_traffic(plan),
            excess=excess_traffic(plan),
        )
        for plan in program.plans
    )


def _plan_name(program: Program, plan: Schedule) -> str:
    """A plan by its schedule; those that write at the end, and those around the library alone, are told apart."""
    if any(plan is each for group in program.last_groups for each in group.all_plans()):
        return f"write {plan.name}"
    stages = [stage.kernel for stage in plan.stages]
    own = (each for partition in program.partitions if partition.name != LIBRARY for each in partition.plans)
    return plan.name if any(stages == [s.kernel for s in each.stages] for each in own) else f"library {plan.name}"
