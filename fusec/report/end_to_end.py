"""Steps of whole models: how many times as long as with our ops they take otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fusec.report.picture import Data, Picture, short
from fusec.report.results import OWN, Run
from fusec.report.style import GRID, INK, MUTED, colour, foot, key, marker, place, sheet

LINE = 0.25
"""Inches from one line to the next."""

LEFT, WIDE, RIGHT = 3.1, 4.6, 1.15
"""Inches to the left of the axes, of the axes, and to the right of them."""


def end_to_end(run: Run, name: str) -> Picture | None:
    """Every step of every model, called from Python and as a CUDA graph. None where no model was timed."""
    lines = [
        {"model": step.model, "step": f"{step.step}, {how}", "ms": {who: short(ms) for who, ms in times.items()}}
        for step in run.steps
        for how, times in (("called", step.wall), ("CUDA graph", step.graph))
        if OWN in times and len(times) > 1
    ]
    if not lines:
        return None
    words = "How many times as long as with fusec a step of a model takes otherwise."
    return Picture(name, words, {"lines": lines, "about": run.made_with}, draw)


def draw(data: Data) -> Figure:
    """Lines from top to bottom, ratios to the right of 1."""
    lines: Sequence[Mapping[str, Any]] = data["lines"]
    high = LINE * (len(lines) + 0.4)
    width, height = LEFT + WIDE + RIGHT, high + 1.75
    figure = sheet(
        width, height, "Whole models", "Time of a step ÷ its time with fusec. Right of the line fusec is faster."
    )
    axes = place(figure, LEFT, 0.68, WIDE, high)
    axes.set_ylim(len(lines) - 0.3, -0.7)
    ratios = [ms / line["ms"][OWN] for line in lines for ms in line["ms"].values()]
    axes.set_xlim(min(0.9, min(ratios) * 0.97), max(ratios) * 1.04)
    axes.set_yticks(range(len(lines)))
    axes.set_yticklabels([line["step"] for line in lines])
    axes.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}×")
    axes.grid(axis="x")
    axes.axvline(1, color=colour(OWN), linewidth=1.6)
    told: set[str] = set()
    for up, line in enumerate(lines):
        _draw_line(axes, up, line["ms"])
        _beside(axes, up, -LEFT / WIDE + 0.03, "" if line["model"] in told else line["model"], "left", "bold")
        _beside(axes, up, 1 + (RIGHT - 0.15) / WIDE, f"{line['ms'][OWN]:.2f} ms", "right", "normal")
        told.add(line["model"])
    key(figure, LEFT + 0.05, height - 0.88, dict.fromkeys(who for line in lines for who in line["ms"]))
    figure.text(
        (width - 0.15) / width, 1 - 0.88 / height, "with fusec", ha="right", va="center", fontsize=8.5, color=MUTED
    )
    foot(figure, data["about"])
    return figure


def _draw_line(axes: Axes, up: float, times: Mapping[str, float]) -> None:
    ratios = {who: ms / times[OWN] for who, ms in times.items()}
    axes.plot([min(ratios.values()), max(ratios.values())], [up, up], color=GRID, linewidth=2.4, zorder=1)
    for who, ratio in ratios.items():
        axes.plot(ratio, up, marker=marker(who), color=colour(who), markersize=6.5, markeredgewidth=0, linestyle="none")


def _beside(axes: Axes, up: float, across: float, text: str, side: str, weight: str) -> None:
    place_of_text = (across, up)
    coordinates = ("axes fraction", "data")
    axes.annotate(
        text, place_of_text, xycoords=coordinates, va="center_baseline", ha=side, color=INK, fontweight=weight
    )
