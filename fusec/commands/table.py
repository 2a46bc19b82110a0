"""Tables and progress for people: colours and bars on a terminal, plain text and silence everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from textwrap import wrap
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fusec.driver import build

Column: TypeAlias = tuple[str, bool]
"""A title, which may have several lines, and whether the cells below are numbers."""

PLAIN_WIDTH = 160
"""Columns of a table that goes to a file or a pipe, where there is no terminal to fit."""

GAP = "  "
"""Between two columns."""


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> None:
    """A table on standard output; `notes` follow, a line each."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    head, body = layout(columns, rows, console.width if sys.stdout.isatty() else PLAIN_WIDTH)
    for line in head:
        console.print(line, style="bold")
    for line in (*body, *notes):
        console.print(line)


def layout(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> tuple[list[str], list[str]]:
    """The lines of a table's head and those of its rows; text is wrapped where they would be wider than `width`.

    A first cell with an empty one behind it is a heading: it may run over the cells behind it.
    """
    titles = [title.split("\n") for title, _ in columns]
    narrowest = [max(map(len, title)) for title in titles]
    widths = [max([narrowest[at], *(len(row[at]) for row in rows if at or row[1])]) for at in range(len(columns))]
    while sum(widths) + len(GAP) * (len(widths) - 1) > width:
        wide = [at for at, (_, numbers) in enumerate(columns) if at and not numbers and widths[at] > narrowest[at]]
        if not wide:
            break
        widths[max(wide, key=widths.__getitem__)] -= 1
    wrapped = [[[row[0]], *map(wrap, row[1:], widths[1:])] for row in rows]
    return _lines(titles, widths, columns), [line for row in wrapped for line in _lines(row, widths, columns)]


def _lines(cells: Sequence[Sequence[str]], widths: Sequence[int], columns: Sequence[Column]) -> list[str]:
    """A row whose cells have several lines each."""
    return [_line(parts, widths, columns) for parts in zip_longest(*cells, fillvalue="")]


def _line(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    text, edge = "", 0
    for cell, size, (_, numbers) in zip(cells, widths, columns, strict=True):
        text = text.ljust(edge) + (cell.rjust(size) if numbers and cell else cell)
        edge += size + len(GAP)
    return text.rstrip()


@contextmanager
def progress_bars() -> Iterator[build.Progress]:
    """Shows the phases of a build on standard error while entered, when that is a terminal."""
    with named_bars() as show:
        yield lambda phase, done, total: show(phase.value, done, total)


@contextmanager
def named_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Shows how many of how many are done of whatever it is told of by name, as `progress_bars` does, until all are."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda name, done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=None)
            bars.update(tasks[name], completed=done, total=total, visible=done < total)

        yield show
