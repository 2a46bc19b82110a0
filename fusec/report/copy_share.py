"""How near ops come to the rate of a copy: a line for each, with a dot for the op and one for each peer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from fusec.report.dumbbells import Bar, Scale, draw_bars
from fusec.report.picture import Data, Picture, short
from fusec.report.results import OWN, Measured, Run

LARGE = 16 * 2**20
"""Bytes from which the rate of memory decides, and not how long a launch takes."""

MARKS = {0: "0", 0.25: "25%", 0.5: "50%", 0.75: "75%", 1: "a copy"}


def copy_share(run: Run, name: str, title: str, chosen: Sequence[tuple[str, str]] = ()) -> Picture | None:
    """The share of every row op that moves much, or of the `chosen` ops and sizes. None where nothing moves much."""
    cases = [case for case in run.row_ops if case.bytes >= LARGE]
    if chosen:
        by_name = {(case.op, case.size): case for case in cases}
        cases = [by_name[each] for each in chosen]
    if not cases:
        return None
    order = list(dict.fromkeys(case.op for case in cases))
    lines = [_line(run, case) for case in sorted(cases, key=lambda case: order.index(case.op))]
    words = "The rate at which ops move their bytes, as a share of the rate of a plain copy on the same device."
    return Picture(name, words, {"title": title, "lines": lines, "about": run.made_with}, draw)


def _line(run: Run, case: Measured) -> dict[str, Any]:
    who = [OWN, *(peer for peer in case.peers if peer != "eager")]
    best = min((case.times(peer) for peer in who[1:]), default=None)
    shares = {each: short(run.share(case, each)) for each in who}
    return {"op": case.op, "size": case.size, "shares": shares, "times": None if best is None else short(best)}


def draw(data: Data) -> Figure:
    """Lines from top to bottom, those of an op together."""
    bars = [
        Bar(line["op"], line["size"], line["shares"], "" if line["times"] is None else f"{line['times']:.2f}×")
        for line in data["lines"]
    ]
    most = max(share for bar in bars for share in bar.values.values())
    scale = Scale(0, max(1.05, most * 1.02), list(MARKS), MARKS.__getitem__, line=1)
    words = "Bytes an op must move ÷ its time, as a share of the rate of a copy."
    return draw_bars(bars, scale, data["title"], words, "best other ÷ fusec", data["about"])
