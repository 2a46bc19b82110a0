"""`fusec tune`: which plan and tile is best for a call, measured on this device and written beside the package."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from fusec.codegen.package import spec_hash
from fusec.commands.exits import Exit
from fusec.commands.outcome import DebugOption, JsonOption, UsageError, print_json, reporting
from fusec.commands.pairs import DTYPES, pairs
from fusec.commands.table import Column, named_bars, print_table
from fusec.commands.tune_shapes import cases
from fusec.diagnostics import Source
from fusec.driver.specs import read_specs
from fusec.driver.store import default_folder, digest, toolchain_digest, write_whole
from fusec.driver.tuning.cached_jobs import cached_jobs
from fusec.driver.tuning.results_log import ResultsLog
from fusec.driver.tuning.search import Ask, Effort, Job, Outcome, search
from fusec.driver.tuning.table import Found, remarks, update
from fusec.ir.graph import Graph
from fusec.lang.load import load
from fusec.passes.graph.elaborate.op import elaborate
from fusec.passes.host.tuned import Choosing, choosing
from fusec.runtime.select.chip import Chip
from fusec.runtime.select.present import chip_of, kind_of
from fusec.runtime.select.tables import FOLDER, path_of, read, toolchain
from fusec.testing.cases import Case
from fusec.workers import worker_pool

EPILOG = """[bold]Examples[/bold]

fusec tune

fusec tune rmsnorm_linear --shapes "M=1,16,2048 K=3584 N=3584,18944"

fusec tune qkv_rope --shapes "S=1,2048 K=3584 Hq=28 Hk=4 D=128" --with bias --report qkv.json

[bold]Exit codes[/bold]

0 tuned · 1 a spec is wrong · 2 wrong usage, or no GPU · 3 some call could not be tuned · 4 a fault of fusec ·
5 the table could not be written"""

WORKER = "fusec.commands.tune_worker"

MOST_JOBS = 16
"""Processes by default at most: each of them takes some of the memory of the GPU."""

COLUMNS = (
    Column("op, case"),
    Column("rows", numbers=True),
    Column("best plan"),
    Column("us", numbers=True),
    Column("us by rule", numbers=True),
    Column("gain", numbers=True),
    Column("noise", numbers=True),
    Column("tried", numbers=True),
)


@dataclass(frozen=True, slots=True)
class Subject:
    """An op that has a choice of plans, and the spec it comes from."""

    path: Path
    source: Source
    graph: Graph
    choosing: Choosing

    @property
    def spec(self) -> str:
        """The hash of the text of its spec."""
        return sha256(self.source.text.encode()).hexdigest()


def run(
    ops: Annotated[list[str] | None, typer.Argument(help="Names of ops; else all that have a choice.")] = None,
    shapes: Annotated[
        list[str] | None,
        typer.Option(help="Extents by axis, all combinations: 'M=1,16 K=4096 N=4096'. M: all rows of an op."),
    ] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="The dtype of a type variable: T=bf16.")] = None,
    given: Annotated[list[str] | None, typer.Option("--with", help="An optional tensor to pass.")] = None,
    specs: Annotated[Path, typer.Option(help="The folder, or the .fuse file, that defines the ops.")] = Path("specs"),
    package: Annotated[Path, typer.Option("--package", "-p", help="What was built of it.")] = Path("generated"),
    tiles: Annotated[int, typer.Option(min=1, help="The most tiles tried for a plan.")] = 8,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of timing; three times as many for the best.")] = 7,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Processes that compile.")] = None,
    limit: Annotated[float, typer.Option(min=1, help="Seconds that one step of one case may take.")] = 300.0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what an earlier run has measured.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write all that was measured to this file, as JSON.")] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure the plans of ops on this machine's GPU, and write down which is best for which call.

    Every plan that a call can take is tried, with the tiles that ought to be fastest; each result is held against the
    error bound first. Calls are timed as a whole, in turn, with a cold cache. The table lies beside the package, in
    the folder `tuned`, and is used from then on; where it has nothing better, the rules choose as before.

    An interrupted run keeps what it has, and the next one goes on from there.
    """
    with reporting(as_json, debug):
        if not torch.cuda.is_available():
            raise UsageError("there is no GPU here: plans are measured on the device that they are for")
        subjects = find(specs, ops or [])
        device, family = kind_of(torch.device("cuda"))
        require_table(path_of(package / FOLDER, device))
        for subject in subjects:
            require_built(subject, package)
        asked = {
            subject.graph.name: cases(
                subject.graph, subject.choosing, shapes or [], pairs("--dtype", dtype or [], DTYPES), given or []
            )
            for subject in subjects
        }
        path = journal_of(device)
        if fresh:
            path.unlink(missing_ok=True)
        journal = ResultsLog(path, [device, *toolchain(), toolchain_digest()])
        results: dict[str, list[Outcome]] = {}
        count = jobs or min(len(os.sched_getaffinity(0)), MOST_JOBS)
        with worker_pool(WORKER, count, os.environ) as workers, named_bars() as show:
            for subject in subjects:
                name = subject.graph.name
                ask = cached_jobs(
                    workers, journal, limit, lambda what, *done, name=name: show(f"{name}: {what}", *done)
                )
                jobs_of = [job(subject, package, case) for case in asked[name]]
                results[name] = tune(subject, package, jobs_of, ask, Effort(tiles, rounds, this_chip()), device, family)
        plain = to_json(device, asked, results)
        if report:
            write_whole(report, json.dumps(plain, indent=1) + "\n")
        old = tuple(remarks(package, {each.graph.name: (each.spec, ()) for each in find(specs, [])}))
        if as_json:
            print_json({**plain, "stale": old})
        else:
            print_table(COLUMNS, list(rows(results)), (str(path_of(package / FOLDER, device)), *old))
        _exit(results)


