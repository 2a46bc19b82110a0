"""`fusec bench`: ops against everything else that does their work, on one GPU, in one run; or what the GPU can do."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import torch
import triton
import typer

from fusec import __version__
from fusec.commands import peers
from fusec.commands.bench_cases import SUITE
from fusec.commands.bench_measure import measure
from fusec.commands.bench_ops import Ready, op_calls, suite_calls, swept_calls
from fusec.commands.bench_table import CANDIDATES, LIMITS, OPS, candidates, limit_row, ops
from fusec.commands.exits import Exit
from fusec.commands.find import SpecsOption
from fusec.commands.limits import Limit, Timer
from fusec.commands.limits import limits as best
from fusec.commands.outcome import DebugOption, JsonOption, UsageError, print_json, reporting
from fusec.commands.pairs import DTYPES, pairs
from fusec.commands.table import print_table
from fusec.commands.timing import time_calls
from fusec.report.results import JSON, OWN, FormatError, Measured, Run, read, to_json

EPILOG = """[bold]Examples[/bold]

fusec bench rmsnorm

fusec bench rmsnorm --size N=8192 --size ...=16384 --dtype T=f16

fusec bench rope_qk --size B=1 --size S=4096 --size Hq=32 --size Hk=8 --size D=128 --json

fusec bench --suite --report out/

fusec bench rmsnorm --report out/

fusec bench --from out/report.json --report again/

fusec bench --limits

[bold]Exit codes[/bold]

0 measured · 1 the spec is wrong · 2 wrong usage, or no GPU · 3 an op of ours could not be timed · 4 a fault of fusec ·
5 the report could not be written"""

OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write the figures there, as far as they are, all the time."),
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", metavar="FOLDER", help="Write report.html and report.json there.")
]
FromOption = Annotated[
    Path | None, typer.Option("--from", metavar="FILE", help="Measure nothing: take the figures of a report.json.")
]
CompileOption = Annotated[str, typer.Option("--compile", help=f"Of torch.compile: {', '.join(peers.MODES)}.")]


def run(
    op: Annotated[str, typer.Argument(help="The name of an op.")] = "",
    specs: SpecsOption = Path("specs"),
    suite: Annotated[
        bool, typer.Option("--suite", help="Many ops, or this one, at sizes of published models.")
    ] = False,
    limits: Annotated[bool, typer.Option("--limits", help="What this GPU reaches at best, for each type.")] = False,
    results: FromOption = None,
    out: OutOption = None,
    report: ReportOption = None,
    size: Annotated[list[str] | None, typer.Option(help="The extent of an axis, or of `...`.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="The dtype of a type variable.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which all candidates take turns.")] = 7,
    compile: CompileOption = "default",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Time ops and their peers on this machine's GPU: PyTorch, torch.compile, cuBLAS, and whoever is installed of
    cuDNN, Liger, quack and FlashInfer.

    Device time is the median of interleaved rounds with a cold cache, from a CUDA graph where the call can be captured;
    host time is what one call costs the CPU. Whoever is timed was held to the result in f64 before. With --limits, time
    large products of the vendor's library instead. A report is one page that needs no network, with pictures; without
    --size it shows an op at several sizes.
    """
    with reporting(as_json, debug):
        if sum(map(bool, (op or suite, limits, results))) != 1:
            raise UsageError("name an op to time, or give one of --suite, --limits and --from")
        if suite and op and op not in SUITE:
            raise UsageError(f"{op} is not in the suite, which has {', '.join(SUITE)}")
        if compile not in peers.MODES:
            raise UsageError(f"--compile {compile}: it is one of {', '.join(peers.MODES)}")
        page = page_writer(report) if report else None
        if results:
            found = taken(results)
        else:
            if not torch.cuda.is_available():
                raise UsageError("there is no GPU here, and the interpreter's times would mean nothing")
            timer = partial(time_calls, rounds=rounds)
            if limits:
                tell_limits(timer, as_json)
                return
            dtypes = pairs("--dtype", dtype or [], DTYPES)
            kept = out or (report / JSON if report else None)
            if suite:
                calls = suite_calls([op] if op else list(SUITE), specs, dtypes)
            elif kept and not size:
                calls = swept_calls(op, specs, dtypes)
            else:
                calls = op_calls(op, specs, size or [], dtypes)
            found = measured(calls, timer, compile, about(rounds, compile), partial(save, kept) if kept else None)
            if kept:
                found = with_limits(found, best(timer, kinds=kinds_of(found)))
                save(kept, found)
        tell(found, as_json)
        if page is not None:
            for path in page(found):
                print(path, file=sys.stderr)
        if any(OWN in case.failed for case in found.cases):
            raise typer.Exit(Exit.FAILED)


