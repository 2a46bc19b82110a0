"""Tables and progress for people: colours and bars on a terminal, plain text and silence everywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from itertools import chain, groupby
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from fusec.driver import build


@dataclass(frozen=True, slots=True)
class Column:
    """A title, which may have several lines, whether the cells below are `numbers`, and how to do without the column.

    `elsewhere` says where else the cells are told; such a column is left out where there is no room for it.
    """

    title: str
    numbers: bool = False
    elsewhere: str | None = None


Row: TypeAlias = Sequence[str]
"""A cell for each column. A first cell with an empty one behind it is a heading: it runs over the cells behind it."""

PLAIN_WIDTH = 160
"""Columns of a table that goes to a file or a pipe, where there is no terminal to fit."""

GAP = 2
"""Spaces between two columns."""

ROOM = 24
"""The width at which a longer column that may be left out is worth having."""


def print_table(columns: Sequence[Column], rows: Sequence[Row], notes: Sequence[str] = ()) -> None:
    """A table on standard output, no wider than the terminal or what the environment says; `notes` follow, a line each.

    Notes are never broken: a path, and what one searches for, can be copied as it is.
    """
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    width = console.width if sys.stdout.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
    head, body = layout(columns, rows, width)
    for line in head:
        console.print(line, style="bold")
    for line in body:
        console.print(line)
    for note in notes:
        console.print(note)


def layout(columns: Sequence[Column], rows: Sequence[Row], width: int) -> tuple[list[str], list[str]]:
    """The lines of a table's head and those of its rows, no wider than `width` unless words would be broken.

    Columns that are told elsewhere are left out where the others leave them no room, which a last line says.
    """
    widths = [_range(at, column, rows) for at, column in enumerate(columns)]
    shown = list(range(len(columns)))
    for at, column in enumerate(columns):
        if column.elsewhere and _total([widths[i][0] for i in shown]) > width:
            shown.remove(at)
    kept = [columns[at] for at in shown]
    cut = [[row[at] for at in shown] for row in rows]
    fitted = _fitted([widths[at] for at in shown], width)
    fitted[0] += max([len(row[0]) - _span(row, fitted) for row in cut if _is_heading(row)] + [0])
    blocks = [_block(list(block), fitted, kept) for _, block in groupby(cut, _behind)]
    missing = [
        f"No room for {' '.join(column.title.split())}: {column.elsewhere}"
        for at, column in enumerate(columns)
        if at not in shown
    ]
    return _block([[column.title for column in kept]], fitted, kept), [*chain.from_iterable(blocks), *missing]


def _range(at: int, column: Column, rows: Sequence[Row]) -> tuple[int, int]:
    """The least and the most width that a column has a use for: where no word is broken, and where no line is."""
    titles, cells = column.title.split("\n"), [row[at] for row in rows if at or not _is_heading(row)]
    most = max(map(len, (*titles, *cells)))
    if column.numbers or not at:
        return most, most
    words = [word for cell in cells for word in cell.split()]
    return max(map(len, (*titles, *words))) if not column.elsewhere else min(most, ROOM), most


def _fitted(widths: Sequence[tuple[int, int]], width: int) -> list[int]:
    """Widths within their ranges that together fit `width`, if any do; the widest give way first."""
    fitted = [most for _, most in widths]
    while _total(fitted) > width and (wide := [at for at, (least, _) in enumerate(widths) if fitted[at] > least]):
        fitted[max(wide, key=fitted.__getitem__)] -= 1
    return fitted


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _is_heading(row: Row) -> bool:
    return not row[1]


def _behind(row: Row) -> int:
    """The first cell behind the first one that has text."""
    return next((at for at, cell in enumerate(row) if at and cell), len(row))


def _span(row: Row, widths: Sequence[int]) -> int:
    """The width that the first cell of a row may run over."""
    return _total(widths[: _behind(row)])


def _block(rows: Sequence[Row], widths: Sequence[int], columns: Sequence[Column]) -> list[str]:
    """The lines of rows whose first cells run over as many others."""
    behind = _behind(rows[0])
    spans = [_span(rows[0], widths), *widths[behind:]]
    table = Table.grid(padding=(0, GAP, 0, 0))
    for at, span in enumerate(spans):
        numbers = at and columns[at + behind - 1].numbers
        table.add_column(width=span, justify="right" if numbers else "left", overflow="fold", vertical="top")
    for row in rows:
        table.add_row(row[0], *row[behind:])
    plain = Console(
        width=_total(widths), file=StringIO(), color_system=None, highlight=False, markup=False, emoji=False
    )
    with plain.capture() as captured:
        plain.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


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
