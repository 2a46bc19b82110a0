"""Every op of a freshly built package, run against its reference on what this machine has."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fusec.driver.build import Verification
from fusec.driver.record import FileRecord
from fusec.driver.specs import read_spec, spec_key
from fusec.driver.store import Store, digest, library_version
from fusec.workers import Failed, run_jobs

WORKER = "fusec.commands.verify_package_worker"

TIME_LIMIT = 600.0
"""Seconds one op may take. In the interpreter it needs a few, on a GPU less."""

OPS_PER_WORKER = 4
"""Starting a worker costs about as much as running so many ops."""

INTERPRETER = {"own": 4, "each": 3, "long": [1024]}
GPU = {"own": 20, "each": 8, "long": [1024, 4096]}
"""How many calls of an op there are, and with sums of how many products, as `Effort` has them."""

INTERPRETED = {**os.environ, "TRITON_INTERPRET": "1"}


def verify_package(
    folder: Path,
    files: Sequence[tuple[Path, FileRecord]],
    jobs: int,
    progress: Callable[[int, int], None],
    store: Store,
) -> tuple[Verification, ...]:
    """Run every kernel of the package in `folder`, at most `jobs` ops at once; `files` pairs specs and modules.

    A process of its own per worker: the interpreter has to be chosen before Triton is imported, and a kernel that
    takes its process down takes no build down. The interpreter computes the same every time, on the same arguments:
    what was right there, in the same file by the same compiler, is not run again.
    """
    gpu = gpu_name()
    work: dict[str, dict[str, Any]] = {
        _key(path, record, op.name): {
            "package": str(folder),
            "module": record.module,
            "spec": str(path.resolve()),
            "op": op.name,
            "effort": GPU if gpu else INTERPRETER,
            "place": place,
        }
        for path, record in files
        for place, op in enumerate(record.ops)
    }
    answers: dict[str, Any] = {} if gpu else {key: kept for key in work if (kept := store.get("verify", key))}
    left = [key for key in work if key not in answers]
    reached = iter(range(len(answers) + 1, len(work) + 1))
    progress(len(answers), len(work))
    environment = dict(os.environ) if gpu else INTERPRETED
    # First one op of each file: what plans a file does so for all its ops.
    left.sort(key=lambda key: work[key]["place"])
    workers = min(jobs, -(-len(left) // OPS_PER_WORKER))
    with tempfile.TemporaryDirectory(prefix="fusec-plans-") as plans:
        asked = [{**work[key], "plans": plans} for key in left]
        told = run_jobs(WORKER, asked, workers, TIME_LIMIT, lambda _: progress(next(reached), len(work)), environment)
    for key, answer in zip(left, told, strict=True):
        answers[key] = answer
        if not gpu and not isinstance(answer, Failed) and not answer["failure"]:
            store.put("verify", key, answer)
    where = gpu or "the Triton interpreter"
    return tuple(_verification(job["op"], where, answers[key]) for key, job in work.items())


def _key(path: Path, record: FileRecord, op: str) -> str:
    """Everything that the verification of an op in the interpreter follows from."""
    computing = map(library_version, ("triton", "numpy", "hypothesis"))
    return digest(spec_key(read_spec(path), path.parent), record.text, op, repr(INTERPRETER), *computing)


def gpu_name() -> str | None:
    """The GPU of this machine; None where there is none.

    A worker looks, since to load PyTorch takes longest here; where there is no driver, nobody has to.
    """
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    (found,) = run_jobs(WORKER, [{"gpu": True}], 1, TIME_LIMIT, lambda _: None, os.environ)
    name: str | None = None if isinstance(found, Failed) else found["gpu"]
    return name


def probe_interpreter() -> str | None:
    """What the interpreter, made exact, still gets wrong on this machine; None when it rounds as hardware does."""
    (answer,) = run_jobs(WORKER, [{"probe": True}], 1, TIME_LIMIT, lambda _: None, INTERPRETED)
    fault: str | None = answer.reason if isinstance(answer, Failed) else answer["failure"]
    return fault


def _verification(op: str, where: str, answer: Failed | dict[str, Any]) -> Verification:
    if isinstance(answer, Failed):
        return Verification(op, where, None, f"the process that ran it {answer.reason}")
    told = {**answer, "not_run": tuple(answer["not_run"])}
    return Verification(op, where, **told)
