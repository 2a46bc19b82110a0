"""Tables and progress for people: colours and bars on a terminal, plain text and silence everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fusec.driver import build

PLAIN_WIDTH = 160
"""Columns of a table that goes to a file or a pipe, where there is no terminal to fit."""


def print_table(columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> None:
    """A table on standard output; a column is its title and whether it holds numbers. `notes` follow, a line each."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False, markup=False, emoji=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, numbers in columns:
        table.add_column(title, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for note in notes:
        console.print(note)


@contextmanager
def progress_bars() -> Iterator[build.Progress]:
    """Shows the phases of a build on standard error while entered, when that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield build.silent
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks = {phase: bars.add_task(phase.value, total=None, visible=False) for phase in build.Phase}

        def show(phase: build.Phase, done: int, total: int) -> None:
            bars.update(tasks[phase], completed=done, total=total, visible=total > 0)

        yield show
