"""The rules choose among the plans of a product as fast a one as they did where `fusec tune` measured all of them.

Each measured call is planned on tensors without memory, as for an H200; nothing runs. How fast a plan is, is what was
measured then, see docs/tuning.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from fusec.diagnostics import Source
from fusec.ir.arguments import layout_arguments
from fusec.ir.graph import ChoiceParam, DimParam, Graph, Param, TensorParam
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.reference.rounding import TORCH_DTYPES
from fusec.runtime import Op
from fusec.runtime.select.tables import BY_RULE
from fusec.testing.cases import Case, shape, size, storage

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "contractions" / "results" / "tuning"

SLOWER = 1.13
"""How much longer what the rules take may last than the best plan with the best tile; the first call is known."""

NOW = {
    **{"product": "gemm", "persistent": "tma", "swapped": "swap_ab", "dealt": "split_k"},
    **{"resident": "gemv", "streamed": "gemv_loop"},
}
"""What plans are called that had other names when they were measured."""

KNOWN = {("linear", 16): 1.21}


@dataclass(frozen=True)
class Measured:
    """A call, and the microseconds of every plan with the tile of the rules, as parts of those of the best choice."""

    case: Case
    rows: int
    plans: dict[str, float]

    def __str__(self) -> str:
        return f"{self.case.op} {self.rows}x{self.case.extents['K']}"


def measured() -> Iterator[Measured]:
    for path in sorted(RESULTS.glob("*.json")):
        for calls in json.loads(path.read_text())["ops"].values():
            for call in calls:
                times = {choice: time for choice, time in call["microseconds"].items() if time}
                times[call["by rule"]] = times.pop("by rule")
                times = {NOW.get(choice, choice): time for choice, time in times.items()}
                best = min(times.values())
                yield Measured(
                    Case(**call["call"]), call["rows"], {choice: time / best for choice, time in times.items()}
                )


@pytest.mark.parametrize("call", [*measured()], ids=str)
def test_the_rules_choose_no_slow_plan(call: Measured) -> None:
    plan = by_rule(call.case)
    assert call.plans[plan] <= KNOWN.get((call.case.op, call.rows), SLOWER)


def by_rule(case: Case) -> str:
    """The plan that the rules take for a call, on a device that is not at hand."""
    texts = {path.stem: path.read_text() for path in (ROOT / "specs").glob("*.fuse")}
    (stem,) = (stem for stem, text in texts.items() if f"op {case.op}(" in text)
    graph = next(each for each in elaborate(load(Source("spec", texts[stem]), ROOT)) if each.name == case.op)
    found = vars(import_module(f"generated.{stem}")).values()
    op = next(each for each in found if isinstance(each, Op) and each.name == case.op)
    return op.decide(*arguments(graph, case), plan=BY_RULE).tuned


def arguments(graph: Graph, case: Case) -> list[object]:
    """What a plan depends on. A type variable that the op had not when it was measured is of the same type."""
    case = replace(case, dtypes={each.name: case.dtypes.get(each.name, case.dtypes["T"]) for each in graph.variables})
    return [
        _argument(next(each for each in graph.params if each.name == name), case) for name in layout_arguments(graph)
    ]


def _argument(param: Param, case: Case) -> object:
    match param:
        case TensorParam(name=name, element=element, dims=dims):
            dtype = TORCH_DTYPES[storage(case, element).name]
            return None if name in case.omitted else torch.empty(shape(case, dims), dtype=dtype, device="meta")
        case ChoiceParam(name=name, default=default):
            return case.picks.get(name, default)
        case DimParam(axis=axis):
            return size(case, (axis,))
        case _:
            raise ValueError(f"no plan depends on {param}")
