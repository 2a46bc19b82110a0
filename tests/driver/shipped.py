"""What the compiler makes of the shipped specs, once for all tests of a process that ask for all of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fusec.diagnostics import Source
from fusec.driver.compile import compile_planned, record
from fusec.driver.plan import Planned, plan_source
from fusec.driver.record import FileRecord

SPECS = Path(__file__).resolve().parents[2] / "specs"


@cache
def planned_once(source: Source, folder: Path | None) -> Planned:
    """As `plan_source`, whose results nobody changes."""
    return plan_source(source, folder)


@cache
def compiled_once(source: Source, folder: Path | None) -> FileRecord:
    """As `compile_file`."""
    return record(source, compile_planned(source, planned_once(source, folder)))
