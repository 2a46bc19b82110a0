"""What was measured of the ops, from the raw results under benchmarks/: a table per op."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

RESULTS = (
    "benchmarks/rows/results/h200-2026-11-21.json",
    "benchmarks/contractions/results/h200-2026-11-21.json",
    "benchmarks/contractions/results/h200-2026-11-21-overlapping.json",
)
"""Raw results whose cases are named by the op. Of a case that is in several, the last counts."""

GRADIENTS = "benchmarks/results/h200-2026-11-30-columns.json"
"""Those of the gradients of norms, whose cases are named by the norm."""

CALLED = {"rmsnorm_rope": "fused_rmsnorm_rope", "gated_mlp": "fused_gated_mlp"}
"""Ops that the benchmarks call otherwise."""

SHORT = 15.0
"""Microseconds below which a copy is no measure: its launch takes as long."""

WIDEST = 2.5
"""As many times as long as ours a bar may be; a longer one is drawn as cut off."""

PEERS = {"compile": "torch.compile", "torch.compile": "torch.compile", "liger": "Liger", "F": "torch.nn.functional"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One case: how long each candidate takes, in microseconds, and the run it was measured in."""

    size: str
    times: dict[str, float]
    source: str
    nbytes: int | None

    @property
    def ours(self) -> float:
        return self.times["fusec"]


@cache
def measured() -> dict[str, list[Figure]]:
    """The figures of every op that has some."""
    cases: dict[str, Figure] = {}
    for source in RESULTS:
        for result in json.loads((ROOT / source).read_text(encoding="utf-8"))["results"]:
            if "fusec" in result["times"]:
                cases[result["case"]] = _figure(result, source)
    for case, result in json.loads((ROOT / GRADIENTS).read_text(encoding="utf-8"))["cases"].items():
        op, _, size = case.partition(" ")
        times = {who: time for who, time in result["microseconds"].items() if who != "copy"}
        cases[f"{op}_gradient {size}"] = Figure(size, times, GRADIENTS, None)
    found: dict[str, list[Figure]] = {}
    for case, figure in cases.items():
        name = case.partition(" ")[0]
        found.setdefault(CALLED.get(name, name), []).append(figure)
    return found


def _figure(result: dict[str, Any], source: str) -> Figure:
    return Figure(result["case"].partition(" ")[2], result["times"], source, result.get("nbytes"))


def figure_of(case: str) -> Figure:
    """The figure of a case by its name in the raw results."""
    name, _, size = case.partition(" ")
    (figure,) = (each for each in measured()[CALLED.get(name, name)] if each.size == size)
    return figure


@cache
def about(source: str) -> dict[str, Any]:
    """The device, the versions and the command of a run."""
    return dict(json.loads((ROOT / source).read_text(encoding="utf-8"))["about"])


def table(op: str) -> list[str]:
    """The figures of an op as lines of Markdown, none where nothing was measured."""
    figures = measured().get(op, [])
    if not figures:
        return []
    peers = list(dict.fromkeys(peer for figure in figures for peer in figure.times if peer != "fusec"))
    copied = any(figure.nbytes for figure in figures)
    heads = ["size", "fusec", *(["of a copy"] if copied else []), *(PEERS.get(peer, peer) for peer in peers)]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    for figure in figures:
        row = [figure.size, f"**{figure.ours:.1f}**", *([share(figure)] if copied else [])]
        row += [_against(figure.times[peer], figure.ours) if peer in figure.times else "-" for peer in peers]
        lines.append(f"| {' | '.join(row)} |")
    sources = list(dict.fromkeys(figure.source for figure in figures))
    run = about(sources[0])
    lines += ["", f"Microseconds of device time on an {run['device'].removeprefix('NVIDIA ')}, bf16, cold cache,"]
    lines.append(f"torch {run['torch'].partition('+')[0]}, Triton {run['triton']}; in brackets how many times as long.")
    lines.append(f"Raw: {', '.join(f'`{source}`' for source in sources)}.")
    return lines


def share(figure: Figure) -> str:
    """The least bytes of a call over its time, as a part of the rate of a copy; of a short call that says nothing."""
    if figure.nbytes is None or figure.ours < SHORT:
        return "-"
    return f"{figure.nbytes / figure.ours * 1e6 / about(figure.source)['copy_bytes_per_s']:.2f}"


def _against(time: float, ours: float) -> str:
    return f"{time:.1f} ({time / ours:.2f}x)"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put figures in place of `{{ bars CASE }}`, `{{ table OP }}`, `{{ ratio CASE PEER }}` and `{{ share CASE }}`."""
    markdown = re.sub(r"\{\{ share (.+?) \}\}", lambda found: share(figure_of(found[1])), markdown)
    markdown = re.sub(r"\{\{ ratio ([^}]+?)\s(\S+) \}\}", lambda found: ratio(*found.groups()), markdown)
    markdown = re.sub(r"\{\{ bars (.+?) \}\}", lambda found: bars(found[1]), markdown)
    return re.sub(r"\{\{ table (\w+) \}\}", lambda found: "\n".join(table(found[1])), markdown)


def ratio(case: str, peer: str) -> str:
    """How many times as long as ours a peer takes."""
    figure = figure_of(" ".join(case.split()))
    return f"{figure.times[peer] / figure.ours:.2f}"


def bars(case: str) -> str:
    """The candidates of a case as bars, the fastest first."""
    figure = figure_of(case)
    times = sorted(figure.times.items(), key=lambda each: each[1])
    longest = min(times[-1][1], WIDEST * figure.ours)
    rows = "".join(
        f'<div class="{"ours" if peer == "fusec" else "cut" if time > longest else "peer"}">'
        f"<span>{PEERS.get(peer, peer)}</span>"
        f'<i style="width:{min(100, 100 * time / longest):.1f}%"></i><b>{time:.1f} us</b></div>'
        for peer, time in times
    )
    return f'<div class="bars" role="img" aria-label="Times of {case}">{rows}</div>'
