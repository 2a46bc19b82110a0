"""What a kernel costs on the chips it is meant for, found by compiling it for them; no GPU takes part.

`measure` compiles every (file, variant, target) in worker processes, each held to a time limit, because a compiler
that is fed a bad kernel may hang or die on a signal. `judge` turns the figures into a reason to fail the build.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fusec.passes.kernel.blocks import OVERLAP
from fusec.runtime.select.chip import FP8_SINCE, PDL_SINCE, TMA_SINCE, Target
from fusec.workers import Failed, run_jobs

WORKER = "fusec.codegen.gate_worker"

TIME_LIMIT = 120.0
"""Seconds one kernel may take to compile. A kernel that fits its chip needs about one."""


_WORTH_A_WORKER = 8
"""Jobs that take about as long as it takes a compiler to start: both are some seconds."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One specialisation of a kernel, as the launcher would ask for it.

    `signature` gives every parameter in order and its Triton type (`*bf16`, `i32`, `fp32`, `constexpr`);
    `constexprs` the values of those, a type as text (`tl.int64`); `divisible` what is known to be a multiple of 16.
    `options` are those of a `Launch`, several sets in order of preference; `casts` the types that the body names.
    """

    label: str
    kernel: str
    signature: tuple[tuple[str, str], ...]
    constexprs: tuple[tuple[str, bool | int | float | str], ...]
    divisible: tuple[str, ...] = ()
    options: tuple[tuple[tuple[str, int], ...], ...] = ((("num_warps", 4), ("num_stages", 1)),)
    casts: tuple[str, ...] = ()


_FIRST_CAPABILITY = {"fp8e4nv": FP8_SINCE, "tensordesc": TMA_SINCE}
"""The first compute capability that has a type of Triton."""


@dataclass(frozen=True, slots=True)
class Job:
    """A variant of a kernel in the generated file `module` of that text, for one target."""

    module: str
    text: str = field(repr=False)
    variant: Variant
    target: Target


@dataclass(frozen=True, slots=True)
class Resources:
    """What the assembler reports: registers per thread; spilled, stack and shared memory in bytes."""

    registers: int
    spills: int
    stack: int
    shared: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome for one variant on one target: figures, or why there are none, and why it must not be built."""

    label: str
    kernel: str
    target: str
    resources: Resources | None = None
    skipped: str | None = None
    failure: str | None = None

    @property
    def only_spills(self) -> bool:
        """Whether nothing is wrong but that registers are kept in memory: the kernel is right, and slower."""
        return self.resources is not None and self.failure == _spilled(self.resources)


def unsupported(variant: Variant, target: Target) -> str | None:
    """Why this variant cannot exist on the target, or None."""
    for name, kind in variant.signature:
        first = _FIRST_CAPABILITY.get(kind.removeprefix("*").partition("<")[0], 0)
        if target.capability < first:
            return f"{name} is {kind.removeprefix('*')}, which needs sm_{first} or later"
    for kind in variant.casts:
        first = _FIRST_CAPABILITY.get(kind, 0)
        if target.capability < first:
            return f"something is cast to {kind}, which needs sm_{first} or later"
    return None


def _as_launched(variant: Variant, target: Target) -> Variant:
    """The variant that a launcher would ask for on the target, where launches may not overlap."""
    if target.capability >= PDL_SINCE:
        return variant
    return replace(variant, constexprs=tuple((n, False if n == OVERLAP else value) for n, value in variant.constexprs))


def judge(variant: Variant, target: Target, resources: Resources) -> Verdict:
    """Fail what spills registers or needs more shared memory than a block may have."""
    faults = []
    if resources.spills:
        faults.append(_spilled(resources))
    if resources.shared > target.shared_limit:
        faults.append(f"needs {resources.shared} bytes of shared memory, {target.name} has {target.shared_limit}")
    return Verdict(variant.label, variant.kernel, target.name, resources, failure="; ".join(faults) or None)


def _spilled(resources: Resources) -> str:
    return f"spills {resources.spills} bytes of registers"


def measure(
    jobs: Sequence[Job], workers: int, done: Callable[[], None] = lambda: None, limit: float = TIME_LIMIT
) -> tuple[Verdict, ...]:
    """The verdict of every job, in order. `workers` compilers run at once at most, each job may take `limit` seconds.

    `done` is called, from several threads, whenever a job that had to be compiled is finished.
    """
    reasons = [unsupported(job.variant, job.target) for job in jobs]
    compiled = [
        asdict(replace(job, variant=_as_launched(job.variant, job.target)))
        for job, reason in zip(jobs, reasons, strict=True)
        if not reason
    ]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    workers = min(workers, -(-len(compiled) // _WORTH_A_WORKER))
    answers = iter(run_jobs(WORKER, compiled, workers, limit, lambda _: done(), environment))
    return tuple(
        _without_figures(job, skipped=reason) if reason else _verdict(job, next(answers))
        for job, reason in zip(jobs, reasons, strict=True)
    )


def _verdict(job: Job, answer: Failed | dict[str, Any]) -> Verdict:
    if isinstance(answer, Failed):
        return _without_figures(job, failure=f"the compiler {answer.reason}")
    if "error" in answer:
        return _without_figures(job, failure=f"does not compile: {answer['error']}")
    return judge(job.variant, job.target, Resources(**answer))


def _without_figures(job: Job, *, skipped: str | None = None, failure: str | None = None) -> Verdict:
    return Verdict(job.variant.label, job.variant.kernel, job.target.name, skipped=skipped, failure=failure)
