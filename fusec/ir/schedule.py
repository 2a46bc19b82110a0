"""Schedule: how a group of outputs is computed, before a line of a kernel exists.

A schedule is of one of the classes below. Each has the stages that it launches, every one a kernel, and what else its
launches depend on. Its `name` is that of its class in the host table (`ir/host.py`), where a rule of `runtime/select/`
says when it is taken, and in which tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from fusec.ir.flow import axes_text
from fusec.ir.stage import Matrix, Stage
from fusec.ir.types import Axis

SHORT_ROW = 1024
"""Rows known to be at most this long never need a program of their own."""


class _Schedule:
    """What a schedule is unless it says otherwise: for any number of positions, of kernels that wait for no other."""

    __slots__ = ()

    @property
    def few(self) -> tuple[Axis, ...]:
        """The axes of which there are few positions."""
        return ()

    @property
    def is_chained(self) -> bool:
        """Whether its kernels wait for one another."""
        return False


@dataclass(frozen=True, slots=True)
class _OfOneKernel(_Schedule):
    stage: Stage

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is launched, in order."""
        return (self.stage,)


@dataclass(frozen=True, slots=True)
class Elementwise(_OfOneKernel):
    """No reduction: blocks of the innermost axis, of several rows."""

    @property
    def name(self) -> str:
        return "elementwise"

    @property
    def words(self) -> str:
        return f"blocks of {axes_text(self.stage.order) or 'one element'}"


@dataclass(frozen=True, slots=True)
class Tile(_OfOneKernel):
    """No reduction, or outputs of different axes: the inner axes of a row in registers."""

    @property
    def name(self) -> str:
        return "tile"

    @property
    def words(self) -> str:
        return f"one program per {axes_text(self.stage.rows)}, {axes_text(self.stage.tile)} in registers"


@dataclass(frozen=True, slots=True)
class Rows(_OfOneKernel):
    """Several short rows per program, each in registers."""

    @property
    def name(self) -> str:
        return "rows"

    @property
    def words(self) -> str:
        return f"several rows ({_row(self.stage)}) per program, {axes_text(self.stage.tile)} in registers"


@dataclass(frozen=True, slots=True)
class Resident(_OfOneKernel):
    """One program per row, the row in registers."""

    @property
    def name(self) -> str:
        return "resident"

    @property
    def words(self) -> str:
        return f"one program per {_row(self.stage)}, {axes_text(self.stage.tile)} in registers"


@dataclass(frozen=True, slots=True)
class RowLoop(_OfOneKernel):
    """One program per row, the row in a loop."""

    @property
    def name(self) -> str:
        return "row_loop"

    @property
    def words(self) -> str:
        return f"one program per {_row(self.stage)}, {axes_text(self.stage.stream)} in a loop"


@dataclass(frozen=True, slots=True)
class SplitRows(_Schedule):
    """Split rows: each of the `rows` over several programs, whose `partials` a combine adds up in fixed order."""

    rows: tuple[Axis, ...]
    partials: tuple[Stage, ...]
    combine: Stage

    @property
    def name(self) -> str:
        return "split_rows"

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (*self.partials, self.combine)

    @property
    def words(self) -> str:
        return f"each {axes_text(self.rows) or 'launch'} over several programs, combined in fixed order"


@dataclass(frozen=True, slots=True)
class ColumnSums(_Schedule):
    """Rows with column sums: programs take rows in turn, sums over all rows in registers, which a combine adds up."""

    stage: Stage
    combine: Stage

    @property
    def name(self) -> str:
        return "column_sums"

    @property
    def is_chained(self) -> bool:
        return True

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.stage, self.combine

    @property
    def words(self) -> str:
        rows, inner = axes_text(self.stage.stream), axes_text(self.stage.tile or self.stage.order[-1:])
        return f"programs take {rows} in turn, {inner} and what is summed over {rows} in registers"


