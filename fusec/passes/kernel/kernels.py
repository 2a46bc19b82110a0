"""The kernels of an op.

Before: partitions into steps, whose schedules have stages; after: a `Kernel` for every stage, by its name. An epilogue
that several kernels have is a function of the file. Relies on what `build.py` says of a stage.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from fusec.ir import schedule
from fusec.ir.kernel import Kernel
from fusec.ir.partition import Partition
from fusec.ir.stage import Stage
from fusec.passes.kernel.build import build_kernel
from fusec.passes.kernel.target import Target


def build_kernels(partitions: tuple[Partition, ...], known: dict[str, int]) -> dict[str, Kernel]:
    """The kernel of every stage of every schedule, by the name of the stage. `known` has extents that are fixed.

    An epilogue that only one of them has stands in that kernel.
    """
    jobs: dict[str, _Job] = {}
    for partition in partitions:
        libraries = [step for step in partition.steps if any(group.library for group in step.groups)]
        products = frozenset(name for step in libraries for name in step.writes)
        for step in partition.steps:
            target = Target(step.graph, known, chained=partition.is_chained, products=products)
            for plan in (plan for group in step.groups for plan in group.all_plans()):
                contracts = isinstance(plan, schedule.Gemv | schedule.Gemm | schedule.GemmStage)
                within = replace(target, chained=target.chained or plan.is_chained, contracts=contracts)
                for stage in plan.stages:
                    jobs.setdefault(stage.kernel, _Job(stage, within, plan.words))
    built = {name: job.kernel() for name, job in jobs.items()}
    callers = Counter(call.function for kernel in built.values() for call in kernel.calls)
    alone = [name for name, kernel in built.items() if any(callers[call.function] == 1 for call in kernel.calls)]
    return built | {name: jobs[name].kernel(inline=True) for name in alone}


@dataclass(frozen=True, slots=True)
class _Job:
    """A stage, and what it is built for."""

    stage: Stage
    target: Target
    words: str

    def kernel(self, inline: bool = False) -> Kernel:
        """Its kernel, with its epilogue as a function or `inline`."""
        target = replace(self.target, contracts=False, products=frozenset()) if inline else self.target
        return build_kernel(self.stage, target, f"_{target.graph.name}_{self.stage.kernel}", self.words)
