"""Every op of a freshly built package, run against its reference on what this machine has."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from fusec.driver.build import Verification
from fusec.driver.record import FileRecord
from fusec.workers import Failed, run_jobs

WORKER = "fusec.commands.verify_worker"

TIME_LIMIT = 600.0
"""Seconds one op may take. In the interpreter it needs a few, on a GPU less."""

EFFORT = {"cpu": (4, 3), "cuda": (20, 8)}
"""By the kind of device, calls of an op by the launcher's own choice of plans, and calls that run each kernel."""


def verify_package(
    folder: Path, files: Sequence[tuple[Path, FileRecord]], jobs: int, progress: Callable[[int, int], None]
) -> tuple[Verification, ...]:
    """Run every kernel of the package in `folder`, `jobs` ops at once; `files` pairs specs and modules.

    A process of its own per worker: the interpreter has to be chosen before Triton is imported, and a kernel that
    takes its process down takes no build down.
    """
    work: list[dict[str, Any]] = [
        {
            "package": str(folder),
            "module": record.module,
            "spec": str(path.resolve()),
            "op": op.name,
            "effort": effort(),
        }
        for path, record in files
        for op in record.ops
    ]
    reached = iter(range(1, len(work) + 1))
    progress(0, len(work))
    answers = run_jobs(WORKER, work, jobs, TIME_LIMIT, lambda _: progress(next(reached), len(work)), environment())
    return tuple(_verification(job["op"], answer) for job, answer in zip(work, answers, strict=True))


def probe_interpreter() -> str | None:
    """What the interpreter, made exact, still gets wrong on this machine; None when it rounds as hardware does."""
    interpreted = {**os.environ, "TRITON_INTERPRET": "1"}
    (answer,) = run_jobs(WORKER, [{"probe": True}], 1, TIME_LIMIT, lambda _: None, interpreted)
    fault: str | None = answer.reason if isinstance(answer, Failed) else answer["failure"]
    return fault


def where() -> str:
    """What ops are run on here, in words."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "the Triton interpreter"


def effort() -> tuple[int, int]:
    """How many calls of each op."""
    return EFFORT["cuda" if torch.cuda.is_available() else "cpu"]


def environment() -> dict[str, str]:
    """The workers': interpreted where there is no GPU."""
    return dict(os.environ) if torch.cuda.is_available() else {**os.environ, "TRITON_INTERPRET": "1"}


def _verification(op: str, answer: Failed | dict[str, Any]) -> Verification:
    if isinstance(answer, Failed):
        return Verification(op, where(), None, f"the process that ran it {answer.reason}")
    told = {**answer, "not_run": tuple(answer["not_run"])}
    return Verification(op, where(), **told)
