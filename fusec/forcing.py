"""Which plans an op takes, decided from outside: by limits on the extents of each, and by the names of plans.

This is the one place that knows how to reach every plan of a generated file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from types import ModuleType
from unittest import mock

from fusec.ir.plan import Shape
from fusec.runtime import Op, dots, tiles
from fusec.runtime.tuned import Way
from fusec.runtime.ways import Ways, forced


@dataclass(frozen=True, slots=True)
class Limits:
    """Values for the constants of `fusec.runtime.tiles` and `fusec.runtime.dots` that decide between plans."""

    SHORT_ROW: int
    SMALL_ROW: int
    RESIDENT_ROW: int
    CHUNK: int
    FEW_ROWS: int
    LONG_ROW: int
    MOST_SPLITS: int = 4
    TILE: int = 64
    HELD: int = 1 << 22
    LIBRARY_WORK: int = 1 << 60
    STEPS_WORK: int = 1 << 60
    FEW: int = 0
    MOST_AGAIN: int = 1 << 60
    SHARED: int = 48
    STEP: int = 256
    VECTOR_MATRIX: int = 1 << 25


LIMITS: dict[str, Limits] = {
    "rows": Limits(SHORT_ROW=1 << 20, SMALL_ROW=1 << 20, RESIDENT_ROW=1 << 20, CHUNK=64, FEW_ROWS=2, LONG_ROW=64),
    "resident": Limits(SHORT_ROW=0, SMALL_ROW=1 << 20, RESIDENT_ROW=1 << 20, CHUNK=64, FEW_ROWS=2, LONG_ROW=64),
    "streamed": Limits(SHORT_ROW=0, SMALL_ROW=0, RESIDENT_ROW=0, CHUNK=64, FEW_ROWS=0, LONG_ROW=0, HELD=0),
    "split": Limits(SHORT_ROW=0, SMALL_ROW=0, RESIDENT_ROW=0, CHUNK=16, FEW_ROWS=1 << 20, LONG_ROW=0, HELD=0),
    "library": Limits(16, 1 << 20, 1 << 20, CHUNK=64, FEW_ROWS=2, LONG_ROW=64, LIBRARY_WORK=0),
    "boxed": Limits(16, 1 << 20, 1 << 20, CHUNK=64, FEW_ROWS=2, LONG_ROW=64, STEPS_WORK=0, VECTOR_MATRIX=-1),
    "few": Limits(16, 1 << 20, 1 << 20, CHUNK=64, FEW_ROWS=2, LONG_ROW=64, FEW=1 << 60, SHARED=1 << 10, STEP=16),
}
"""For each shape of plan, limits under which the launcher takes it wherever the op has it.

Under "few", tiles of more than one step are shared by several programs, the others are not. Under "boxed", one row is
multiplied in boxes as well; whether the copy engine can move its operands is for the call to say.
"""

ROWS = {
    **{shape: LIMITS[shape] for shape in ("rows", "resident", "streamed", "split")},
    "apart": replace(LIMITS["rows"], RESIDENT_ROW=0, SMALL_ROW=0),
    "blocked": replace(LIMITS["resident"], RESIDENT_ROW=0),
}
"""How rows are computed; "apart" and "blocked" are for outputs, and tiles, that could go together but need not."""

_OF_DOTS = {"LIBRARY_WORK", "STEPS_WORK", "FEW", "MOST_AGAIN", "SHARED", "STEP", "VECTOR_MATRIX"}


@contextmanager
def limited(module: ModuleType, limits: Limits) -> Iterator[None]:
    """Within, the ops of the generated `module` choose their plans by `limits`; plans made before are forgotten."""
    ops = [value for value in vars(module).values() if isinstance(value, Op)]
    of_dots = {name: value for name, value in asdict(limits).items() if name in _OF_DOTS}
    of_tiles = {name: value for name, value in asdict(limits).items() if name not in _OF_DOTS}
    with mock.patch.multiple(tiles, **of_tiles), mock.patch.multiple(dots, **of_dots):
        for op in ops:
            op.forget()
        try:
            yield
        finally:
            for op in ops:
                op.forget()


@dataclass(frozen=True, slots=True)
class Forcing:
    """How plans are chosen: by `limits` of rows and, for products, a `plan` by its name; else as the launcher does."""

    limits: Limits | None = None
    plan: str | None = None

    @property
    def shape(self) -> str:
        """What calls are drawn for."""
        return "boxed" if self.plan == Shape.PERSISTENT.value else "rows"


def forcings(module: ModuleType, op: Op, **sizes: int) -> list[Forcing]:
    """Ways to choose that, together, reach all plans of an op that anything reaches; `sizes` replace some limits."""
    named = [
        plan for ways in vars(module).values() if isinstance(ways, Ways) and ways.op == op.name for plan in ways.plans
    ]
    # Tiles of few rows are shared by several programs where the loop has several steps.
    shared = {"SHARED": 1 << 10, "STEP": 16, **sizes}
    return [Forcing(replace(limits, **shared), plan) for plan in (None, *named) for limits in ROWS.values()]


@contextmanager
def taking(module: ModuleType, op: Op, way: Forcing) -> Iterator[None]:
    """Within, an op chooses its plans this way."""
    if way.limits is None:
        yield
        return
    with limited(module, way.limits), forced(op, Way(way.plan) if way.plan else None):
        yield
