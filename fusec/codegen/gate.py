"""What a kernel costs on the chips it is meant for, found by compiling it for them; no GPU takes part.

`measure` compiles (file, variant, target) in worker processes, each held to a time limit, because a compiler that is
fed a bad kernel may hang or die on a signal. Of each kernel the heaviest variant is measured, with products on every
target. Where it leaves registers free, lighter ones only pass Triton's front end, which checks types and shapes; of
those that are left, the heaviest is measured next. `judge` turns the figures into a reason to fail the build.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fusec.codegen.variant import MOST_ON_OTHERS, MOST_REGISTERS, Variant
from fusec.passes.kernel.blocks import OVERLAP
from fusec.runtime.select.chip import FP8_SINCE, PDL_SINCE, ROLES_ON, TARGETS, TMA_SINCE, Target
from fusec.workers import Failed, Pool, worker_pool

WORKER = "fusec.codegen.gate_worker"

TIME_LIMIT = 120.0
"""Seconds one kernel may take to compile. A kernel that fits its chip needs about one."""


_WORTH_A_WORKER = 48
"""Jobs whose half takes longer than it takes a compiler to start: most of them may pass the front end alone."""


_FIRST_CAPABILITY = {"fp8e4nv": FP8_SINCE, "tensordesc": TMA_SINCE}
"""The first compute capability that has a type of Triton."""

_LAYOUT = "NVMMASharedLayout"
"""What the type of a tensor map says in Gluon."""


@dataclass(frozen=True, slots=True)
class Job:
    """A variant of a kernel in the generated file `module` of that text, for one target."""

    module: str
    text: str = field(repr=False)
    variant: Variant
    target: Target


@dataclass(frozen=True, slots=True)
class Resources:
    """What the assembler reports: registers per thread; spilled, stack and shared memory in bytes.

    What it is given has so many products, if all of them are `scaled` by the tensor core.
    """

    registers: int
    spills: int
    stack: int
    shared: int
    scaled: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome for one variant on one target: figures, or why there are none, and why it must not be built.

    `like` is the label of a heavier variant that was measured and left so much free that this one need not be.
    """

    label: str
    kernel: str
    target: str
    resources: Resources | None = None
    skipped: str | None = None
    failure: str | None = None
    like: str | None = None

    @property
    def only_spills(self) -> bool:
        """Whether nothing is wrong but that registers are kept in memory: the kernel is right, and slower."""
        return self.resources is not None and self.failure == _spilled(self.resources)


def unsupported(variant: Variant, target: Target) -> str | None:
    """Why this variant cannot exist on the target, or None."""
    types = [kind.removeprefix("*").partition("<")[0] for _, kind in variant.signature]
    for name in (*types, *variant.casts):
        first = _FIRST_CAPABILITY.get(name, 0)
        if target.capability < first:
            return f"{name} needs sm_{first} or later"
    if target.capability != ROLES_ON and any(_LAYOUT in kind for _, kind in variant.signature):
        return f"warps with roles need sm_{ROLES_ON}"
    if not _has_products(variant, target):
        return f"tensor cores of {target.name} have no products of {' and '.join(variant.scaled)}"
    return None


def targets_of(variant: Variant, targets: Sequence[Target]) -> tuple[Target, ...]:
    """The targets of a build, and those that have products which a variant is for and none of the others has."""
    if not variant.scaled or any(_has_products(variant, target) for target in targets):
        return tuple(targets)
    return (*targets, *(target for target in TARGETS.values() if _has_products(variant, target)))


def _has_products(variant: Variant, target: Target) -> bool:
    return set(variant.scaled) <= set(target.scaled)


def _as_launched(variant: Variant, target: Target) -> Variant:
    """The variant that a launcher would ask for on the target, where launches may not overlap."""
    if target.capability >= PDL_SINCE:
        return variant
    return replace(variant, constexprs=tuple((n, False if n == OVERLAP else value) for n, value in variant.constexprs))


def judge(variant: Variant, target: Target, resources: Resources) -> Verdict:
    """Fail what spills registers, needs more shared memory than a block may have, or is not the product it is for."""
    faults = []
    if resources.spills:
        faults.append(_spilled(resources))
    if resources.shared > target.shared_limit:
        faults.append(f"needs {resources.shared} bytes of shared memory, {target.name} has {target.shared_limit}")
    if variant.scaled and not resources.scaled:
        faults.append("Triton decodes the operands of a product that the tensor core has scales for")
    return Verdict(variant.label, variant.kernel, target.name, resources, failure="; ".join(faults) or None)


def _spilled(resources: Resources) -> str:
    return f"spills {resources.spills} bytes of registers"


