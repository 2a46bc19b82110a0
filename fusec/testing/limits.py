"""Tile limits made small, so that extents of a few dozen reach every plan of an op: in a loop, split, in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import ModuleType
from unittest import mock

from fusec.runtime import Op, tiles


@dataclass(frozen=True, slots=True)
class Limits:
    """Values for the constants of `fusec.runtime.tiles` that decide between plans."""

    SHORT_ROW: int
    SMALL_ROW: int
    RESIDENT_ROW: int
    CHUNK: int
    FEW_ROWS: int
    LONG_ROW: int
    MOST_SPLITS: int = 4
    TILE: int = 64
    LIBRARY_WORK: int = 1 << 60
    STEPS_WORK: int = 1 << 60
    HELD: int = 1 << 22


LIMITS: dict[str, Limits] = {
    "rows": Limits(SHORT_ROW=1 << 20, SMALL_ROW=1 << 20, RESIDENT_ROW=1 << 20, CHUNK=64, FEW_ROWS=2, LONG_ROW=64),
    "resident": Limits(SHORT_ROW=0, SMALL_ROW=1 << 20, RESIDENT_ROW=1 << 20, CHUNK=64, FEW_ROWS=2, LONG_ROW=64),
    "streamed": Limits(SHORT_ROW=0, SMALL_ROW=0, RESIDENT_ROW=0, CHUNK=64, FEW_ROWS=0, LONG_ROW=0, HELD=0),
    "split": Limits(SHORT_ROW=0, SMALL_ROW=0, RESIDENT_ROW=0, CHUNK=16, FEW_ROWS=1 << 20, LONG_ROW=0, HELD=0),
    "library": Limits(16, 1 << 20, 1 << 20, CHUNK=64, FEW_ROWS=2, LONG_ROW=64, LIBRARY_WORK=0),
    "boxed": Limits(16, 1 << 20, 1 << 20, CHUNK=64, FEW_ROWS=2, LONG_ROW=64, STEPS_WORK=0),
}
"""For each shape of plan, limits under which the launcher takes it wherever the op has it."""


@contextmanager
def limited(module: ModuleType, limits: Limits) -> Iterator[None]:
    """Within, the ops of the generated `module` choose their plans by `limits`; plans made before are forgotten."""
    ops = [value for value in vars(module).values() if isinstance(value, Op)]
    with mock.patch.multiple(tiles, **asdict(limits)):
        for op in ops:
            op.forget()
        try:
            yield
        finally:
            for op in ops:
                op.forget()
