"""What the compiler makes of the shipped specs, once for all tests of a process that ask for all of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fusec.diagnostics import Source
from fusec.driver.compile import compile_file
from fusec.driver.record import FileRecord

SPECS = Path(__file__).resolve().parents[2] / "specs"


@cache
def compiled_once(source: Source, folder: Path | None) -> FileRecord:
    """As `compile_file`, whose results nobody changes."""
    return compile_file(source, folder)
