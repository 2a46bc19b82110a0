"""Products under the ceilings of a device: the rate of a copy, and that of the library's largest products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import atan2, degrees

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from fusec.report.picture import Data, Picture, short
from fusec.report.results import OWN, Run
from fusec.report.style import INK, WHO, foot, place, sheet

WIDE, HIGH = 6.2, 3.9
"""Inches of the axes."""

COLOURS = tuple(dict.fromkeys(WHO.values()))
"""Here they stand for ops."""

OF_BITS = {16: ("bf16", "f16"), 8: ("f8e4m3", "i8")}
"""The ceilings of operands of so many bits."""


def roofline(run: Run, name: str) -> Picture | None:
    """Every product of the op itself. None without products, or without ceilings."""
    if not run.products or not run.ceilings or not run.copy_rate:
        return None
    ops: dict[str, list[list[float]]] = {}
    for case in sorted(run.products, key=lambda case: case.flops / case.bytes):
        rate = case.flops / case.device[OWN] / 1e6
        ops.setdefault(case.op, []).append([short(case.flops / case.bytes), short(rate)])
    bits = {case.bits for case in run.products}
    kinds = {kind for each in bits for kind in OF_BITS.get(each, ())}
    ceilings = {kind: short(rate) for kind, rate in run.ceilings.items() if kind in kinds}
    data = {"ops": ops, "copy": short(run.copy_rate / 1e12), "ceilings": ceilings, "about": run.made_with}
    return Picture(name, "The rate of products under the measured ceilings of the device.", data, draw)


def draw(data: Data) -> Figure:
    """Operations per byte to the right, rate upwards, both in powers of two."""
    ops: Mapping[str, Sequence[Sequence[float]]] = data["ops"]
    width, height = WIDE + 1.0, HIGH + 1.85
    words = "Both ceilings are measured on this device: a copy of memory, and the library's largest product."
    figure = sheet(width, height, "Roofline", words)
    axes = place(figure, 0.75, 0.9, WIDE, HIGH)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    xs = [x for points in ops.values() for x, _ in points]
    ys = [y for points in ops.values() for _, y in points]
    left, right = min(xs) / 1.6, max(xs) * 1.5
    low, high = min(ys) / 1.8, max([*data["ceilings"].values(), *ys]) * 1.7
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    _ceilings(axes, data, left, right)
    for points, ink in zip(ops.values(), _cycle(len(ops)), strict=True):
        axes.plot(*zip(*points, strict=True), color=ink, linewidth=1, alpha=0.35)
        axes.plot(
            *zip(*points, strict=True), color=ink, marker="o", markersize=4.6, markeredgewidth=0, linestyle="none"
        )
    _names(axes, list(ops))
    _marks(axes)
    axes.grid()
    axes.set_xlabel("operations per byte that the call must move")
    axes.set_ylabel("10¹² operations a second")
    foot(figure, data["about"])
    return figure


def _cycle(count: int) -> list[str]:
    return [COLOURS[at % len(COLOURS)] for at in range(count)]


def _ceilings(axes: Axes, data: Data, left: float, right: float) -> None:
    copy, ceilings = data["copy"], data["ceilings"]
    for kind, rate in ceilings.items():
        axes.plot([rate / copy, right], [rate, rate], color=INK, linewidth=1.6, zorder=1)
        axes.annotate(
            f"the library, {kind}: {rate:,.0f}",
            (right, rate),
            xytext=(-2, 4),
            textcoords="offset points",
            ha="right",
            color=INK,
        )
    top = max(ceilings.values()) / copy
    axes.plot([left, top], [left * copy, top * copy], color=INK, linewidth=1.6, zorder=1)
    (x0, y0), (x1, y1) = (axes.transData.transform((x, x * copy)) for x in (left, top))
    at = left * 2.2
    axes.annotate(
        f"a copy: {copy:.2f} TB/s",
        (at, at * copy),
        xytext=(-4, 4),
        textcoords="offset points",
        rotation=45 if x1 == x0 else _angle(x1 - x0, y1 - y0),
        rotation_mode="anchor",
        color=INK,
    )


def _angle(across: float, up: float) -> float:
    return degrees(atan2(up, across))


def _names(axes: Axes, ops: Sequence[str]) -> None:
    """Whose dots are whose, in the corner that the ceilings leave free."""
    for at, (op, ink) in enumerate(zip(ops, _cycle(len(ops)), strict=True)):
        up = 0.3 + (len(ops) - 1 - at) * 0.18
        axes.annotate(op, (0.985, up / HIGH), xycoords="axes fraction", ha="right", va="center", fontsize=9, color=ink)


def _marks(axes: Axes) -> None:
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        marks = [4.0**power for power in range(-2, 9) if limits[0] <= 4.0**power <= limits[1]]
        axis.set_major_locator(FixedLocator(marks))
        axis.set_minor_locator(NullLocator())
        axis.set_ticklabels([f"{mark:g}" for mark in marks])
