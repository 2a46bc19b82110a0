"""Steps of whole models: how many times as long as with our ops they take otherwise."""

from __future__ import annotations

from matplotlib.figure import Figure

from fusec.report.dumbbells import Bar, Scale, draw_bars
from fusec.report.marks import round_marks
from fusec.report.picture import Data, Picture, short
from fusec.report.results import OWN, Run


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
    bars = [
        Bar(
            line["model"],
            line["step"],
            {who: ms / line["ms"][OWN] for who, ms in line["ms"].items()},
            f"{line['ms'][OWN]:.2f} ms",
        )
        for line in data["lines"]
    ]
    ratios = [ratio for bar in bars for ratio in bar.values.values()]
    low, high = min(0.9, min(ratios) * 0.97), max(ratios) * 1.04
    scale = Scale(low, high, round_marks(low, high), lambda ratio: f"{ratio:g}×", line=1, own_line=True)
    words = "Time of a step ÷ its time with fusec. Right of the line fusec is faster."
    return draw_bars(bars, scale, "Whole models", words, "with fusec", data["about"])
