"""Lines with a dot for each candidate, joined by a bar: who lies where, of many things, from top to bottom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from fusec.report.results import OWN
from fusec.report.style import GRID, INK, MUTED, colour, foot, key, key_lines, marker, place, sheet

LINE, APART = 0.235, 0.4
"""Inches from one line to the next, and lines of room between two groups of them."""

LEFT, WIDE, RIGHT = 2.75, 4.6, 1.2
"""Inches to the left of the axes, of the axes, and to the right of them."""

HEAD, NAMES, FOOT = 0.88, 0.2, 0.72
"""Inches above the names of candidates, of a line of these, and below the axes."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A line: what it is of, at which size, where each candidate lies, and a word on the right."""

    group: str
    detail: str
    values: Mapping[str, float]
    word: str


@dataclass(frozen=True, slots=True)
class Scale:
    """The axis below: from where to where, its marks and what they are called, and a line that is worth seeing."""

    low: float
    high: float
    marks: Sequence[float]
    name: Callable[[float], str]
    line: float | None = None
    own_line: bool = False


def draw_bars(bars: Sequence[Bar], scale: Scale, title: str, words: str, right: str, about: str) -> Figure:
    """The picture of some bars; those of a group stand together, and `right` says what the words there are."""
    heights = _heights(bars)
    names = key_lines(dict.fromkeys(who for bar in bars for who in bar.values), WIDE + 0.2)
    high = (heights[-1] + 1.3) * LINE
    head = HEAD + len(names) * NAMES
    width, height = LEFT + WIDE + RIGHT, head + high + FOOT
    figure = sheet(width, height, title, words)
    axes = place(figure, LEFT, FOOT, WIDE, high)
    axes.set_ylim(heights[-1] + 0.7, -0.6)
    axes.set_xlim(scale.low, scale.high)
    axes.xaxis.set_major_locator(FixedLocator(list(scale.marks)))
    axes.set_xticklabels([scale.name(mark) for mark in scale.marks])
    axes.grid(axis="x")
    if scale.line is not None:
        axes.axvline(scale.line, color=colour(OWN) if scale.own_line else MUTED, linewidth=1.2)
    axes.set_yticks(heights)
    axes.set_yticklabels([bar.detail for bar in bars])
    told: set[str] = set()
    for up, bar in zip(heights, bars, strict=True):
        _draw_bar(axes, up, bar.values)
        _beside(
            axes, up, -LEFT / WIDE + 0.03, "" if bar.group in told else bar.group.replace(", ", ",\n"), "left", "bold"
        )
        _beside(axes, up, 1 + (RIGHT - 0.15) / WIDE, bar.word, "right", "normal")
        told.add(bar.group)
    for at, line in enumerate(names):
        key(figure, LEFT + 0.05, height - HEAD - at * NAMES, line)
    across, up = (width - 0.15) / width, 1 - HEAD / height
    figure.text(across, up, right, ha="right", va="center", fontsize=8.5, color=MUTED)
    foot(figure, about)
    return figure


def _heights(bars: Sequence[Bar]) -> list[float]:
    """Where each line stands; between two groups, of which one has several, is some room."""
    found = [0.0]
    counts = Counter(bar.group for bar in bars)
    for above, bar in pairwise(bars):
        apart = above.group != bar.group and max(counts[above.group], counts[bar.group]) > 1
        found.append(found[-1] + 1 + apart * APART)
    return found


def _draw_bar(axes: Axes, up: float, values: Mapping[str, float]) -> None:
    axes.plot([min(values.values()), max(values.values())], [up, up], color=GRID, linewidth=2.4, zorder=1)
    for who, value in reversed(list(values.items())):
        size, above = (7.5, 3) if who == OWN else (5.2, 2)
        dot = axes.plot(value, up, marker=marker(who), color=colour(who), markersize=size, zorder=above)
        dot[0].set(markeredgewidth=0, linestyle="none")


def _beside(axes: Axes, up: float, across: float, text: str, side: str, weight: str) -> None:
    """A word at the height of a line, beside the axes."""
    where, coordinates = (across, up), ("axes fraction", "data")
    axes.annotate(text, where, xycoords=coordinates, va="center_baseline", ha=side, color=INK, fontweight=weight)
