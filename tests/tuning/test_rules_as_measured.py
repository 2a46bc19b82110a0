"""The rules choose among the plans of a product as fast a one as they did where `fusec tune` measured all of them.

Each measured call is planned on tensors without memory, as for an H200; nothing runs. How fast a plan is, is what was
measured then, see docs/tuning.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from benchmarks.measured_calls import NOW, TUNING, planned
from fusec.runtime.select.tables import BY_RULE
from fusec.testing.cases import Case

SLOWER = 1.13
"""How much longer what the rules take may last than the best plan with the best tile; the first call is known."""

KNOWN = {("linear", 16): 1.21}

LATER = {("qkv_rope", 1), ("qkv_rope", 16)}
"""Calls that take a plan of which these files know nothing: see h200-2026-11-30-rope_and_short_rows.json, where it is
measured beside the library, which was the best before."""


@dataclass(frozen=True)
class Measured:
    """A call, and the microseconds of every plan with the tile of the rules, as parts of those of the best choice."""

    case: Case
    rows: int
    plans: dict[str, float]

    def __str__(self) -> str:
        return f"{self.case.op} {self.rows}x{self.case.extents['K']}"


def measured() -> Iterator[Measured]:
    for path in sorted(TUNING.glob("*.json")):
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
    if (call.case.op, call.rows) in LATER:
        assert plan not in call.plans
        return
    assert call.plans[plan] <= KNOWN.get((call.case.op, call.rows), SLOWER)


def by_rule(case: Case) -> str:
    """The plan that the rules take for a call, on a device that is not at hand."""
    return planned(case, BY_RULE).tuned
