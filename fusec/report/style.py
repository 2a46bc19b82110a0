"""How pictures look: one palette for light and dark pages, few lines, and text that stays text.

Figures are drawn in the colours of a light page. The SVG carries a style sheet that exchanges them where the reader's
surroundings are dark; a program that knows no style sheets shows the light ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fusec.report.results import AROUND

PAGE, INK, MUTED, GRID = "#ffffff", "#1f2328", "#59636e", "#d8dee4"
FAINT = "#f3f5f7"

WHO = {
    "fusec": "#0a5fa8",
    "fusec fp8": "#0a5fa8",
    "torch.compile": "#c2410c",
    "torch.compile reduce-overhead": "#c2410c",
    "torch.compile max-autotune": "#c2410c",
    "eager": "#6e7781",
    "HF eager": "#6e7781",
    "PyTorch": "#c2410c",
    "torch.nn.functional": "#0f7b5f",
    "cuBLAS": "#0f7b5f",
    AROUND: "#0f7b5f",
    "Liger": "#a03a8c",
    "quack": "#9a6700",
    "FlashInfer": "#6639ba",
    "cuDNN": "#4d7c0f",
    "CUDA C++": "#9a6700",
    "seed": "#a03a8c",
    "seed, Triton": "#a03a8c",
    "seed, CUDA C++": "#6639ba",
}
"""Who is drawn in which colour. Blue, orange, green and purple stay apart for every kind of colour blindness."""

SHORT = {
    "torch.nn.functional": "torch.nn.F",
    AROUND: "cuBLAS + rest",
    "torch.compile reduce-overhead": "reduce-overhead",
    "torch.compile max-autotune": "max-autotune",
}
"""Names for where there is little room."""

DARK = {
    PAGE: "#0d1117",
    INK: "#e6edf3",
    MUTED: "#9198a1",
    GRID: "#30363d",
    FAINT: "#161b22",
    "#0a5fa8": "#58a6ff",
    "#c2410c": "#f0883e",
    "#6e7781": "#8b949e",
    "#0f7b5f": "#3fb98f",
    "#a03a8c": "#e389d0",
    "#9a6700": "#d4a72c",
    "#6639ba": "#b392f0",
    "#4d7c0f": "#a3d05c",
}
"""What each colour becomes on a dark page."""

MARKERS = {
    **{"fusec": "o", "torch.compile": "s", "eager": "X", "PyTorch": "s", "torch.nn.functional": "v"},
    **{"cuBLAS": "v", AROUND: "v"},
    **{"fusec fp8": "h", "HF eager": "X", "torch.compile reduce-overhead": "p", "torch.compile max-autotune": "H"},
    **{"CUDA C++": "^", "seed": "D", "seed, Triton": "D", "seed, CUDA C++": "P"},
    **{"Liger": "D", "quack": "^", "FlashInfer": "P", "cuDNN": "<"},
}
"""A form beside each colour, for those who see none."""

FONTS = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"

SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fusec",
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.minor.visible": False,
    "ytick.major.size": 0,
    "figure.facecolor": PAGE,
    "savefig.facecolor": PAGE,
}


_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)


@contextmanager
def styled() -> Iterator[None]:
    """The settings of all our pictures, while entered."""
    with matplotlib.rc_context(SETTINGS):
        yield


def colour(who: str) -> str:
    """The colour of a candidate; of one that nobody foresaw, that of text."""
    return WHO.get(who, MUTED)


def marker(who: str) -> str:
    """The form of a candidate's dots."""
    return MARKERS.get(who, ">")


def name_of(who: str) -> str:
    """A candidate as pictures call it, where there is little room."""
    return SHORT.get(who, who)


def sheet(width: float, height: float, title: str, words: str) -> Figure:
    """An empty picture of so many inches with a title and, below it, what is measured and in which unit."""
    figure = Figure(figsize=(width, height))
    figure.text(0.15 / width, 1 - 0.14 / height, title, fontsize=13, fontweight="bold", va="top")
    figure.text(0.15 / width, 1 - 0.44 / height, words, fontsize=9.5, color=MUTED, va="top")
    return figure


def foot(figure: Figure, words: str) -> None:
    """What the figures were measured with, in the lower left corner."""
    width, height = figure.get_size_inches()
    figure.text(0.15 / width, 0.12 / height, words, fontsize=7.5, color=MUTED, va="bottom")


def place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes whose frame is given in inches from the lower left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def spread(wanted: Mapping[str, float], gap: float) -> dict[str, float]:
    """Where labels go that want to stand at these heights: from the lowest up, none nearer to the next than `gap`."""
    found: dict[str, float] = {}
    for name, height in sorted(wanted.items(), key=lambda each: each[1]):
        found[name] = max([height, *(below + gap for below in found.values())])
    return found


def key_lines(names: Iterable[str], room: float) -> list[list[str]]:
    """Names in as many lines as they need in so many inches."""
    found: list[list[str]] = [[]]
    for who in names:
        if found[-1] and sum(map(key_room, (*found[-1], who))) > room:
            found.append([])
        found[-1].append(who)
    return found


def key_room(who: str) -> float:
    """The inches of a name with its form."""
    return 0.42 + 0.075 * len(name_of(who))


def key(figure: Figure, left: float, up: float, names: Iterable[str]) -> None:
    """Names in their colours behind their forms, in a line that begins so many inches from the lower left corner."""
    width, height = figure.get_size_inches()
    for who in names:
        dot = Line2D([left / width], [(up + 0.005) / height], marker=marker(who), color=colour(who), markersize=5.5)
        dot.set(markeredgewidth=0, linestyle="none", figure=figure)
        figure.add_artist(dot)
        weight = "bold" if who == "fusec" else "normal"
        figure.text(
            (left + 0.1) / width, up / height, name_of(who), color=colour(who), fontsize=9, va="center", weight=weight
        )
        left += key_room(who)


def to_svg(figure: Figure, words: str, data: str) -> str:
    """A picture as text, the same for the same data, which is kept in it; `words` describe it to those who see none."""
    out = StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = _METADATA.sub("", text[text.index("<svg") :]).replace("'DejaVu Sans'", FONTS)
    head, _, body = text.partition(">")
    words, data = (each.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for each in (words, data))
    title, kept = f"<title>{words}</title>", f"<metadata>{data}</metadata>"
    return f'{head} role="img">\n{title}\n{kept}\n<style>{_dark_rules()}</style>{body}'


def _dark_rules() -> str:
    rules = "".join(
        f'[style*="fill: {light}"]{{fill:{dark}!important}}[style*="stroke: {light}"]{{stroke:{dark}!important}}'
        for light, dark in DARK.items()
    )
    return f"@media (prefers-color-scheme: dark){{{rules}}}"
