"""The docstring of a generated file tells each plan of its ops once, with what it launches and the bytes it moves.

Held against calls that are planned with that plan, on tensors without memory, and the bytes counted of their kernels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from built import built
from compiled import compiled

from fusec.forcing import SMALL
from fusec.runtime import Launch, Op, PlanError
from fusec.runtime.select.run import Decision
from fusec.runtime.traffic.count import traffic


def empty(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, dtype=torch.bfloat16, device="meta")


X, GAIN, FEW = empty(300, 4000), empty(4000), empty(4, 4096)
WEIGHT, BIAS = empty(512, 4096), empty(512)

CALLS: dict[str, tuple[Any, ...]] = {
    "layernorm": (X, GAIN, GAIN),
    "softmax": (X,),
    "add_rmsnorm": (X, X, GAIN),
    "rmsnorm_quantize": (X, GAIN),
    "rmsnorm_gradient": (X, X, GAIN),
    "gated_activation": (X, X, "silu"),
    "linear": (FEW, WEIGHT, BIAS),
    "rmsnorm_linear": (FEW, empty(4096), WEIGHT, BIAS, "plain"),
    "fused_gated_mlp": (FEW, WEIGHT, WEIGHT, "silu"),
    "linear_add_rmsnorm": (FEW, WEIGHT, empty(4, 512), BIAS, None),
}
"""A call of each op, whose rows have 4000 elements; a table tells nothing of sizes."""

FILES = {"rmsnorm_gradient": "norm_gradients"}

OF_ROWS = [name for name in CALLS if CALLS[name][0] is X]


def op(name: str) -> Op:
    return built(name, FILES.get(name, ""))[0]


def told(name: str) -> Iterator[tuple[str, str, list[str], str]]:
    """The lines of an op's table: plan, when it is taken, kernels, bytes."""
    (part,) = (
        each for each in built(name, FILES.get(name, ""))[1].split("\n\n") if each.lstrip().startswith(f"{name}: ")
    )
    assert all(len(line) <= 120 for line in part.splitlines())
    head, *lines = part[part.index("  plan") :].splitlines()
    starts = [head.index(word) for word in ("plan", "taken when", "launches", "bytes")]
    rows: list[list[str]] = []
    for line in lines:
        cells = [line[start:end].rstrip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
        assert all(line[start - 2 : start].isspace() for start in starts if len(line) > start), line
        if cells[0]:
            rows.append(cells)
        else:
            rows[-1][2] += f" {cells[2]}"  # launches of many kernels go on
    for plan, taken, launches, moved in rows:
        yield plan, taken, launches.split(", "), moved


def planned(name: str, plan: str) -> Decision | None:
    try:
        return op(name).decide(*CALLS[name], plan=plan, chip=SMALL)
    except PlanError:
        return None


@pytest.mark.parametrize("name", CALLS)
def test_every_plan_is_told_once_with_what_it_launches(name: str) -> None:
    rows = list(told(name))
    schedules = [(label.rpartition(": ")[2], launches) for label, _, launches, _ in rows]
    whole = {label for label, *_ in rows if label in ("library", "steps")}
    if not whole:
        assert {*op(name).reaching_names} == {plan for plan, _ in schedules}
    held = 0
    for label, _, launches, _ in rows:
        plan = label.replace(": ", ".")
        decision = planned(name, plan) if plan in op(name).reaching_names and label not in whole else None
        if decision is not None:
            made = [each.kernel.__name__ if isinstance(each, Launch) else "library" for each in decision.launches]
            own = [each.removeprefix(f"_{name}_") for each in made]
            first = own.index(launches[0])
            assert own[first : first + len(launches)] == launches, label
            held += 1
    assert held >= 1


@pytest.mark.parametrize("name", CALLS)
def test_of_several_schedules_of_a_step_the_last_is_taken_else(name: str) -> None:
    rows = list(told(name))
    for at, (label, taken, *_) in enumerate(rows):
        step, _, plan = label.rpartition(": ")
        others = [other for other, *_ in rows[at + 1 :] if other.rpartition(": ")[0] == step]
        alone = [other for other, *_ in rows if other.rpartition(": ")[0] == step and other not in ("library", "steps")]
        if plan not in ("library", "steps"):
            assert (taken == "else") == (not others and len(alone) > 1), label
            assert taken


@pytest.mark.parametrize("name", OF_ROWS)
def test_bytes_above_the_least_are_those_that_are_counted(name: str) -> None:
    held = 0
    for label, _, _, moved in told(name):
        decision = planned(name, label)
        if decision is None:
            continue
        times: dict[str, int] = {}
        for launch in decision.launches:
            assert isinstance(launch, Launch)
            for tensor, count in traffic(launch, decision.dtypes).read.items():
                times[tensor] = times.get(tensor, 0) + count // (2 * X.numel())
        counted = {
            tensor: count - 1 for tensor, count in times.items() if count > 1 and not tensor.startswith("partial")
        }
        least, *more = moved.split(" + ")
        excess = {part.split(" ")[-1]: int((re.match(r"\d+", part) or ["1"])[0]) for part in more}
        assert (least, excess) == ("least", counted), label
        held += 1
    assert held >= 1


@pytest.mark.parametrize("name", CALLS)
def test_words_say_what_tells_plans_apart(name: str) -> None:
    """Tiles are few where programs share them; registers hold rows or parts of them."""
    for label, taken, launches, _ in told(name):
        plan = label.rpartition(": ")[2]
        assert ("tiles as well" in taken) == (plan == "split_k")
        assert plan != "split_k" or any(each.startswith("combine") for each in launches)
        if plan in ("rows", "resident", "row_tiles"):
            assert re.search(r"\bN\b", taken), label


def test_several_schedules_of_a_step_are_shown_by_the_first() -> None:
    partitions = [launches for label, _, launches, _ in told("rmsnorm_linear") if label in ("library", "steps")]
    assert {launches[0] for launches in partitions} == {"rows_operand .."}
    assert len([each for each in op("rmsnorm_linear").reaching_names if each.startswith("operand.")]) > 1
    assert not any(".." in each for _, _, launches, _ in told("linear") for each in launches)


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ("N", {"rows": "N is short", "resident": "registers hold N"}),
        ("M", {"rows": "registers hold M of many N", "row_loop": "many rows, or none very long"}),
    ],
)
def test_rows_are_short_and_columns_many(over: str, words: dict[str, str], tmp_path: Path) -> None:
    """Neighbours in memory are of one row, or of as many."""
    (op,) = compiled(
        f"op f(x: f32[M, N]) -> y: f32[{'MN'.replace(over, '')}]:\n    y = sum(x, over={over})\n", tmp_path
    )
    lines = (op.module.__doc__ or "").split("\n")
    for plan, taken in words.items():
        assert any(line.split("  ")[1:2] == [plan] and f"  {taken}  " in line for line in lines), lines


