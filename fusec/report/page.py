"""A report: one HTML page with pictures and raw figures that reads nothing from elsewhere, and the figures as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

from fusec.report.copy_share import copy_share
from fusec.report.end_to_end import end_to_end
from fusec.report.host_cost import host_cost
from fusec.report.picture import Picture
from fusec.report.results import COPY, JSON, OWN, Measured, Run, to_json
from fusec.report.roofline import roofline
from fusec.report.speedup import speedups

HTML = "report.html"
"""The page, beside which its figures lie."""

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --muted: #59636e; --line: #d8dee4; --page: #ffffff; --own: #0a5fa8 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --muted: #9198a1; --line: #30363d; --page: #0d1117; --own: #58a6ff }
}
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Arial, sans-serif; color: var(--ink);
       background: var(--page); max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.5rem } h3 { font-size: 1rem; margin: 1.6rem 0 0.3rem }
svg { max-width: 100%; height: auto; display: block; margin: 1.5rem 0 }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.85rem }
th, td { padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th { color: var(--muted); font-weight: 600 }
th:first-child, td:first-child, .words th, .words td { text-align: left }
.own { color: var(--own); font-weight: 600 }
.words td { white-space: normal } .muted { color: var(--muted) }
"""


def pictures(run: Run) -> Iterator[Picture]:
    """Every picture that a run has figures for."""
    found = (
        end_to_end(run, "end-to-end"),
        copy_share(run, "rows-copy-share", "Row ops beside a plain copy"),
        speedups(run, False, "rows-speedup"),
        speedups(run, True, "products-speedup"),
        roofline(run, "roofline"),
        host_cost(run, "host-cost"),
    )
    yield from (picture for picture in found if picture is not None)


def write_report(run: Run, folder: Path) -> list[Path]:
    """Write the page and its figures into a folder, which is made if need be. Returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {JSON: to_json(run), HTML: page(run)}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def page(run: Run) -> str:
    """The whole page."""
    parts = [
        "<h1>fusec bench</h1>",
        _table(("", ""), [(name, str(value)) for name, value in run.about.items()], "words"),
        _how(run),
        *(picture.svg() for picture in pictures(run)),
        f"<h2>Figures</h2>\n<p class=muted>The times of every round are in {JSON}, which lies beside this page.</p>",
        *_figures(run),
        *_failures(run.cases),
    ]
    head = f'<meta charset="utf-8"><title>fusec bench, {escape(run.about.get("device", ""))}</title>'
    view = '<meta name="viewport" content="width=device-width">'
    return f"<!doctype html>\n<html lang=en><head>{head}{view}<style>{STYLE}</style></head>\n<body>\n" + "\n".join(
        [*parts, "</body></html>\n"]
    )


def _how(run: Run) -> str:
    ceilings = ", ".join(f"{kind} {rate:,.0f}" for kind, rate in run.ceilings.items())
    words = [
        "Device time is the median of interleaved rounds, of CUDA graphs where a call can be captured, with a cold "
        "cache. Every candidate was held to the result in f64 before it was timed. The least bytes of a call are those "
        "it is given, read once, and its results, written once.",
        f"A copy moves {run.copy_rate / 1e12:.2f} TB/s." if run.copy_rate else "",
        f"The library's largest products reach, in 10<sup>12</sup> operations a second: {ceilings}."
        if ceilings
        else "",
    ]
    return f'<p class="muted">{" ".join(word for word in words if word)}</p>'


def _figures(run: Run) -> Iterator[str]:
    """A table for each op: a line for every size, a column for every candidate; columns of nothing are left out."""
    for op in dict.fromkeys(case.op for case in run.cases if case.device):
        cases = [case for case in run.cases if case.op == op and case.device]
        who = list(dict.fromkeys(each for case in cases for each in case.device))
        head = ("size", *(f"{each} us" for each in who), "of a copy", "TFLOP/s", "host us", "error")
        rows = [_line(run, case, who) for case in cases]
        kept = [at for at in range(len(head)) if any(row[at] for row in rows)]
        table = _table([head[at] for at in kept], [[row[at] for at in kept] for row in rows])
        yield f'<h3>{escape(op)}</h3>\n<div class="wide">{table}</div>'


def _line(run: Run, case: Measured, who: Iterable[str]) -> tuple[str, ...]:
    own = case.device.get(OWN)
    return (
        case.size,
        *(_cell(case, each) for each in who),
        f"{run.share(case, OWN):.2f}" if own and (run.copy_rate or COPY in case.device) else "",
        f"{case.flops / own / 1e6:.1f}" if own and case.flops else "",
        f"{case.host[OWN]:.1f}" if OWN in case.host else "",
        f"{case.errors[OWN]:.1e}" if OWN in case.errors else "",
    )


def _cell(case: Measured, who: str) -> str:
    us = case.device.get(who)
    if us is None:
        return "failed" if who in case.failed else ""
    beside = "" if who in (OWN, COPY) or OWN not in case.device else f" ({case.times(who):.2f}×)"
    return f"{us:.1f}{beside}"


def _failures(cases: Iterable[Measured]) -> Iterator[str]:
    """Who could not do what, and why."""
    rows = [(case.op, case.size, who, why) for case in cases for who, why in case.failed.items()]
    if rows:
        yield "<h2>What could not be timed</h2>"
        yield _table(("op", "size", "who", "why"), rows, "words")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], kind: str = "") -> str:
    titles = "".join(f"<th{_own(cell)}>{escape(cell)}</th>" for cell in head)
    lines = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    top = f"<tr>{titles}</tr>\n" if titles.replace("<th></th>", "") else ""
    return f'<table class="{kind}">\n{top}{lines}\n</table>'


def _own(cell: str) -> str:
    return ' class="own"' if cell.startswith(OWN) else ""