def find(specs: Path, wanted: Sequence[str]) -> list[Subject]:
    """The ops of a folder of specs that have a choice of plans, or those `wanted`.

    Raises `UsageError` for one that is not there, or has no choice.
    """
    found: dict[str, Subject] = {}
    others: list[str] = []
    for path, source in read_specs(specs).items():
        for graph in elaborate(load(source, path.parent)):
            about = choosing(graph)
            if about is None:
                others.append(graph.name)
            else:
                found[graph.name] = Subject(path, source, graph, about)
    for name in wanted:
        if name in others:
            raise UsageError(f"{name} has no rows to count: its plans are chosen by rules, and there is no table of it")
        if name not in found:
            raise UsageError(f"no op {name} in {specs}; there are {', '.join(sorted(found)) or 'none to tune'}")
    return [found[name] for name in dict.fromkeys(wanted or found)]


def require_built(subject: Subject, package: Path) -> None:
    """That the package holds what the spec of an op makes now. Raises `UsageError`."""
    module = package / f"{subject.path.stem}.py"
    built = module.read_text(encoding="utf-8") if module.is_file() else ""
    if spec_hash(built) != subject.spec:
        raise UsageError(f"{module} is not what {subject.path} makes: run `fusec build {subject.path.parent}` first")


def require_table(path: Path) -> None:
    """That what is measured can be written down. Raises `UsageError`."""
    try:
        if path.exists():
            read(path)
    except ValueError as error:
        raise UsageError(f"{error}; mend it or move it away") from None


def job(subject: Subject, package: Path, case: Case) -> Job:
    """What a worker has to know of a call, and what its answers depend on."""
    module = package.resolve() / f"{subject.path.stem}.py"
    return {
        "package": str(module.parent),
        "module": module.stem,
        "built": digest(module.read_text(encoding="utf-8")),
        "spec": str(subject.path.resolve()),
        "op": subject.graph.name,
        "case": asdict(case),
    }


def tune(
    subject: Subject, package: Path, jobs: Sequence[Job], ask: Ask, effort: Effort, device: str, family: str
) -> list[Outcome]:
    """Search for the choices of an op, and write down those that were found."""
    outcomes = search(jobs, ask, effort)
    found = [(each.outline, each.choice) for each in outcomes if each.outline is not None and not each.failure]
    entries = tuple(Found(outline.rows, outline.case, choice) for outline, choice in found)
    update(package, device, family, subject.graph.name, subject.spec, entries)
    return outcomes


def this_chip() -> Chip:
    """What the model has to know of this GPU."""
    return chip_of(torch.device("cuda", torch.cuda.current_device()))


def journal_of(device: str) -> Path:
    """Where answers are kept until they are complete."""
    return path_of(default_folder() / "tuning", device).with_suffix(".jsonl")


def rows(results: Mapping[str, Sequence[Outcome]]) -> Iterator[tuple[str, ...]]:
    """A line for each case: the best plan, its time and that of the rules, and how many were tried."""
    for name, outcomes in results.items():
        yield (name, *[""] * (len(COLUMNS) - 1))
        for outcome in outcomes:
            if outcome.outline is None or outcome.failure:
                yield ("  -", "-", outcome.failure or "", *["-"] * (len(COLUMNS) - 3))
                continue
            case = " ".join(f"{key}={value}" for key, value in outcome.outline.case.items())
            best, rule = outcome.times[outcome.choice], outcome.times[None]
            words = str(outcome.choice) if outcome.choice else f"{outcome.outline.by_rule} (by rule)"
            tried = str(len(outcome.times) + len(outcome.refused))
            figures = (f"{best:.1f}", f"{rule:.1f}", f"{rule / best:.2f}x", f"{outcome.noise:.1%}", tried)
            yield (f"  {case}", str(outcome.outline.rows), words, *figures)


def to_json(
    device: str, asked: Mapping[str, Sequence[Case]], results: Mapping[str, Sequence[Outcome]]
) -> dict[str, Any]:
    """Everything that was measured, with what it was measured on."""
    versions = dict(zip(("torch", "triton"), toolchain(), strict=True))
    told = {
        name: [{"call": asdict(case), **_outcome(outcome)} for case, outcome in zip(asked[name], outcomes, strict=True)]
        for name, outcomes in results.items()
    }
    ok = not any(outcome.failure for outcomes in results.values() for outcome in outcomes)
    return {"ok": ok, "device": device, **versions, "ops": told}


def _outcome(outcome: Outcome) -> dict[str, Any]:
    about = outcome.outline
    return {
        "rows": about and about.rows,
        "case": about and dict(about.case),
        "by rule": about and about.by_rule,
        "best": str(outcome.choice or "by rule"),
        "noise": outcome.noise,
        "microseconds": {str(choice or "by rule"): time for choice, time in outcome.times.items()},
        "refused": {str(choice or "by rule"): reason for choice, reason in outcome.refused.items()},
        "failure": outcome.failure,
    }


def _exit(results: Mapping[str, Sequence[Outcome]]) -> None:
    failed = [(name, each.failure) for name, outcomes in results.items() for each in outcomes if each.failure]
    for name, failure in failed:
        print(f"error: {name}: {failure}", file=sys.stderr)
    if failed:
        raise typer.Exit(Exit.FAILED)