ADDED = """
op {name}(x: T[M, K], weight w: T[N, K], weight g: T[K] = 1, weight s: T[N] = 1) -> y: T[M, N]
where T in {{f16}}:
    y = dot(rmsnorm(x, g, 1e-6, over=K), w, over=K, precision=T) * s
"""


def test_what_a_plan_is_without_is_told(tmp_path: Path) -> None:
    """Partitions of calls that leave out an optional tensor name it, and others name none."""
    (op,) = compiled(ADDED.format(name="f"), tmp_path)
    assert op.program.table is not None
    text = op.module.__doc__ or ""
    left_out = [each.omits for each in op.program.table.plans.partitions if len(each.steps) > 1]
    assert {"", *left_out} != {""}
    for words in {*left_out}:
        ending = f" without {' and '.join(words.split())}" if words else ""
        found = re.findall(rf"^  (?:library|steps) +(?:it is faster|else){ending}  ", text, re.MULTILINE)
        assert len(found) == left_out.count(words), words


def test_a_file_of_several_ops_names_them_first(tmp_path: Path) -> None:
    one, two = ADDED.format(name="f"), ADDED.format(name="g")
    for text, names in ((one, ["f"]), (one + two, ["f", "g"])):
        ops = compiled(text, tmp_path)
        first = (ops[0].module.__doc__ or "").split("\n")[0]
        assert re.findall(r"\b[fg]\b", first) == names
        assert first.startswith("The ops ") == (len(names) > 1)