@contextmanager
def compilers(workers: int, module: str = WORKER) -> Iterator[Pool]:
    """So many compilers at most, for as long as this is entered. They do not interpret kernels."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    with worker_pool(module, workers, environment) as pool:
        yield pool


def measure(
    jobs: Sequence[Job],
    workers: int,
    done: Callable[[int], None] = lambda _: None,
    limit: float = TIME_LIMIT,
    every: bool = False,
) -> tuple[Verdict, ...]:
    """`measure_in` for compilers of its own."""
    with compilers(workers) as pool:
        return measure_in(pool, jobs, done, limit, every)


def measure_in(
    pool: Pool, jobs: Sequence[Job], done: Callable[[int], None], limit: float = TIME_LIMIT, every: bool = False
) -> tuple[Verdict, ...]:
    """The verdict of every job, in order, each of which may take `limit` seconds in one of the compilers of a pool.

    `done` hears, from several threads, of how many more jobs the verdict is known. None stands for others where there
    are to be figures of `every` job.
    """
    verdicts: dict[int, Verdict] = {
        place: _without_figures(job, skipped=reason)
        for place, job in enumerate(jobs)
        if (reason := unsupported(job.variant, job.target))
    }
    done(len(verdicts))
    families = _families(jobs, verdicts)
    light: dict[int, str] = {}
    while families:
        found = _compiled(pool, jobs, [family[0] for family in families], limit, done)
        verdicts |= found
        left: list[list[int]] = []
        for (lead, verdict), (_, *others) in zip(found.items(), families, strict=True):
            stood = [] if every else [place for place in others if _stands_for(jobs[lead], verdict, jobs[place])]
            light |= dict.fromkeys(stood, verdict.label)
            left.append([place for place in others if place not in stood])
        families = [family for family in left if family]
    verdicts |= _passed(pool, jobs, verdicts, light, limit, done)
    return tuple(verdicts[place] for place in range(len(jobs)))


def _families(jobs: Sequence[Job], known: Container[int]) -> list[list[int]]:
    """The places of jobs whose variants may stand for each other, the heaviest first.

    Tensor cores of each chip multiply with other instructions; other kernels are the same for all chips.
    """
    families: dict[Hashable, list[int]] = {}
    for place, job in enumerate(jobs):
        if place not in known:
            chip = job.target if job.variant.differs_by_chip else None
            families.setdefault((job.text, chip, job.variant.family), []).append(place)

    def weight(place: int) -> tuple[Any, int]:
        return jobs[place].variant.weight, jobs[place].target.capability

    return [sorted(family, key=weight, reverse=True) for family in families.values()]


def _stands_for(heavy: Job, found: Verdict, light: Job) -> bool:
    """Whether a job that was measured leaves so much free that a lighter one of its family fits as well."""
    if found.failure or found.resources is None:
        return False
    most = heavy.variant.registers_to_stand_for(light.variant)
    if heavy.target != light.target:
        most = min(most, MOST_ON_OTHERS if heavy.variant == light.variant else MOST_REGISTERS)
    same = heavy.variant.multiplies and heavy.target == light.target
    free = found.resources.shared * 2 <= light.target.shared_limit or same
    return free and found.resources.registers <= most


def _compiled(
    pool: Pool, jobs: Sequence[Job], places: Sequence[int], limit: float, done: Callable[[int], None]
) -> dict[int, Verdict]:
    """The verdicts of jobs that are measured."""
    told = [_told(jobs[place]) for place in places]
    answers = pool.do(told, limit, lambda *_: done(1), at_once=_workers(len(jobs)))
    return {place: _verdict(jobs[place], answer) for place, answer in zip(places, answers, strict=True)}


def _passed(
    pool: Pool,
    jobs: Sequence[Job],
    measured: Mapping[int, Verdict],
    light: Mapping[int, str],
    limit: float,
    done: Callable[[int], None],
) -> dict[int, Verdict]:
    """The verdicts of jobs for which others stand: those of the front end, which is the same for all chips."""
    passed = {_text(jobs[place]) for place, verdict in measured.items() if verdict.resources}
    alike: dict[Hashable, list[int]] = {}
    for place in light:
        alike.setdefault(_text(jobs[place]), []).append(place)
    asked = {text: _told_in_front(jobs[first]) for text, (first, *_) in alike.items() if text not in passed}
    answers = pool.do(list(asked.values()), limit, lambda *_: done(1), at_once=_workers(len(jobs)))
    wrong = {
        text: answer
        for text, answer in zip(asked, answers, strict=True)
        if isinstance(answer, Failed) or "error" in answer
    }
    done(len(light) - len(asked))
    return {
        place: _verdict(jobs[place], wrong[text])
        if text in wrong
        else replace(_without_figures(jobs[place]), like=light[place])
        for text, places in alike.items()
        for place in places
    }


def _text(job: Job) -> Hashable:
    """What the front end sees of a job."""
    return job.text, repr(job.variant.in_front)


def _workers(jobs: int) -> int:
    """How many workers so many jobs are worth."""
    return max(1, -(-jobs // _WORTH_A_WORKER))


def _told(job: Job) -> dict[str, Any]:
    """A job for a worker."""
    return asdict(replace(job, variant=_as_launched(job.variant, job.target)))


def _told_in_front(job: Job) -> dict[str, Any]:
    """A job for the front end of a worker."""
    return {**_told(replace(job, variant=job.variant.in_front)), "front": True}


def _verdict(job: Job, answer: Failed | dict[str, Any]) -> Verdict:
    if isinstance(answer, Failed):
        return _without_figures(job, failure=f"the compiler {answer.reason}")
    if "error" in answer:
        return _without_figures(job, failure=f"does not compile: {answer['error']}")
    return judge(job.variant, job.target, Resources(**answer))


def _without_figures(job: Job, *, skipped: str | None = None, failure: str | None = None) -> Verdict:
    return Verdict(job.variant.label, job.variant.kernel, job.target.name, skipped=skipped, failure=failure)