@dataclass(frozen=True, slots=True)
class Gemv(_Schedule):
    """GEMV: a product for few positions of the axes `fewest`, whose sums are those of rows."""

    of: Resident | RowLoop
    fewest: tuple[Axis, ...]

    @property
    def name(self) -> str:
        return "gemv" if isinstance(self.of, Resident) else "gemv_loop"

    @property
    def few(self) -> tuple[Axis, ...]:
        return self.fewest

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.of.stages

    @property
    def words(self) -> str:
        return self.of.words


@dataclass(frozen=True, slots=True)
class Gemm(_Schedule):
    """Gemm: tiles of the output on tensor cores, the contracted axes in a loop.

    Swap-AB: for few positions of the axes `fewest`, the first of which is the columns of a tile; the others are in no
    tile. Split-K: several programs share a tile, and a `combine` adds up their sums in fixed order.
    """

    stage: Stage
    fewest: tuple[Axis, ...] = ()
    combine: Stage | None = None

    @property
    def name(self) -> str:
        return "split_k" if self.combine else "swap_ab" if self.fewest else "gemm"

    @property
    def few(self) -> tuple[Axis, ...]:
        return self.fewest

    @property
    def is_chained(self) -> bool:
        return self.combine is not None

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (self.stage, self.combine) if self.combine else (self.stage,)

    @property
    def words(self) -> str:
        m, n, k = (axes_text(axis for axis in axes if axis) for axes in _mnk(self.stage.whole))
        if self.combine:
            return f"several programs per tile of {n} by a few {m}, combined in fixed order"
        tile = f"{n} by a few {m}" if self.fewest else f"{m} by {n}"
        return f"one program per tile of {tile}, {k} in a loop"


@dataclass(frozen=True, slots=True)
class GemmTma(_OfOneKernel):
    """Persistent gemm: programs that make tile after tile, of operands that TMA loads."""

    @property
    def name(self) -> str:
        return "tma"

    @property
    def words(self) -> str:
        m, n, _ = (axes_text(axis for axis in axes if axis) for axes in _mnk(self.stage))
        return f"programs that make tile after tile of {m} by {n}, from boxes"


@dataclass(frozen=True, slots=True)
class Library(_Schedule):
    """A dot by the vendor's library: `out = sum(a * b, over=inner)` for each position of `batch`.

    `rows` are the axes of `out` that `a` alone has, `columns` those that `b` alone has. `precision` is that of the dot.
    """

    a: Matrix
    b: Matrix
    out: Matrix
    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    inner: tuple[Axis, ...]
    precision: str

    @property
    def name(self) -> str:
        return "library"

    @property
    def stages(self) -> tuple[Stage, ...]:
        return ()

    @property
    def words(self) -> str:
        return "a product by the vendor's library"


InKernels: TypeAlias = Elementwise | Tile | Rows | Resident | RowLoop | SplitRows | ColumnSums | Gemv | Gemm | GemmTma
Schedule: TypeAlias = InKernels | Library


@dataclass(frozen=True, slots=True)
class Group:
    """Outputs computed together, and the schedules for them in order of preference.

    When none fits the extents, the groups of `apart` compute the same outputs one after another. When one of the axes
    `absent` is empty, so is every launch, and the group `alone` computes the outputs that lack it.
    """

    outputs: tuple[str, ...]
    plans: tuple[Schedule, ...]
    apart: tuple[Group, ...] = ()
    absent: tuple[Axis, ...] = ()
    alone: Group | None = None

    def every(self) -> Iterator[Group]:
        """This group, those apart and the one alone, and so on."""
        yield self
        for group in (*self.apart, *((self.alone,) if self.alone else ())):
            yield from group.every()

    def all_plans(self) -> Iterator[Schedule]:
        """The schedules of this group, of those apart and of the one alone."""
        return (plan for group in self.every() for plan in group.plans)


def _row(stage: Stage) -> str:
    return axes_text(stage.rows) or "launch"


def _mnk(stage: Stage) -> tuple[tuple[Axis | None, ...], ...]:
    """The rows and columns of a tile of the output, and what is contracted."""
    return (stage.side,), (stage.block,), stage.stream
