"""Functions that do the same, compared at one size: each held to a formula in f64, then all timed in turn.

The result is a run of `fusec bench`, so that `fusec bench --from FILE --report FOLDER` makes a page of it.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
import triton

from benchmarks.cold import called
from fusec import __version__
from fusec.commands.bench_measure import figures, listed
from fusec.commands.bench_table import OPS, ops
from fusec.commands.limits import Timer
from fusec.commands.table import print_table
from fusec.report.results import OWN, Measured, Run, to_json

Function: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Compared:
    """What is compared: `formula` in f64, our op, what is `written` in PyTorch, and others; all take the same."""

    op: str
    size: str
    rows: int
    arguments: Callable[[], tuple[Any, ...]]
    formula: Function
    fusec: Function
    written: Function
    others: Mapping[str, Function] = field(default_factory=dict)
    flops: int = 0
    bits: int = 16


def run(cases: Iterable[Compared], timer: Timer, about: Mapping[str, str], compile: bool = True) -> Iterable[Run]:
    """All figures so far, after every case."""
    found: tuple[Measured, ...] = ()
    for case in cases:
        found = (*found, measured(case, timer, compile))
        yield Run(about, found)


def measured(case: Compared, timer: Timer, compile: bool) -> Measured:
    """The figures of one case."""
    torch.compiler.reset()
    arguments = {str(at): argument for at, argument in enumerate(case.arguments())}
    exact = listed(case.formula(*(widened(argument) for argument in arguments.values())))
    functions = {OWN: case.fusec, "eager": case.written, **case.others}
    if compile:
        functions["torch.compile"] = torch.compile(case.written, dynamic=False)
    makers = [(who, partial(_made, function)) for who, function in functions.items()]
    what = Measured(case.op, case.size, case.rows, 0, {}, case.flops, case.bits)
    return figures(what, makers, arguments, exact, timer)


def _made(function: Function, arguments: Mapping[str, Any]) -> Callable[[], Any]:
    return partial(function, *arguments.values())


def widened(argument: Any) -> Any:
    """A tensor of any numbers in f64."""
    return argument.double() if isinstance(argument, torch.Tensor) else argument


def about(module: str) -> dict[str, str]:
    """What the figures of a benchmark belong to."""
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        "fusec": __version__,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "python": platform.python_version(),
        "command": called(module),
    }


def tell(runs: Iterable[Run], out: Path) -> None:
    """Write figures as they come, and print them when all are there."""
    last = None
    for last in runs:
        out.write_text(to_json(last), encoding="utf-8")
    if last is not None:
        notes = [f"{case.op} {case.size}: {who}: {why}" for case in last.cases for who, why in case.failed.items()]
        print_table(OPS, ops(last), (last.made_with, *notes))
