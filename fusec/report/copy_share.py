"""How near ops come to the rate of a copy: a line for each, with a dot for the op and one for each peer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from fusec.report.picture import Data, Picture, short
from fusec.report.results import OWN, Measured, Run
from fusec.report.style import GRID, INK, MUTED, colour, foot, key, marker, place, sheet

LARGE = 16 * 2**20
"""Bytes from which the rate of memory decides, and not how long a launch takes."""

LINE = 0.235
"""Inches from one line to the next."""

LEFT, WIDE, RIGHT = 2.75, 4.6, 1.15
"""Inches to the left of the axes, of the axes, and to the right of them."""


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
    best = min((case.times(peer) for peer in who[1:]), default=1.0)
    shares = {each: short(run.share(case, each)) for each in who}
    return {"op": case.op, "size": case.size, "shares": shares, "times": short(best)}


def draw(data: Data) -> Figure:
    """Lines from top to bottom, those of an op together."""
    lines: Sequence[Mapping[str, Any]] = data["lines"]
    heights = _heights(lines)
    bottom = heights[-1] + 0.7
    high = (bottom + 0.6) * LINE
    width, height = LEFT + WIDE + RIGHT, high + 1.75
    figure = sheet(width, height, data["title"], "Bytes an op must move ÷ its time, as a share of the rate of a copy.")
    axes = place(figure, LEFT, 0.68, WIDE, high)
    axes.set_ylim(bottom, -0.6)
    axes.set_xlim(0, max(1.05, *(share * 1.02 for line in lines for share in line["shares"].values())))
    axes.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    axes.set_xticklabels(["0", "25%", "50%", "75%", "a copy"])
    axes.grid(axis="x")
    axes.axvline(1, color=MUTED, linewidth=1)
    axes.set_yticks(heights)
    axes.set_yticklabels([line["size"] for line in lines])
    told: set[str] = set()
    for up, line in zip(heights, lines, strict=True):
        _draw_line(axes, up, line)
        _beside(axes, up, -LEFT / WIDE + 0.03, "" if line["op"] in told else line["op"], "left", INK, "bold")
        _beside(axes, up, 1 + (RIGHT - 0.15) / WIDE, f"{line['times']:.2f}×", "right", INK)
        told.add(line["op"])
    names = dict.fromkeys(who for line in lines for who in line["shares"])
    key(figure, LEFT + 0.05, height - 0.88, names)
    across = (width - 0.15) / width
    figure.text(across, 1 - 0.88 / height, "best other ÷ fusec", ha="right", va="center", fontsize=8.5, color=MUTED)
    foot(figure, data["about"])
    return figure


def _heights(lines: Sequence[Mapping[str, Any]]) -> list[float]:
    """Where each line stands; between two ops, of which one has several, is some room."""
    found = [0.0]
    counts = Counter(line["op"] for line in lines)
    for above, line in pairwise(lines):
        apart = above["op"] != line["op"] and max(counts[above["op"]], counts[line["op"]]) > 1
        found.append(found[-1] + (1.4 if apart else 1))
    return found


def _draw_line(axes: Axes, up: float, line: Mapping[str, Any]) -> None:
    shares = line["shares"]
    axes.plot([min(shares.values()), max(shares.values())], [up, up], color=GRID, linewidth=2.4, zorder=1)
    for who, share in reversed(shares.items()):
        size, above = (7.5, 3) if who == OWN else (5.2, 2)
        axes.plot(
            share,
            up,
            marker=marker(who),
            color=colour(who),
            markersize=size,
            markeredgewidth=0,
            linestyle="none",
            zorder=above,
        )


def _beside(axes: Axes, up: float, across: float, text: str, side: str, ink: str, weight: str = "normal") -> None:
    """A word at the height of a line, beside the axes."""
    axes.annotate(
        text,
        (across, up),
        xycoords=("axes fraction", "data"),
        va="center_baseline",
        ha=side,
        color=ink,
        fontweight=weight,
    )
