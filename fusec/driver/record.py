"""What a build keeps of a compiled spec: the text to write, and the figures of its table. Plain values only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Any

from fusec.diagnostics import Diagnostic, Note, Severity, Source, Span
from fusec.driver.store import Json
from fusec.passes.explain.plans import PlanRecord


@dataclass(frozen=True, slots=True)
class OpRecord:
    """One op, its plans, and the calls that tell the resource gate its kernels, see `telling`."""

    name: str
    plans: tuple[PlanRecord, ...]
    telling: Json = None


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One generated file, `module`.py, of one spec, and what that is warned of."""

    module: str
    text: str = field(repr=False)
    exports: tuple[str, ...]
    ops: tuple[OpRecord, ...]
    warnings: tuple[Diagnostic, ...] = ()


def to_json(record: FileRecord) -> Json:
    """Plain values from which `from_json` makes an equal record."""
    warnings: Json = [{**asdict(warning), "severity": warning.severity.value} for warning in record.warnings]
    plain: Json = {**asdict(record), "warnings": warnings}
    return plain


def from_json(plain: Any, spec: Source) -> FileRecord:
    """The record that `to_json` was given, with its warnings where `spec` lies now, and the files it uses beside it."""
    ops = tuple(_op(op) for op in plain["ops"])
    warnings = tuple(_diagnostic(warning, spec) for warning in plain["warnings"])
    return FileRecord(plain["module"], plain["text"], tuple(plain["exports"]), ops, warnings)


def _op(plain: Any) -> OpRecord:
    plans = tuple(PlanRecord(**{**plan, "kernels": tuple(plan["kernels"])}) for plan in plain["plans"])
    return OpRecord(plain["name"], plans, plain["telling"])


def _diagnostic(plain: Any, spec: Source) -> Diagnostic:
    home = PurePath(plain["span"]["source"]["name"]).parent

    def span(kept: Any) -> Span:
        text, name = kept["source"]["text"], PurePath(kept["source"]["name"])
        moved = PurePath(spec.name).with_name(name.name) if name.parent == home else name
        return Span(Source(moved.as_posix(), text), kept["start"], kept["end"])

    notes = tuple(Note(note["text"], note["span"] and span(note["span"])) for note in plain["notes"])
    return Diagnostic(plain["message"], span(plain["span"]), notes, plain["help"], Severity(plain["severity"]))
