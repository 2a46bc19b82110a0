"""Jobs to a pool, by way of a journal: what was answered before is not asked again, and a lost job is an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from fusec.driver.tuning.results_log import ResultsLog
from fusec.driver.tuning.search import Ask, Job
from fusec.workers import Failed, Pool

Show: TypeAlias = Callable[[str, int, int], None]
"""Hears what is being done, and how many of how many are."""


def cached_jobs(pool: Pool, journal: ResultsLog, limit: float, show: Show) -> Ask:
    """The workers of a pool, each of whose jobs may take `limit` seconds.

    A job that ended its process, or took too long, fails for that reason.
    """

    def ask(what: str, jobs: Sequence[Job], at_once: int | None) -> list[Any]:
        missing = [job for job in jobs if journal.get(job) is None]
        reached = iter(range(len(jobs) - len(missing) + 1, len(jobs) + 1))
        show(what, len(jobs) - len(missing), len(jobs))

        def done(job: Job, answer: Any) -> None:
            lost = {"failure": f"the process that ran it {answer.reason}"} if isinstance(answer, Failed) else None
            journal.keep(job, lost or answer)
            show(what, next(reached), len(jobs))

        pool.do(missing, limit, done, at_once)
        return [journal.get(job) for job in jobs]

    return ask
