"""The committed raw results of an H200 as one run, whatever script measured them.

A result of `fusec bench --suite` holds most of it. Before, each script wrote figures in a form of its own, where names
of cases hold their sizes. Later runs replace earlier ones, op by op.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from fusec.report import results
from fusec.report.results import AROUND, Measured, Run, Step

HERE = Path(__file__).resolve().parent
ROWS = HERE / "rows" / "results" / "h200-2026-11-21.json"
CONTRACTIONS = (
    HERE / "contractions" / "results" / "h200-2026-11-21.json",
    HERE / "contractions" / "results" / "h200-2026-11-21-overlapping.json",
)
GRADIENTS = HERE / "results" / "h200-2026-11-30-columns.json"
LOW_PRECISION = HERE / "results" / "h200-2026-11-30-low_precision.json"
MODELS = HERE / "models" / "results"
HOST = HERE / "contractions" / "results" / "host-h200-2026-11-30.json"

WHO = {
    **{"compile": "torch.compile", "liger": "Liger"},
    **dict.fromkeys(("F", "add+F", "ATen"), "torch.nn.functional"),
}
"""What candidates are called in reports."""

MAIN = {"fusec", "torch.compile", "mm alone"}


def read(path: Path) -> dict[str, Any]:
    """A raw result."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def run() -> Run:
    """All figures that pictures are made of."""
    suites = sorted((HERE / "results").glob("h200-*-suite.json"))
    if suites:
        return _completed(results.read(suites[-1]), _of_scripts())
    return _of_scripts()


def _completed(last: Run, before: Run) -> Run:
    """A run, with what those before it have of ops that it did not come to."""
    measured = {case.op for case in last.cases}
    return replace(
        before,
        about={**last.about, "command": before.about["command"]},
        cases=(*last.cases, *(case for case in before.cases if case.op.split()[0] not in measured)),
        copy_rate=last.copy_rate or before.copy_rate,
        ceilings=last.ceilings or before.ceilings,
    )


def _of_scripts() -> Run:
    rows = read(ROWS)
    head = {name: str(rows["about"][name]) for name in ("device", "torch", "triton", "python")}
    products = list(_products())
    alone = [case for case in products if "mm alone" in case.device]
    return Run(
        about={**head, "command": "python -m benchmarks.pictures"},
        cases=(*_rows(rows), *_gradients(), *(case for case in products if case not in alone), *_host()),
        copy_rate=rows["about"]["copy_bytes_per_s"],
        ceilings={
            "bf16": max(case.flops / case.device["mm alone"] / 1e6 for case in alone),
            "f8e4m3": 2 * 8192**3 / read(LOW_PRECISION)["first"]["exact 8192"]["_scaled_mm"] / 1e6,
        },
        steps=tuple(_steps()),
    )


def steps(path: Path) -> Iterator[Step]:
    """What `benchmarks.models` measured: every step of every model."""
    for model, found in read(path)["models"].items():
        for step, times in found.items():
            yield Step(model, step, times["wall ms"], times.get("graph ms", {}))


def _steps() -> Iterator[Step]:
    """Those of the last results that are committed, of each model."""
    found = {(step.model, step.step): step for path in sorted(MODELS.glob("h200-*.json")) for step in steps(path)}
    yield from found.values()


def _rows(raw: dict[str, Any]) -> Iterator[Measured]:
    for each in raw["results"]:
        op, _, size = each["case"].partition(" ")
        yield Measured(
            op=op,
            size=size.replace("(", "").replace(")", "").replace(", ", "x"),
            rows=0,
            bytes=each["nbytes"],
            device={WHO.get(who, who): us for who, us in each["times"].items()},
            errors={WHO.get(who, who): error for who, error in each["errors"].items()},
            failed={WHO.get(who, who): why for who, why in each["failed"].items()},
        )


def _gradients() -> Iterator[Measured]:
    for name, each in read(GRADIENTS)["cases"].items():
        op, _, size = name.partition(" ")
        yield Measured(
            op=f"{op}_gradient",
            size=size,
            rows=0,
            bytes=3 * 2 * prod(map(int, size.split("x"))),
            device={WHO.get(who, who): us for who, us in each["microseconds"].items()},
            errors={WHO.get(who, who): max(errors) for who, errors in each["errors"].items()},
        )


def _products() -> Iterator[Measured]:
    found = {}
    for path in CONTRACTIONS:
        for each in read(path)["results"]:
            found[each["case"]] = each
    for name, each in found.items():
        op, *_, size = name.split(" ")
        m, k, n = _extents(op, size)
        times = each["times"]
        around = [us for who, us in times.items() if who not in MAIN]
        matrices = 2 if "gated" in op else 1
        yield Measured(
            op=f"{op} to {n}" if op == "rmsnorm_linear" else op,
            size=size,
            rows=m,
            bytes=2 * (m * k + matrices * n * k + m * n * (3 if "add" in op else 1)),
            flops=2 * m * k * n * matrices,
            device={who: us for who, us in times.items() if who in MAIN} | ({AROUND: min(around)} if around else {}),
            errors={who: error for who, error in each["errors"].items() if who in MAIN},
            failed=each["failed"],
        )


def _extents(op: str, size: str) -> tuple[int, int, int]:
    """Rows, terms and columns of a product, by the words of its case."""
    numbers = [int(number) for number in size.replace("^3", "").split("x")]
    if op == "qkv_rope":
        return numbers[0], numbers[1], 36 * 128
    if len(numbers) == 1:
        numbers *= 3
    m, k, n = numbers
    return m, k, n


def _host() -> Iterator[Measured]:
    for name, times in read(HOST)["microseconds"].items():
        op, _, rows = name.partition(" ")
        yield Measured(op=op, size=f"{rows} row{'s' * (rows != '1')}", rows=int(rows), bytes=0, device={}, host=times)
