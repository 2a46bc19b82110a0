"""The plans of an op in words and formulas: what each launches, and what it moves against the least possible."""

from __future__ import annotations

from dataclasses import dataclass

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
    """The plans of an op in words and figures, in the order of `Program.plans`."""
    fused = len(program.plans) - len(program.around)
    return tuple(
        PlanRecord(
            name=_plan_name(program, plan) if place < fused else f"library {plan.name}",
            words=plan.words,
            kernels=tuple(kernel.name for kernel in program.kernels_of(plan)),
            moved=traffic(plan),
            least=least_traffic(plan),
            excess=excess_traffic(plan),
        )
        for place, plan in enumerate(program.plans)
    )


def _plan_name(program: Program, plan: Schedule) -> str:
    """A plan by its shape; one of those that write at the end is told apart."""
    last = any(plan is each for group in program.last_groups for each in group.all_plans())
    return f"write {plan.name}" if last else plan.name
