"""A worker for tests of the search: it runs nothing, and does to its process what the case says."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from fusec.workers import answer

PLANS: dict[str, list[Any]] = {"library": [], "resident": [], "streamed": [], "split": []}


def do(job: dict[str, Any], _folder: Path) -> dict[str, Any]:
    """`case` has the microseconds of each plan, and what happens at it: `dies`, `hangs`, `fails`."""
    case = job["case"]
    with Path(case["log"]).open("a") as log:
        log.write(f"{job['do']} {case['rows']} {(job.get('choice') or {}).get('plan', '-')}\n")
    if job["do"] == "outline":
        return {"failure": case.get("broken"), "outline": outline(case)}
    if job["do"] == "try":
        return {"failure": happens(case, (job["choice"] or {}).get("plan", "rules"))}
    times = [case["times"].get((choice or {}).get("plan", "rules"), 99.0) for choice in job["choices"]]
    for choice in job["choices"]:
        happens(case, f"race {(choice or {}).get('plan', 'rules')}")
    winner = min(range(len(times)), key=times.__getitem__)
    return {"failure": None, "winner": winner, "times": dict(enumerate(times)), "noise": 0.01, "refused": {}}


def outline(case: dict[str, Any]) -> dict[str, Any]:
    return {"rows": case["rows"], "case": {"K": 64}, "by_rule": "library", "plans": PLANS}


def happens(case: dict[str, Any], plan: str) -> str | None:
    what = case.get(plan)
    if what == "dies":
        os._exit(7)
    if what == "hangs":
        time.sleep(600)
    return "RuntimeError: no room" if what == "fails" else None


if __name__ == "__main__":
    answer(do)
