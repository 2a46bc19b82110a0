"""The resource gate over a whole build: every kernel variant on every target, known figures from the store."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from fusec.codegen import gate
from fusec.codegen.variant import Variant
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
    """The verdicts per op, in the order of its variants and the targets. Files with a failure are measured anew."""
    known = variants(sources, compiler, store, workers) if targets else {}
    jobs = {record.module: _jobs(record, known, targets) for record in files}
    keys = {module: digest(toolchain_digest(), *map(asdict, own.values())) for module, own in jobs.items() if own}
    kept: dict[str, Any] = {module: store.get("gate", key) for module, key in keys.items()}
    found = {module: list(map(_verdict, plain)) for module, plain in kept.items() if plain is not None}
    missing = [module for module in keys if module not in found]
    reached = [0]

    def done(more: int) -> None:
        reached[0] += more
        progress(reached[0], sum(map(len, jobs.values())))

    done(sum(map(len, found.values())))
    measured = iter(gate.measure([job for module in missing for job in jobs[module].values()], workers, done))
    for module in missing:
        found[module] = list(islice(measured, len(jobs[module])))
        if not any(verdict.failure for verdict in found[module]):
            store.put("gate", keys[module], [asdict(verdict) for verdict in found[module]])
    verdicts = {module: dict(zip(jobs[module], found[module], strict=True)) for module in keys}
    return {
        op.name: tuple(verdicts[record.module][_key(v, target)] for v in known.get(op.name, ()) for target in targets)
        for record in files
        for op in record.ops
    }


def _jobs(
    record: FileRecord, known: Mapping[str, Sequence[Variant]], targets: Sequence[Target]
) -> dict[tuple[str, str], gate.Job]:
    """What is to be compiled of a file: what several of its ops launch alike is there once."""
    return {
        _key(variant, target): gate.Job(record.module, record.text, variant, target)
        for op in record.ops
        for variant in known.get(op.name, ())
        for target in targets
    }


def _key(variant: Variant, target: Target) -> tuple[str, str]:
    # As texts, for 1 equals True.
    return repr(variant), target.name


def variants(
    sources: Mapping[Path, Source], compiler: Compiler, store: Store, workers: int
) -> dict[str, tuple[Variant, ...]]:
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


def _variant(plain: Any) -> Variant:
    pairs = {key: tuple(map(tuple, plain[key])) for key in ("signature", "constexprs")}
    return Variant(**{**plain, **pairs, "divisible": tuple(plain["divisible"])})


def _verdict(plain: Any) -> gate.Verdict:
    resources = gate.Resources(**plain["resources"]) if plain["resources"] else None
    return gate.Verdict(**{**plain, "resources": resources})
