"""What a call costs the host: a line for each op, with a dot for it and one for what it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from fusec.report.picture import Data, Picture, short
from fusec.report.results import OWN, Run
from fusec.report.style import GRID, INK, colour, foot, key, marker, place, sheet

LINE = 0.25
LEFT, WIDE, RIGHT = 2.75, 4.6, 1.0


def host_cost(run: Run, name: str) -> Picture | None:
    """Microseconds of the host for a call, of every op at its fewest rows. None where nobody measured them."""
    fewest: dict[str, Any] = {}
    for case in sorted(run.cases, key=lambda case: case.rows):
        if OWN in case.host and len(case.host) > 1:
            times = {
                who: short(us) for who, us in case.host.items() if who in (OWN, "PyTorch", "eager", "torch.compile")
            }
            fewest.setdefault(case.op, {"op": case.op, "size": case.size, "us": times})
    if not fewest:
        return None
    data = {"lines": list(fewest.values()), "about": run.made_with}
    return Picture(name, "Microseconds that a call costs the host.", data, draw)


def draw(data: Data) -> Figure:
    """Lines from top to bottom, microseconds from zero."""
    lines: Sequence[Mapping[str, Any]] = data["lines"]
    high = LINE * (len(lines) + 0.4)
    width, height = LEFT + WIDE + RIGHT, high + 2.0
    figure = sheet(
        width, height, "What a call costs the host", "Microseconds of a warm call until Python goes on. Left is better."
    )
    axes = place(figure, LEFT, 0.93, WIDE, high)
    axes.set_ylim(len(lines) - 0.3, -0.7)
    axes.set_xlim(0, max(us for line in lines for us in line["us"].values()) * 1.04)
    axes.set_yticks(range(len(lines)))
    axes.set_yticklabels([line["size"] for line in lines])
    axes.set_xlabel("microseconds")
    axes.grid(axis="x")
    for up, line in enumerate(lines):
        times = line["us"]
        axes.plot([min(times.values()), max(times.values())], [up, up], color=GRID, linewidth=2.4, zorder=1)
        for who, us in times.items():
            axes.plot(
                us, up, marker=marker(who), color=colour(who), markersize=6.5, markeredgewidth=0, linestyle="none"
            )
        for across, text, side, weight in (
            (-LEFT / WIDE + 0.03, line["op"], "left", "bold"),
            (1 + (RIGHT - 0.15) / WIDE, f"{times[OWN]:.1f} us", "right", "normal"),
        ):
            where = (across, up)
            axes.annotate(
                text,
                where,
                xycoords=("axes fraction", "data"),
                va="center_baseline",
                ha=side,
                color=INK,
                fontweight=weight,
            )
    key(figure, LEFT + 0.05, height - 0.88, dict.fromkeys(who for line in lines for who in line["us"]))
    foot(figure, data["about"])
    return figure
