"""How many times as long as an op its peers take, size by size: a small panel for each op."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, log
from typing import Any, TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from fusec.report.picture import Data, Picture, short
from fusec.report.results import OWN, Measured, Run
from fusec.report.style import colour, foot, marker, name_of, place, sheet, spread

Points: TypeAlias = Sequence[Sequence[float]]

FEWEST = 3
"""Sizes from which a panel is worth its room."""

ACROSS = 3
WIDE, HIGH = 2.45, 1.7
"""Inches of a panel."""

BESIDE, BETWEEN = 1.3, 0.74
"""Inches to the right of a panel, for names, and from one panel to that below it."""

TIMES, NEAR = (0.5, 1, 1.5, 2, 3, 5, 8, 15, 30), (0.5, 0.75, 1, 1.25, 1.5, 1.75)
"""Marks of the axis of ratios, and those where all are near to 1."""

SIZES = {1e4: "10 kB", 1e6: "1 MB", 1e8: "100 MB", 1e10: "10 GB"}
FINER = {1e5: "100 kB", 1e6: "1 MB", 1e7: "10 MB", 3e7: "30 MB", 1e8: "100 MB", 3e8: "300 MB", 1e9: "1 GB"}
ROWS = (1, 16, 256, 4096)


def speedups(run: Run, products: bool, name: str) -> Picture | None:
    """Every peer at every size, of ops that multiply or of those that do not. None where there are too few sizes."""
    cases = run.products if products else run.row_ops
    panels = _panels(cases, (lambda case: case.rows) if products else (lambda case: case.bytes))
    if not panels:
        return None
    kind = "products over their numbers of rows" if products else "row ops over the bytes they move"
    data = {"panels": panels, "products": products, "about": run.made_with}
    return Picture(name, f"How many times as long as fusec others take: {kind}.", data, draw)


def _panels(cases: Sequence[Measured], x: Callable[[Measured], int]) -> dict[str, Any]:
    found: dict[str, dict[str, list[list[float]]]] = {}
    for case in sorted(cases, key=x):
        for who in case.peers:
            if who != "eager":
                found.setdefault(case.op, {}).setdefault(who, []).append([x(case), short(case.times(who))])
    kept = {op: peers for op, peers in found.items() if max(map(len, peers.values())) >= FEWEST}
    return dict(sorted(kept.items(), key=lambda panel: -max(map(len, panel[1].values()))))


def draw(data: Data) -> Figure:
    """Panels in rows, all with one axis of ratios."""
    panels: Mapping[str, Mapping[str, Points]] = data["panels"]
    across = min(ACROSS, len(panels))
    width = 0.6 + across * (WIDE + BESIDE)
    height = 1.0 + ceil(len(panels) / across) * (HIGH + BETWEEN)
    along = "rows of the input" if data["products"] else "bytes the call must move"
    words = f"Above the line fusec is faster. Along the bottom: {along}."
    best = "" if data["products"] else " Strong: the best of the others at that size."
    figure = sheet(
        width, height, f"{'Products' if data['products'] else 'Row ops'}: time of others ÷ time of fusec", words + best
    )
    ratios = [y for peers in panels.values() for points in peers.values() for _, y in points]
    limits = (min(0.92, min(ratios) * 0.97), max(1.6, max(ratios) * 1.06))
    for at, (op, peers) in enumerate(panels.items()):
        left = 0.55 + at % across * (WIDE + BESIDE)
        bottom = height - 0.95 - (at // across) * (HIGH + BETWEEN) - HIGH
        _panel(place(figure, left, bottom, WIDE, HIGH), op, peers, limits, data["products"])
    foot(figure, data["about"])
    return figure


def _panel(axes: Axes, op: str, peers: Mapping[str, Points], limits: tuple[float, float], products: bool) -> None:
    axes.set_title(op, pad=5)
    axes.set_yscale("log")
    axes.set_xscale("log", base=2 if products else 10)
    axes.set_ylim(*limits)
    marks = [mark for mark in (NEAR if limits[1] < 2 else TIMES) if limits[0] <= mark <= limits[1]]
    axes.yaxis.set_major_locator(FixedLocator(marks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_yticklabels([f"{mark:g}×" for mark in marks])
    axes.grid(axis="y")
    axes.axhline(1, color=colour(OWN), linewidth=1.6)
    best = {x: min(y for points in peers.values() for at, y in points if at == x) for x in _xs(peers)}
    for who, points in peers.items():
        if products:
            axes.plot(*zip(*points, strict=True), linewidth=1.4, color=colour(who))
        for x, y in points:
            strong = products or y == best[x]
            axes.plot(
                x,
                y,
                marker=marker(who),
                color=colour(who),
                markersize=4.6 if strong else 4,
                markeredgewidth=0,
                alpha=1 if strong else 0.3,
                zorder=3 if strong else 2,
            )
    _marks_of_x(axes, _xs(peers), products)
    _names(axes, {who: points[-1][1] for who, points in peers.items()}, limits)


def _xs(peers: Mapping[str, Points]) -> list[float]:
    return [x for points in peers.values() for x, _ in points]


def _marks_of_x(axes: Axes, xs: Sequence[float], products: bool) -> None:
    wide = max(xs) > 1e3 * min(xs)
    names: Mapping[float, str] = {mark: str(mark) for mark in ROWS} if products else SIZES if wide else FINER
    marks = [mark for mark in names if min(xs) * 0.6 <= mark <= max(xs) * 1.7]
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator(marks))
    axes.set_xticklabels([names[mark] for mark in marks])


def _names(axes: Axes, heights: Mapping[str, float], limits: tuple[float, float]) -> None:
    """The names of the peers beside their last points, and that of the op beside its line."""
    low, high = limits
    inches = {who: log(ratio / low) / log(high / low) * HIGH for who, ratio in {OWN: 1.0, **heights}.items()}
    for who, up in spread(inches, 0.15).items():
        axes.annotate(
            name_of(who),
            (1.03, up / HIGH),
            xycoords="axes fraction",
            va="center",
            fontsize=8.2,
            color=colour(who),
            fontweight="bold" if who == OWN else "normal",
        )
