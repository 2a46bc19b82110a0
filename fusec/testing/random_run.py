"""One random spec: compiled, run under one shape of plan on a few drawn calls, held against what it means."""

from __future__ import annotations

import importlib.util
import warnings
from hashlib import sha256
from pathlib import Path
from random import Random
from types import ModuleType

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from fusec.diagnostics import Source
from fusec.driver.compile import Compiled, compile_source
from fusec.forcing import CHIPS, Forcing, forcings, on_chip, reaches
from fusec.runtime import Op
from fusec.testing.cases import Case, build
from fusec.testing.compare import run_and_compare
from fusec.testing.exercise import nothing_run, planned
from fusec.testing.random_specs import text
from fusec.testing.refusals import hold_refusals
from fusec.testing.strategies import Budget, cases, tma_cases

CALLS = 3
"""Drawn calls of a spec."""

REFUSED = 8
"""Wrong calls of a spec."""

ROWS = Budget(rows=8, elements=200)
TMA = Budget(rows=40, elements=1 << 12, inner=(8, 16, 24, 40, 72), outer=(1, 3, 17, 33), boxed=True)
"""How much a call may hold, most of the time and where TMA moves its tiles."""

REPRODUCE = "reproduce with pytest tests/ops/test_compiled_random_specs.py --spec-seed {}"


def hold(number: int, folder: Path, device: torch.device, calls: int = CALLS) -> None:
    """Raise, with the text of the spec `number` as a note, whatever goes wrong when it is compiled, run and judged."""
    spec = text(number)
    hold_text(spec, number, folder, device, calls)


def hold_text(
    spec: str, number: int, folder: Path, device: torch.device, calls: int = CALLS, shape: str | None = None
) -> int:
    """As `hold`, of every op of any spec; `number` chooses the calls, and the shape of plan where none is given.

    Returns how many of the ops ran: those that have plans of the shape.
    """
    ran = 0
    shown = "to be found"
    try:
        ops = compile_source(Source("written.fuse", spec), None)
        module = imported(ops[0].text, folder)
        for op in ops:
            shapes = [each for each in CHIPS if reaches(each, op.program) and shape in (None, each)]
            if shapes:
                shown = shapes[number % len(shapes)]
                case = _hold_op(op, module, shown, number, calls, device, named=shape is None)
                others = [each.graph for each in ops if each is not op]
                arguments = build(op.graph, case, device).arguments
                hold_refusals(getattr(module, op.graph.name), [op.graph, *others], arguments, REFUSED, Random(number))
                ran += 1
    except Exception as error:
        error.add_note(f"plan {shown!r} of\n{spec}\n{REPRODUCE.format(number)}")
        raise
    return ran


def _hold_op(
    op: Compiled, module: ModuleType, shape: str, number: int, calls: int, device: torch.device, named: bool
) -> Case:
    """Hold so many calls, and return the last one. That takes a plan `named`, if so, which may be one of no chip."""
    drawn = tma_cases(op.graph, TMA) if shape == "tma" else cases(op.graph, ROWS)
    *others, last = several(drawn, calls, number)
    (runtime,) = (each for each in vars(module).values() if isinstance(each, Op) and each.name == op.graph.name)
    ways = [way for way in forcings(runtime) if way.plan and named]
    for case in (*others, last):
        if case is last and ways and _held_by(ways[number % len(ways)], runtime, op, module, case, device):
            break
        with on_chip(module, CHIPS[shape]):
            _hold(op, module, case, device)
    return last


def _held_by(way: Forcing, runtime: Op, op: Compiled, module: ModuleType, case: Case, device: torch.device) -> bool:
    """Hold a call that takes its plan this way, and say whether it can."""
    with way.of(runtime):
        with nothing_run():
            launched, *_ = planned(runtime, getattr(module, op.graph.name), build(op.graph, case, device).arguments)
        if launched:
            _hold(op, module, case, device)
        return bool(launched)


def _hold(op: Compiled, module: ModuleType, case: Case, device: torch.device) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        run_and_compare(getattr(module, op.graph.name), op.program.forms, case, device=device)


def several(drawn: SearchStrategy[Case], count: int, chosen: int) -> list[Case]:
    """So many calls, drawn by the seed `chosen`. The first that hypothesis draws is the simplest, and is left out."""
    found: list[Case] = []

    # The specs are random already: a failing call is not made smaller, so that it is the one which is reported.
    @seed(chosen)
    @settings(
        max_examples=count + 1,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn)
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found[1:] or found


def imported(source: str, folder: Path) -> ModuleType:
    """The module `source`, from a file in `folder`: Triton reads the text of its kernels again."""
    path = folder / f"written_{sha256(source.encode()).hexdigest()[:16]}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
