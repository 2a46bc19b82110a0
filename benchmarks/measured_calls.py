"""Calls whose time was measured on an H200, planned again without a GPU, as what the time model is held to.

The raw results are those of `benchmarks.rows`, `benchmarks.before_after` and `fusec tune`. A plan that an op has no
longer is left out; a kernel may have been another one when it was measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from fusec.diagnostics import Source
from fusec.ir.arguments import layout_arguments
from fusec.ir.graph import ChoiceParam, DimParam, DTypeParam, Graph, Param, TensorParam
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.reference.rounding import TORCH_DTYPES, torch_dtype
from fusec.runtime import H200, Op, PlanError
from fusec.runtime.select.run import Decision
from fusec.runtime.select.tables import BY_RULE, Choice
from fusec.testing.cases import Case, shape, size, storage

ROOT = Path(__file__).resolve().parents[1]
ROWS = ROOT / "benchmarks" / "rows" / "results" / "h200-2026-11-21.json"
CALLS = ROOT / "benchmarks" / "results" / "h200-2026-11-30-before_after.json"
TUNING = ROOT / "benchmarks" / "contractions" / "results" / "tuning"

NOW = {
    **{"product": "gemm", "persistent": "tma", "swapped": "swap_ab", "dealt": "split_k"},
    **{"resident": "gemv", "streamed": "gemv_loop", "split": "gemv_split"},
    **{"side": "block_m", "block": "block_n", "step": "block_k"},
}
"""What plans, and sizes of tiles, are called that had other names when they were measured."""

OPS = {"gated_mlp": "fused_gated_mlp", "rmsnorm_rope": "fused_rmsnorm_rope"}
"""Ops that cases call by a shorter name."""


@dataclass(frozen=True)
class Measured:
    """A planned call, and how many microseconds it took. `chosen` if the plan is not that of the rules."""

    name: str
    decision: Decision
    us: float
    chosen: bool

    @property
    def schedule(self) -> str:
        """What most of its time goes to."""
        plans = [step.plan for step in self.decision.steps]
        return next((plan for plan in ("library", "tma", "split_k", "swap_ab", "gemm") if plan in plans), plans[-1])


def rows() -> Iterator[Measured]:
    """The row ops of the README."""
    for each in json.loads(ROWS.read_text())["results"]:
        yield from _by_name(each["case"], each["times"]["fusec"])


def products() -> Iterator[Measured]:
    """The contractions of the README."""
    for name, each in json.loads(CALLS.read_text())["results"].items():
        if "x" in name and ("mlp" in name or "linear" in name):
            yield from _by_name(name, each["times"]["after"])


def tuned() -> Iterator[Measured]:
    """What `fusec tune` tried: every plan, with tiles that ought to be fast."""
    for path in sorted(TUNING.glob("*.json")):
        for calls in json.loads(path.read_text())["ops"].values():
            for call in calls:
                case = Case(**call["call"])
                for words, us in call["microseconds"].items():
                    choice = choice_of(call["by rule"] if words == "by rule" else words)
                    decision = _planned(case, choice) if us else None
                    if decision is not None:
                        yield Measured(f"{case.op} {call['rows']} {choice}", decision, us, bool(choice.tile))


def choice_of(words: str) -> Choice:
    """A choice as a report spells it."""
    plan, *tile = words.split()
    sizes = (part.split("=") for part in tile)
    return Choice(NOW.get(plan, plan), tuple((NOW.get(name, name), int(value)) for name, value in sizes))


def planned(case: Case, choice: Choice) -> Decision:
    """The plan of a call on an H200 that is not at hand."""
    graph, op = op_of(case.op)
    return op.decide(*arguments(graph, case), plan=choice, chip=H200)


def _planned(case: Case, choice: Choice) -> Decision | None:
    try:
        return planned(case, choice)
    except PlanError:
        return None


@cache
def op_of(name: str) -> tuple[Graph, Op]:
    """An op of the package by its name."""
    texts = {path.stem: path.read_text() for path in (ROOT / "specs").glob("*.fuse")}
    (stem,) = (stem for stem, text in texts.items() if f"op {name}(" in text)
    graph = next(each for each in elaborate(load(Source("spec", texts[stem]), ROOT)) if each.name == name)
    found = vars(import_module(f"generated.{stem}")).values()
    return graph, next(each for each in found if isinstance(each, Op) and each.name == name)


def arguments(graph: Graph, case: Case) -> list[object]:
    """What a plan depends on. A type variable that the op had not when it was measured is of the same type."""
    case = replace(case, dtypes={each.name: case.dtypes.get(each.name, case.dtypes["T"]) for each in graph.variables})
    params = {each.name: each for each in graph.params}
    return [_argument(params[name], case) for name in layout_arguments(graph)]


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


def _by_name(name: str, us: float) -> Iterator[Measured]:
    """A case of a benchmark, which is called by its op and sizes."""
    word, _, sizes = name.partition(" ")
    shapes = _shapes(word, sizes)
    graph, op = op_of("linear_activation" if word == "linear_activation" else OPS.get(word, word))
    tensors = iter(shapes)
    given: list[Any] = []
    for param in (next(each for each in graph.params if each.name == key) for key in layout_arguments(graph)):
        if isinstance(param, TensorParam):
            found = None if param.optional else next(tensors)
            given.append(None if found is None else torch.empty(found, dtype=torch.bfloat16, device="meta"))
        elif isinstance(param, DTypeParam):
            # What it is when nobody says; an op that was measured had no choice.
            given.append(torch_dtype(param.default or param.variable.options[0]))
        else:
            given.append(param.default if isinstance(param, ChoiceParam) else None)
    yield Measured(name, op.decide(*given, plan=BY_RULE, chip=H200), us, False)


def _shapes(op: str, sizes: str) -> tuple[tuple[int, ...], ...]:
    """The shapes of the tensors of a case, in their order."""
    if op == "rmsnorm_rope":
        text, _, width = sizes.partition(" D=")
        whole = tuple(map(int, text.strip("()").split(",")))
        return whole, whole[-1:], (whole[1], int(width)), (whole[1], int(width))
    numbers = [int(part) for part in sizes.split()[-1].replace("^3", "").split("x")]
    if op == "rope_qk":
        _, tokens, heads, width = numbers
        return (1, tokens, heads, width), (1, tokens, heads, width), (tokens, width), (tokens, width)
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) == 2:
        whole, row = (numbers[0], numbers[1]), (numbers[1],)
        return _ROWS.get(op, lambda whole, row: (whole, row))(whole, row)
    m, k, n = numbers
    return {
        "gated_mlp": ((m, k), (n, k), (n, k)),
        "rmsnorm_gated_mlp": ((m, k), (k,), (n, k), (n, k)),
        "rmsnorm_linear": ((m, k), (k,), (n, k)),
        "linear_add_rmsnorm": ((m, k), (n, k), (m, n), (n,)),
        "linear_activation": ((m, k), (n, k)),
    }[op]


_ROWS: Mapping[str, Any] = {
    **dict.fromkeys(("softmax", "quantize_fp8_rows", "quantize_fp8"), lambda whole, row: (whole,)),
    "add_rmsnorm": lambda whole, row: (whole, whole, row),
    "layernorm": lambda whole, row: (whole, row, row),
    "gated_activation": lambda whole, row: (whole, whole),
}
"""The shapes of ops of rows, where these are not a tensor and a gain."""
