"""`fusec tune` for ops of rows: every plan and tile that is tried is right, and what is found is launched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_tune_worker import by_clock

from fusec.commands import tune_worker
from fusec.commands.tune import find, job
from fusec.commands.tune_shapes import cases
from fusec.driver.build import package_files
from fusec.driver.compile import compile_file
from fusec.driver.tuning.candidates import Outline, candidates
from fusec.runtime import H200, Launch
from fusec.runtime.select.tables import TILE, Choice

SPECS = {
    "norm": ("x: T[..., N], weight gain: T[N]", "T[..., N]", "rmsnorm(x, gain, 1e-6, over=N)"),
    "soft": ("x: T[..., N]", "T[..., N]", "softmax(x, over=N)"),
    "column": ("x: T[B, N, C]", "T[B, C]", "amax(x, over=N)"),
    "gate": ("x: T[..., N], y: T[..., N]", "T[..., N]", "silu(x) * y"),
}
"""The parameters, the type of the result, and the result."""

SHAPES = ("M=5 N=48", "M=3 N=1025", "M=1 N=4096")


def subject(folder: Path, name: str, shape: str) -> dict[str, Any]:
    """A job about an op that was built into a package."""
    given, result, value = SPECS[name]
    spec = folder / f"{name}.fuse"
    spec.write_text(f"op {name}({given}) -> out: {result}\nwhere T in {{bf16, f32}}:\n    out = {value}\n")
    (about,) = find(folder, [name])
    package = folder / f"rows_{name}"
    package.mkdir(exist_ok=True)
    for file, text in package_files([compile_file(about.source, folder)]).items():
        (package / file).write_text(text)
    shape = shape.replace("M=", "B=") + " C=6" if name == "column" else shape
    (case,) = cases(about.graph, about.choosing, [shape], {}, ())
    return job(about, package, case)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SPECS)
def test_every_candidate_is_right(name: str, shape: str, tmp_path: Path) -> None:
    about = subject(tmp_path, name, shape)
    answer = tune_worker.do({**about, "do": "outline"}, tmp_path)
    assert answer["failure"] is None
    outline = Outline.of(answer["outline"])
    assert outline.by_rule in outline.plans
    choices = candidates(outline, H200, 3)
    assert {choice.plan for choice in choices if choice and choice.tile} == set(outline.plans)
    assert {key for choice in choices if choice for key, _ in choice.tile} <= TILE
    last = choices[-1]
    assert last is not None
    with tune_worker.exact():
        clock = by_clock({last.plan: 1.0})
        found = tune_worker.measure(tune_worker.subject_of(about), choices, clock, 1)
    assert [why for why in found["refused"].values() if "spill" not in why] == []  # A tile too wide for a compiler.
    winner = choices[found["winner"]]
    assert (winner.plan if winner else outline.by_rule) == last.plan


def test_rows_are_tried_in_all_their_plans(tmp_path: Path) -> None:
    about = subject(tmp_path, "norm", "M=2 N=300")
    outline = Outline.of(tune_worker.do({**about, "do": "outline"}, tmp_path)["outline"])
    assert {"rows", "resident", "row_loop", "split_rows"} <= set(outline.plans)
    assert outline.case == {"N": 300, "T": "bfloat16"}
    assert outline.rows == 2


@pytest.mark.parametrize(
    ("choice", "blocks", "warps"),
    [
        (Choice("rows", (("rows", 2), ("num_warps", 2))), {"ROWS": 2}, 2),
        (Choice("row_loop", (("block", 64), ("num_warps", 1))), {"BLOCK_N": 64}, 1),
        (Choice("split_rows", (("block", 32), ("splits", 4), ("num_warps", 1))), {"BLOCK_N": 32, "SPLITS": 4}, 1),
        (Choice("resident", (("num_warps", 8),)), {}, 8),
    ],
)
def test_a_choice_is_launched_as_it_is(choice: Choice, blocks: dict[str, int], warps: int, tmp_path: Path) -> None:
    told = tune_worker.subject_of(subject(tmp_path, "norm", "M=5 N=300"))
    x, gain = torch.ones(5, 300, dtype=torch.bfloat16), torch.ones(300, dtype=torch.bfloat16)
    decision = told.op.decide(x, gain, plan=choice)
    launch = decision.launches[0]
    assert isinstance(launch, Launch)
    assert {name: launch.arguments[name] for name in blocks} == blocks
    assert [options["num_warps"] for options in launch.options] == [warps]
    assert decision.tuned == choice.plan
