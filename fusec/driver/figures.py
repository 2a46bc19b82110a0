"""The resource gate over a whole build: every kernel variant on every target, known figures from the store."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fusec.codegen import gate
from fusec.diagnostics import InternalError, Source
from fusec.driver.record import FileRecord
from fusec.driver.specs import Compiler, spec_key
from fusec.driver.store import Store, digest, toolchain_digest
from fusec.runtime.select.chip import Target
from fusec.workers import Failed, run_jobs

TIME_LIMIT = 300.0
"""Seconds in which a spec must tell its variants."""


def measure(
    sources: Mapping[Path, Source],
    files: Sequence[FileRecord],
    compiler: Compiler,
    targets: Sequence[Target],
    store: Store,
    workers: int,
    progress: Callable[[int, int], None],
) -> dict[str, tuple[gate.Verdict, ...]]:
    """The verdicts per op, in the order of its variants and the targets. Failures are measured anew each time."""
    known = variants(sources, compiler, store, workers) if targets else {}
    jobs = {
        (op.name, digest(toolchain_digest(), asdict(job))): job
        for record in files
        for op in record.ops
        for variant in known.get(op.name, ())
        for target in targets
        for job in [gate.Job(record.module, record.text, variant, target)]
    }
    found = {at: _verdict(kept) for at in jobs if (kept := store.get("gate", at[1])) is not None}
    missing = [at for at in jobs if at not in found]
    progress(len(found), len(jobs))
    reached = iter(range(len(found) + 1, len(jobs) + 1))
    measured = gate.measure([jobs[at] for at in missing], workers, lambda: progress(next(reached), len(jobs)))
    for at, verdict in zip(missing, measured, strict=True):
        found[at] = verdict
        if not verdict.failure:
            store.put("gate", at[1], asdict(verdict))
    return {op.name: tuple(found[at] for at in jobs if at[0] == op.name) for record in files for op in record.ops}


def variants(
    sources: Mapping[Path, Source], compiler: Compiler, store: Store, workers: int
) -> dict[str, tuple[gate.Variant, ...]]:
    """The kernel variants that stand for every op at the gate."""
    keys = {path: spec_key(source, path.parent) for path, source in sources.items()}
    found: dict[Path, Any] = {path: kept for path in sources if (kept := store.get("variants", keys[path])) is not None}
    missing = [path for path in sources if path not in found]
    jobs = [{"name": path.name, "text": sources[path].text, "folder": str(path.parent.resolve())} for path in missing]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    answers = run_jobs(compiler.variants, jobs, min(workers, len(jobs)), TIME_LIMIT, lambda _: None, environment)
    for path, answer in zip(missing, answers, strict=True):
        if isinstance(answer, Failed) or "error" in answer:
            reason = answer.reason if isinstance(answer, Failed) else answer["error"]
            raise InternalError("driver/variants", f"{path}: {reason}")
        found[path] = answer
        store.put("variants", keys[path], answer)
    return {op: tuple(map(_variant, plain)) for path in sources for op, plain in found[path].items()}


def _variant(plain: Any) -> gate.Variant:
    pairs = {key: tuple(map(tuple, plain[key])) for key in ("signature", "constexprs")}
    return gate.Variant(**{**plain, **pairs, "divisible": tuple(plain["divisible"])})


def _verdict(plain: Any) -> gate.Verdict:
    resources = gate.Resources(**plain["resources"]) if plain["resources"] else None
    return gate.Verdict(**{**plain, "resources": resources})