def save(path: Path, found: Run) -> None:
    """Write figures, whose folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(found), encoding="utf-8")


def page_writer(folder: Path) -> Callable[[Run], list[Path]]:
    """What writes a report. Raises `UsageError` where matplotlib is missing, before anything is measured."""
    if find_spec("matplotlib") is None:
        raise UsageError("--report draws pictures with matplotlib, which is missing: pip install 'fusec[report]'")
    page = import_module("fusec.report.page")

    def write(found: Run) -> list[Path]:
        paths: list[Path] = page.write_report(found, folder)
        return paths

    return write


def taken(path: Path) -> Run:
    """The figures of an earlier report."""
    try:
        return read(path)
    except FormatError as error:
        raise UsageError(str(error)) from None


def measured(
    calls: Iterable[Ready],
    timer: Timer,
    compile: str,
    made: Mapping[str, str],
    write: Callable[[Run], object] | None = None,
    device: str = "cuda",
) -> Run:
    """All figures of some calls; those at hand are written after every call, so that none is lost with the GPU."""
    found = Run(about=made)
    for function, reference, graph, case in calls:
        torch.compiler.reset()
        try:
            one = measure(function, graph, case, peers.makers(graph.name, reference, compile), timer, device)
        except (RuntimeError, MemoryError) as error:
            why = f"{type(error).__name__}: {str(error).strip()[:300]}"
            one = Measured(graph.name, repr(case), 0, 0, {}, failed={OWN: why})
        found = replace(found, cases=(*found.cases, one))
        if write is not None:
            write(found)
    return found


def with_limits(found: Run, reached: Iterable[Limit]) -> Run:
    """A run with what the device reaches at best."""
    rates = {limit.kind: limit.rate for limit in reached if limit.rate}
    copy = rates.pop("copy", 0.0) * 1e12
    return replace(found, copy_rate=copy, ceilings=rates)


def kinds_of(found: Run) -> list[str]:
    """The types of operands whose limits a report of these products shows."""
    kinds = {16: "bf16", 8: "f8e4m3"}
    return [kinds[bits] for bits in sorted({case.bits for case in found.products}) if bits in kinds]


def about(rounds: int, compile: str) -> dict[str, str]:
    """What figures belong to."""
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        "fusec": __version__,
        "torch": torch.__version__,
        "triton": triton.__version__,
        **peers.versions(),
        "python": platform.python_version(),
        "command": " ".join(["fusec", *sys.argv[1:]]),
        "rounds": str(rounds),
        "torch.compile": compile,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def tell(found: Run, as_json: bool) -> None:
    """A run as data, as a table of candidates if it is one call, or as a table of calls."""
    if as_json:
        print(to_json(found))
        return
    notes = [found.made_with]
    notes += [f"{case.op} {case.size}: {who}: {why}" for case in found.cases for who, why in case.failed.items()]
    if len(found.cases) == 1:
        print_table(CANDIDATES, candidates(found.cases[0]), (found.cases[0].size, *notes))
    else:
        print_table(OPS, ops(found), notes)


def tell_limits(timer: Timer, as_json: bool) -> None:
    """What the GPU reaches at best, as a table or as data."""
    found = list(best(timer))
    device = torch.cuda.get_device_name()
    if as_json:
        print_json({"device": device, "torch": torch.__version__, "limits": [asdict(limit) for limit in found]})
    else:
        print_table(LIMITS, [limit_row(limit) for limit in found], (device,))
