"""What a kernel costs on the chips it is meant for, found by compiling it for them; no GPU takes part.

`measure` compiles every (file, variant, target) in worker processes, each held to a time limit, because a compiler
that is fed a bad kernel may hang or die on a signal. `judge` turns the figures into a reason to fail the build.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

TIME_LIMIT = 120.0
"""Seconds one kernel may take to compile. A kernel that fits its chip needs about one."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One specialisation of a kernel, as the launcher would ask for it.

    `signature` gives every parameter in order and its Triton type (`*bf16`, `i32`, `fp32`, `constexpr`);
    `constexprs` the values of those; `divisible` the parameters known to be multiples of 16.
    """

    label: str
    kernel: str
    signature: tuple[tuple[str, str], ...]
    constexprs: tuple[tuple[str, bool | int | float | str], ...]
    divisible: tuple[str, ...] = ()
    num_warps: int = 4
    num_stages: int = 1


@dataclass(frozen=True, slots=True)
class Target:
    """An NVIDIA chip generation: its name, compute capability and the shared memory one block may use, in bytes."""

    name: str
    capability: int
    shared_limit: int


TARGETS = {
    target.name: target
    for target in (
        Target("sm_80", 80, 163 * 1024),
        Target("sm_86", 86, 99 * 1024),
        Target("sm_89", 89, 99 * 1024),
        Target("sm_90", 90, 227 * 1024),
        Target("sm_100", 100, 227 * 1024),
        Target("sm_120", 120, 99 * 1024),
    )
}
"""Limits per block: CUDA C++ Programming Guide, table of technical specifications per compute capability."""

_FIRST_CAPABILITY = {"fp8e4nv": 89}
"""The first compute capability whose conversions Triton knows, per element type."""


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
    target: str
    resources: Resources | None = None
    skipped: str | None = None
    failure: str | None = None


def unsupported(variant: Variant, target: Target) -> str | None:
    """Why this variant cannot exist on the target, or None."""
    for name, kind in variant.signature:
        first = _FIRST_CAPABILITY.get(kind.removeprefix("*"), 0)
        if target.capability < first:
            return f"{name} is {kind.removeprefix('*')}, which needs sm_{first} or later"
    return None


def judge(label: str, target: Target, resources: Resources) -> Verdict:
    """Fail what spills registers or needs more shared memory than a block may have."""
    faults = []
    if resources.spills:
        faults.append(f"spills {resources.spills} bytes of registers")
    if resources.shared > target.shared_limit:
        faults.append(f"needs {resources.shared} bytes of shared memory, {target.name} has {target.shared_limit}")
    return Verdict(label, target.name, resources, failure="; ".join(faults) or None)


def measure(
    jobs: Sequence[Job], workers: int, done: Callable[[Verdict], None] = lambda _: None, limit: float = TIME_LIMIT
) -> tuple[Verdict, ...]:
    """The verdict of every job, in order; `done` hears of each as it is reached.

    At most `workers` compilers run at once, and each job may take `limit` seconds.
    """
    idle: SimpleQueue[_Worker] = SimpleQueue()

    def run(job: Job) -> Verdict:
        reason = unsupported(job.variant, job.target)
        verdict = Verdict(job.variant.label, job.target.name, skipped=reason) if reason else compile_in_turn(job)
        done(verdict)
        return verdict

    def compile_in_turn(job: Job) -> Verdict:
        worker = idle.get()
        try:
            return worker.run(job, limit)
        finally:
            idle.put(worker)

    with tempfile.TemporaryDirectory(prefix="fusec-gate-", ignore_cleanup_errors=True) as folder:
        crew = [_Worker(Path(folder) / str(number)) for number in range(max(1, workers))]
        for worker in crew:
            idle.put(worker)
        pool = ThreadPoolExecutor(len(crew))
        try:
            return tuple(pool.map(run, jobs))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in crew:
                worker.stop()


class _Worker:
    """A compiler in a process of its own: started when first used, and again after it was killed or died."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[str] | None = None

    def run(self, job: Job, limit: float) -> Verdict:
        process = self._process or self._start()
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _kill(process)

        timer = threading.Timer(limit, expire)
        timer.start()
        try:
            answer = _ask(process, job)
        finally:
            timer.cancel()
        if answer is None:
            failure = f"compiling took more than {limit:.0f} s" if expired.is_set() else self._death(process)
            self.stop()
            return Verdict(job.variant.label, job.target.name, failure=failure)
        if "error" in answer:
            return Verdict(job.variant.label, job.target.name, failure=f"does not compile: {answer['error']}")
        return judge(job.variant.label, job.target, Resources(**answer))

    def stop(self) -> None:
        if self._process:
            _kill(self._process)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout, self._errors):
                if pipe:
                    pipe.close()
        self._process = None

    def _start(self) -> subprocess.Popen[str]:
        self._folder.mkdir(exist_ok=True)
        self._errors = (self._folder / "errors").open("w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fusec.codegen.gate_worker", str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env=_environment(self._folder),
            start_new_session=True,
        )
        return self._process

    def _death(self, process: subprocess.Popen[str]) -> str:
        code = process.wait()
        cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        assert self._errors is not None
        self._errors.seek(0)
        last = [line for line in self._errors.read().splitlines() if line.strip()][-1:]
        return ": ".join([f"the compiler died with {cause}", *last])


def _ask(process: subprocess.Popen[str], job: Job) -> dict[str, Any] | None:
    """The worker's answer, or None when it is gone."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(asdict(job)) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except (OSError, ValueError):
        return None
    return json.loads(line) if line.endswith("\n") else None


def _kill(process: subprocess.Popen[str]) -> None:
    """End the worker and the assembler it may be waiting for."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _environment(folder: Path) -> dict[str, str]:
    """This process's, less what would interpret kernels or reuse earlier results."""
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([root, *filter(None, [kept.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": path, "TRITON_CACHE_DIR": str(folder / "triton"), "TRITON_DISABLE_LINE_INFO": "1"}
