"""What a call costs the host: a line for each op, with a dot for it and one for what it stands for."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from fusec.report.dumbbells import Bar, Scale, draw_bars
from fusec.report.marks import round_marks
from fusec.report.picture import Data, Picture, short
from fusec.report.results import AROUND, OWN, Run

BESIDE = (OWN, "PyTorch", "eager", "torch.nn.functional", "cuBLAS", AROUND, "torch.compile")
"""Whose calls are worth comparing: those that a program makes from Python."""


def host_cost(run: Run, name: str) -> Picture | None:
    """Microseconds of the host for a call, of every op at its fewest rows. None where nobody measured them."""
    fewest: dict[str, Any] = {}
    for case in sorted(run.cases, key=lambda case: case.rows):
        times = {who: short(case.host[who]) for who in BESIDE if who in case.host}
        if OWN in times and len(times) > 1:
            fewest.setdefault(case.op, {"op": case.op, "size": case.size, "us": times})
    if not fewest:
        return None
    data = {"lines": list(fewest.values()), "about": run.made_with}
    return Picture(name, "Microseconds that a call costs the host.", data, draw)


def draw(data: Data) -> Figure:
    """Lines from top to bottom, microseconds from zero."""
    bars = [Bar(line["op"], line["size"], line["us"], f"{line['us'][OWN]:.1f} µs") for line in data["lines"]]
    most = max(us for bar in bars for us in bar.values.values())
    scale = Scale(0, most * 1.04, round_marks(0, most), lambda us: f"{us:g} µs")
    words = "Microseconds of a warm call until Python goes on. Left is better."
    return draw_bars(bars, scale, "What a call costs the host", words, "fusec", data["about"])
