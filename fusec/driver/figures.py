"""The resource gate over a whole build: every kernel variant on every target, known figures from the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from fusec.codegen import gate
from fusec.driver.record import FileRecord
from fusec.driver.store import Store, digest, toolchain_digest


def measure(
    files: Sequence[FileRecord],
    targets: Sequence[gate.Target],
    store: Store,
    workers: int,
    progress: Callable[[int, int], None],
) -> dict[str, tuple[gate.Verdict, ...]]:
    """The verdicts per op, in the order of its variants and the targets. Failures are measured anew each time."""
    jobs = {
        (op.name, _key(job)): job
        for record in files
        for op in record.ops
        for job in _jobs(record, op.variants, targets)
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


def _jobs(record: FileRecord, variants: Sequence[gate.Variant], targets: Sequence[gate.Target]) -> list[gate.Job]:
    return [gate.Job(record.module, record.text, variant, target) for variant in variants for target in targets]


def _key(job: gate.Job) -> str:
    return digest(toolchain_digest(), asdict(job))


def _verdict(plain: Any) -> gate.Verdict:
    resources = gate.Resources(**plain["resources"]) if plain["resources"] else None
    return gate.Verdict(**{**plain, "resources": resources})
