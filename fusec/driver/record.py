"""What a build keeps of a compiled spec: the text to write, and the figures of its table. Plain values only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from fusec.driver.store import Json


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """One plan of an op: its kernels by name, and the bytes it moves, the least possible, and those above, as formulas.

    `excess` is empty where the plan moves no more than it must.
    """

    name: str
    words: str
    kernels: tuple[str, ...]
    moved: str
    least: str
    excess: str


@dataclass(frozen=True, slots=True)
class OpRecord:
    """One op and its plans."""

    name: str
    plans: tuple[PlanRecord, ...]


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One generated file, `module`.py, of one spec."""

    module: str
    text: str = field(repr=False)
    exports: tuple[str, ...]
    ops: tuple[OpRecord, ...]


def to_json(record: FileRecord) -> Json:
    """Plain values from which `from_json` makes an equal record."""
    plain: Json = asdict(record)
    return plain


def from_json(plain: Any) -> FileRecord:
    """The record that `to_json` was given."""
    ops = tuple(_op(op) for op in plain["ops"])
    return FileRecord(plain["module"], plain["text"], tuple(plain["exports"]), ops)


def _op(plain: Any) -> OpRecord:
    plans = tuple(PlanRecord(**{**plan, "kernels": tuple(plan["kernels"])}) for plan in plain["plans"])
    return OpRecord(plain["name"], plans)
