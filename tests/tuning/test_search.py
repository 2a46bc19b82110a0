"""The search with real processes, which crash, hang and are interrupted: nothing but their own answers is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fusec.driver.tuning.cached_jobs import cached_jobs
from fusec.driver.tuning.results_log import ResultsLog
from fusec.driver.tuning.search import Ask, Effort, Outcome, from_plain, search, to_plain
from fusec.runtime.select.tables import Choice
from fusec.workers import Pool, worker_pool

TIMES = {"rules": 10.0, "resident": 8.0, "streamed": 9.0, "split": 11.0}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def workers() -> Iterator[Pool]:
    here = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    with worker_pool("pretending", 2, {**os.environ, "PYTHONPATH": here}) as pool:
        yield pool


def case(log: Path, rows: int = 4, **what: Any) -> dict[str, Any]:
    return {"case": {"log": str(log), "rows": rows, "times": TIMES, **what}}


def asked(workers: Pool, journal: Path | None = None, limit: float = 60.0, show: Any = None) -> Ask:
    return cached_jobs(workers, ResultsLog(journal, "here"), limit, show or (lambda what, done, total: None))


def test_the_best_way_and_all_times(workers: Pool, log: Path) -> None:
    (outcome,) = search([case(log)], asked(workers), Effort())
    assert outcome.choice == Choice("resident")
    assert {str(choice): time for choice, time in outcome.times.items()} == {
        "None": 10.0, "resident": 8.0, "streamed": 9.0, "split": 11.0,
    }  # fmt: skip
    assert (outcome.refused, outcome.failure, outcome.noise) == ({}, None, 0.01)


def test_what_crashes_and_what_hangs_is_refused_and_costs_nothing_else(workers: Pool, log: Path) -> None:
    cases = [case(log, 1, resident="dies", split="fails"), case(log, 2, resident="hangs"), case(log, 4)]
    first, second, third = search(cases, asked(workers, limit=4.0), Effort())
    assert {str(choice): reason for choice, reason in first.refused.items()} == {
        "resident": "the process that ran it died with exit code 7",
        "split": "RuntimeError: no room",
    }
    assert second.refused == {Choice("resident"): "the process that ran it took more than 4 s"}
    assert [each.choice for each in (first, second, third)] == [
        Choice("streamed"),
        Choice("streamed"),
        Choice("resident"),
    ]


@pytest.mark.parametrize(
    ("what", "failure"),
    [
        ({"rules": "dies"}, "as the rules have it: the process that ran it died with exit code 7"),
        ({"rules": "fails"}, "as the rules have it: RuntimeError: no room"),
        ({"race streamed": "dies"}, "the process that ran it died with exit code 7"),
        ({"broken": "KeyError: x"}, "KeyError: x"),
    ],
)
def test_a_case_that_cannot_be_tuned_fails_alone(workers: Pool, log: Path, what: dict[str, str], failure: str) -> None:
    failed, fine = search([case(log, 1, **what), case(log, 2)], asked(workers), Effort())
    assert (failed.choice, failed.times, failed.failure) == (None, {}, failure)
    assert (fine.choice, fine.failure) == (Choice("resident"), None)


def test_progress_counts_every_job(workers: Pool, log: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    search([case(log, 1), case(log, 2)], asked(workers, show=lambda *told: heard.append(told)), Effort())
    assert [told for told in heard if told[0] == "plans"] == [("plans", done, 2) for done in range(3)]
    assert [done for what, done, total in heard if what == "candidates" and total == 8] == list(range(9))
    assert heard[-1] == ("calls", 2, 2)


def test_a_second_run_asks_nothing_again(workers: Pool, log: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    cases = [case(log, 1, resident="dies"), case(log, 2)]
    first = search(cases, asked(workers, journal), Effort())
    known = log.read_text()
    assert plain(search(cases, asked(workers, journal), Effort())) == plain(first)
    assert log.read_text() == known
    # What depends on another device or toolchain is another answer.
    search(cases[1:], cached_jobs(workers, ResultsLog(journal, "elsewhere"), 60.0, lambda *_: None), Effort())
    assert log.read_text() != known


def test_an_interrupted_run_goes_on_where_it_was(workers: Pool, log: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    cases = [case(log, rows) for rows in (1, 2, 4)]

    def interrupt(what: str, done: int, total: int) -> None:
        if (what, done) == ("calls", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(cases, asked(workers, journal, show=interrupt), Effort())
    before = log.read_text().splitlines()
    assert sum(line.startswith("measure") for line in before) < 3
    with journal.open("a") as file:
        file.write('["cut off in the midd')
    outcomes = search(cases, asked(workers, journal), Effort())
    assert [each.choice for each in outcomes] == [Choice("resident")] * 3
    after = log.read_text().splitlines()[len(before) :]
    assert after
    assert all(line.startswith("measure") for line in after)
    assert "measure 1 -" not in after


def test_a_way_survives_being_a_job() -> None:
    for choice in (None, Choice("resident"), Choice("product", (("block_m", 16), ("num_warps", 4)))):
        assert from_plain(to_plain(choice)) == choice


def plain(outcomes: list[Outcome]) -> list[Any]:
    return [(each.choice, dict(each.times), dict(each.refused), each.failure) for each in outcomes]
