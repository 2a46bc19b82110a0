"""`fusec cache`: what earlier builds left in this user's cache folder, and its removal."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from fusec.commands.outcome import DebugOption, JsonOption, print_json, reporting
from fusec.commands.table import Column, print_table
from fusec.driver.store import default_folder

EPILOG = """[bold]Examples[/bold]

fusec cache

fusec cache --clear

[bold]Exit codes[/bold]

0 fine · 4 a fault of fusec · 5 the folder could not be removed"""

KINDS = {
    "spec": "compiled specs",
    "gate": "registers and spills of compiled kernels",
    "variants": "variants of kernels that a file can launch",
    "loaded": "generated files of fusec.load",
    "tuning": "measurements of fusec tune that was interrupted",
}


@dataclass(frozen=True, slots=True)
class Kept:
    """One kind of results: a folder of the cache, its files and their bytes."""

    kind: str
    files: int
    bytes: int
    what: str


def run(
    clear: Annotated[bool, typer.Option("--clear", help="Remove the folder.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show what is kept between builds, or remove it. Nothing is lost but the time to make it again."""
    with reporting(as_json, debug):
        folder = default_folder()
        kept = contents(folder)
        if clear and folder.is_dir():
            shutil.rmtree(folder)
        if as_json:
            print_json({"folder": str(folder), "cleared": clear, "kept": [asdict(one) for one in kept]})
            return
        if kept and not clear:
            print_table(
                (Column("kept"), Column("files", numbers=True), Column("MiB", numbers=True), Column("what")),
                [(one.kind, str(one.files), f"{one.bytes / 2**20:.1f}", one.what) for one in kept],
            )
        total = f"{sum(one.bytes for one in kept) / 2**20:.1f} MiB"
        print(f"{folder}: {f'{total} removed' if clear else total}")


def contents(folder: Path) -> list[Kept]:
    """The kinds that a cache folder holds, by name."""
    if not folder.is_dir():
        return []
    found = []
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        sizes = [path.stat().st_size for path in part.rglob("*") if path.is_file()]
        found.append(Kept(part.name, len(sizes), sum(sizes), KINDS.get(part.name, "")))
    return found
