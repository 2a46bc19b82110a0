"""What the worker of `fusec tune` does with a real op: outline it, run it every choice, and refuse what is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from fusec.commands import tune_worker
from fusec.commands.tune import find, job, require_built
from fusec.commands.tune_shapes import cases
from fusec.driver.build import package_files
from fusec.driver.compile import compile_file
from fusec.driver.tuning.cached_jobs import cached_jobs
from fusec.driver.tuning.candidates import Outline, candidates
from fusec.driver.tuning.results_log import ResultsLog
from fusec.driver.tuning.search import Effort, search, to_plain
from fusec.runtime import H200, TuningFailedError
from fusec.runtime.select.tables import Choice
from fusec.testing.cases import Case
from fusec.workers import worker_pool

SPEC = """op {name}(x: T[..., K], weight weight: T[N, K], weight bias: T[N] = 0) -> y: T[..., N]
where T in {{bf16, f32}}:
    y = dot(x, weight, over=K) + bias
"""

FAULT = ("product += x * weight", "product += x * weight * 1.5")
"""What the streamed kernel does, and what it must not."""

CHOICES = [
    None,
    Choice("library"),
    Choice("gemv_loop"),
    Choice("gemm"),
    Choice("gemm", (("block_m", 32), ("num_warps", 8))),
]


def subject(folder: Path, name: str, right: str = "", wrong: str = "") -> dict[str, Any]:
    """A job about an op that was built into a package, in which something right may have been made wrong."""
    spec = folder / f"{name}.fuse"
    spec.write_text(SPEC.format(name=name))
    (about,) = find(folder, [name])
    package = folder / f"package_of_{name}"
    package.mkdir()
    for file, text in package_files([compile_file(about.source, folder)]).items():
        assert right in text or file != f"{name}.py"
        (package / file).write_text(text.replace(right, wrong) if right else text)
    require_built(about, package)
    (case,) = cases(about.graph, about.choosing, ["M=5 K=48 N=24"], {}, ())
    return job(about, package, case)


def test_outline(tmp_path: Path) -> None:
    answer = tune_worker.do({**subject(tmp_path, "outlined"), "do": "outline"}, tmp_path)
    assert answer["failure"] is None
    outline = Outline.of(answer["outline"])
    assert (outline.rows, outline.by_rule) == (5, "swap_ab")
    assert outline.case == {"K": 48, "N": 24, "T": "bfloat16", "bias": False}
    rules = {plan: [tile.rule for tile in tiles] for plan, tiles in outline.plans.items()}
    tiled = {"tma": ["tma_tile"], "split_k": ["skinny_tile"], "swap_ab": ["skinny_tile"], "gemm": ["gemm_tile"]}
    assert rules == {"library": [], "gemv": ["resident"], "gemv_loop": ["row_loop"], **tiled}
    facts = {"batches": 1, "m": 5, "n": 24, "k": 48, "itemsize": 2, "dots": 1}
    for tiles in (tiles for plan, tiles in outline.plans.items() if plan in tiled):
        swapped = {**facts, "m": 24, "n": 5} if tiles[0].rule == "skinny_tile" else facts
        assert swapped.items() <= tiles[0].facts.items()
        assert set(tiles[0].sizes) == {"block_m", "block_n", "block_k", "splits"}


def test_every_candidate_is_right(tmp_path: Path) -> None:
    about = subject(tmp_path, "tried")
    outline = Outline.of(tune_worker.do({**about, "do": "outline"}, tmp_path)["outline"])
    choices = candidates(outline, H200, 2)
    for choice in choices:
        assert tune_worker.do({**about, "do": "try", "choice": to_plain(choice)}, tmp_path) == {"failure": None}, str(
            choice
        )
    with tune_worker.exact():
        answer = tune_worker.measure(tune_worker.subject_of(about), choices, by_clock({}), 2)
    assert answer["refused"] == {}
    assert len(answer["times"]) == len(choices)
    assert {choice.plan for choice in choices if choice and choice.tile} == {*outline.plans} - {"library"}


def test_a_way_that_is_wrong_is_refused_however_fast_it_is(tmp_path: Path) -> None:
    about = subject(tmp_path, "faulty", *FAULT)
    with tune_worker.exact():
        answer = tune_worker.measure(
            tune_worker.subject_of(about), CHOICES, by_clock({"gemv_loop": 1.0, "library": 5.0}), 2
        )
    assert list(answer["refused"]) == [2]
    assert "is outside of" in answer["refused"][2]
    assert answer["winner"] == 1


def test_what_cannot_be_timed_is_refused(tmp_path: Path) -> None:
    def clock(subject: tune_worker.Subject, choice: Choice | None) -> tune_worker.Turn:
        if choice == Choice("library"):
            raise RuntimeError("it cannot be captured as a CUDA graph")
        return lambda: 1.0

    with tune_worker.exact():
        answer = tune_worker.measure(tune_worker.subject_of(subject(tmp_path, "timed")), CHOICES, clock, 1)
    assert answer["refused"] == {1: "it cannot be captured as a CUDA graph"}


def test_rules_that_are_wrong_are_no_start(tmp_path: Path) -> None:
    about = subject(tmp_path, "hopeless", *FAULT)
    with tune_worker.exact(), pytest.raises(TuningFailedError, match="as the rules have it: y"):
        tune_worker.measure(tune_worker.subject_of(about), [Choice("gemv_loop"), None], by_clock({}), 1)


def test_nothing_right_is_left_in_memory_for_a_way_that_writes_nothing(tmp_path: Path) -> None:
    about = subject(tmp_path, "silent", "n * y_stride_N, y)", "n * y_stride_N, y, mask=N < 0)")
    with tune_worker.exact():
        answer = tune_worker.measure(tune_worker.subject_of(about), CHOICES, by_clock({}), 1)
    assert list(answer["refused"]) == [2]
    assert "= nan is outside" in answer["refused"][2]


def test_the_whole_search_through_workers(tmp_path: Path) -> None:
    """Without a GPU nothing can be timed: all that comes before is done by processes, and the race says why not."""
    if torch.cuda.is_available():
        pytest.skip("this is about machines without a GPU")
    about = subject(tmp_path, "searched")
    with worker_pool("fusec.commands.tune_worker", 1, {**os.environ, "TRITON_INTERPRET": "1"}) as workers:
        ask = cached_jobs(workers, ResultsLog(None, None), 120.0, lambda *_: None)
        (outcome,) = search([about], ask, Effort(tiles=1))
    assert outcome.outline is not None
    assert outcome.refused == {}
    assert outcome.failure is not None
    assert outcome.failure.startswith("TuningFailedError: searched, as the rules have it: ")


def by_clock(times: dict[str, float]) -> tune_worker.Clock:
    """A clock that tells set times by plan."""
    return lambda subject, choice: lambda: times.get(choice.plan if choice else "rules", 9.0)


def test_a_job_is_plain_and_depends_on_what_was_built(tmp_path: Path) -> None:
    about = subject(tmp_path, "plain")
    assert json.loads(json.dumps(about)) == {**about, "case": {**about["case"], "lead": [5], "omitted": ["bias"]}}
    (found,) = find(tmp_path, ["plain"])
    package = tmp_path / "package_of_plain"
    again = job(found, package, Case(**about["case"]))
    assert again == about
    with (package / "plain.py").open("a") as module:
        module.write("# changed\n")
    assert job(found, package, Case(**about["case"]))["built"] != about["built"]
