"""The resource gate over a whole build: every kernel variant on every target, known figures from the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

from fusec.codegen import gate
from fusec.codegen.kernel_source import kernel_sources
from fusec.codegen.variant import Variant
from fusec.diagnostics import InternalError
from fusec.driver.record import FileRecord
from fusec.driver.specs import Compiler
from fusec.driver.store import Store, digest, toolchain_digest
from fusec.runtime.select.chip import Target
from fusec.workers import Failed, Pool

TIME_LIMIT = 300.0
"""Seconds in which a file must tell its variants."""


def measure(
    files: Sequence[FileRecord],
    compiler: Compiler,
    targets: Sequence[Target],
    store: Store,
    workers: int,
    progress: Callable[[int, int], None],
) -> dict[str, tuple[gate.Verdict, ...]]:
    """The verdicts per op, in the order of its variants and the targets. Files with a failure are measured anew."""
    found: dict[str, tuple[gate.Verdict, ...]] = {}
    missing: dict[str, FileRecord] = {}
    for record in files if targets else ():
        key = digest(toolchain_digest(), record.text, [op.telling for op in record.ops], list(map(asdict, targets)))
        kept: Any = store.get("gate", key)
        if kept is None:
            missing[key] = record
        else:
            found |= {op: tuple(map(_verdict, verdicts)) for op, verdicts in kept.items()}
    if missing:
        with gate.compilers(workers, compiler.gate) as pool:
            known = variants(list(missing.values()), pool)
            jobs = [_jobs(record, known, targets) for record in missing.values()]
            every = [job for own in jobs for job in own.values()]
            measured = iter(_measured(every, pool, store, progress))
        for (key, record), own in zip(missing.items(), jobs, strict=True):
            verdicts = dict(zip(own, islice(measured, len(own)), strict=True))
            of_ops = {op.name: [verdicts[key] for key in _keys(known[op.name], targets)] for op in record.ops}
            found |= {op: tuple(own) for op, own in of_ops.items()}
            if not any(verdict.failure for verdict in verdicts.values()):
                store.put("gate", key, {op: list(map(asdict, own)) for op, own in of_ops.items()})
    return {op.name: found.get(op.name, ()) for record in files for op in record.ops}


def _measured(
    jobs: Sequence[gate.Job], pool: Pool, store: Store, progress: Callable[[int, int], None]
) -> list[gate.Verdict]:
    """The verdicts of jobs, those of kernels that are as they were from the store.

    What a kernel needs follows from its own text: that of the other kernels of its file may change.
    """
    kernels: dict[tuple[str, str], list[gate.Job]] = {}
    for job in jobs:
        kernels.setdefault((job.text, job.variant.kernel), []).append(job)
    names: dict[str, list[str]] = {}
    for text, name in kernels:
        names.setdefault(text, []).append(name)
    sources = {text: kernel_sources(text, own) for text, own in names.items()}
    keys = {
        (text, name): digest(toolchain_digest(), sources[text].get(name, text), *sorted(map(_key_of, own)))
        for (text, name), own in kernels.items()
    }
    found: dict[str, dict[str, gate.Verdict]] = {}
    for key in keys.values():
        kept: Any = store.get("kernel", key)
        if kept is not None:
            found[key] = {variant: _verdict(plain) for variant, plain in kept.items()}
    new = {keys[kernel]: own for kernel, own in kernels.items() if keys[kernel] not in found}
    left = [job for own in new.values() for job in own]
    reached = [len(jobs) - len(left)]

    def done(more: int) -> None:
        reached[0] += more
        progress(reached[0], len(jobs))

    done(0)
    verdicts = iter(gate.measure_in(pool, left, done))
    for key, own in new.items():
        found[key] = {_key_of(job): next(verdicts) for job in own}
        if not any(verdict.failure for verdict in found[key].values()):
            store.put("kernel", key, {variant: asdict(verdict) for variant, verdict in found[key].items()})
    return [found[keys[job.text, job.variant.kernel]][_key_of(job)] for job in jobs]


def _key_of(job: gate.Job) -> str:
    return " on ".join(_key(job.variant, job.target))


def _jobs(
    record: FileRecord, known: Mapping[str, Sequence[Variant]], targets: Sequence[Target]
) -> dict[tuple[str, str], gate.Job]:
    """What is to be compiled of a file: what several of its ops launch alike is there once."""
    return {
        key: gate.Job(record.module, record.text, *job)
        for op in record.ops
        for key, job in _keys(known[op.name], targets).items()
    }


def _keys(variants: Sequence[Variant], targets: Sequence[Target]) -> dict[tuple[str, str], tuple[Variant, Target]]:
    """Each variant on each of its targets."""
    return {_key(v, target): (v, target) for v in variants for target in gate.targets_of(v, targets)}


def _key(variant: Variant, target: Target) -> tuple[str, str]:
    # As texts, for 1 equals True.
    return repr(variant), target.name


def variants(files: Sequence[FileRecord], pool: Pool) -> dict[str, tuple[Variant, ...]]:
    """The kernel variants that stand for every op at the gate, as the generated files tell them in a pool of it."""
    jobs = [
        {"module": record.module, "text": record.text, "telling": {op.name: op.telling for op in record.ops}}
        for record in files
    ]
    answers = pool.do(jobs, TIME_LIMIT, lambda *_: None, at_once=len(jobs))
    found: dict[str, tuple[Variant, ...]] = {}
    for record, answer in zip(files, answers, strict=True):
        if isinstance(answer, Failed) or "error" in answer:
            reason = answer.reason if isinstance(answer, Failed) else answer["error"]
            raise InternalError("codegen/launched", f"{record.module}: {reason}")
        found |= {op: tuple(map(_variant, plain)) for op, plain in answer.items()}
    return found


def _variant(plain: Any) -> Variant:
    pairs = {key: tuple(map(tuple, plain[key])) for key in ("signature", "constexprs")}
    return Variant(**{**plain, **pairs, **{key: tuple(plain[key]) for key in ("divisible", "casts", "scaled")}})


def _verdict(plain: Any) -> gate.Verdict:
    resources = gate.Resources(**plain["resources"]) if plain["resources"] else None
    return gate.Verdict(**{**plain, "resources": resources})
