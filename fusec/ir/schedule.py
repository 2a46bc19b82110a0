"""Schedule: how a group of outputs is computed, before a line of a kernel exists.

A schedule is of one of the classes below. Each has the stages that it launches, every one a kernel, and what else its
launches depend on. Its `name` is that of its class in the host table (`ir/host/`), where a rule of `runtime/select/`
says when it is taken, and in which tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from fusec.ir.flow import axes_text
from fusec.ir.multiply import Sums
from fusec.ir.stage import Matrix, Stage
from fusec.ir.types import Axis

SHORT_ROW = 1024
"""Rows known to be at most this long never need a program of their own."""


class _InWords:
    """Says what a schedule is, by where its first kernel has which axes."""

    __slots__ = ()
    said: ClassVar[str] = ""

    @property
    def words(self) -> str:
        """What a reader is told of the schedule, and of its kernels."""
        return self.said.format_map(_axes_in_words(self.stages[0]))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is launched, in order."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class _OfOneKernel(_InWords):
    few: ClassVar[tuple[Axis, ...]] = ()
    is_chained: ClassVar[bool] = False
    stage: Stage

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (self.stage,)


@dataclass(frozen=True, slots=True)
class Elementwise(_OfOneKernel):
    """No reduction: blocks of the innermost axis, of several rows."""

    name: ClassVar[str] = "elementwise"
    said: ClassVar[str] = "blocks of {order}"


@dataclass(frozen=True, slots=True)
class Tile(_OfOneKernel):
    """No reduction, or outputs of different axes: the inner axes of a row in registers."""

    name: ClassVar[str] = "tile"
    said: ClassVar[str] = "one program per {rows}, {tile} in registers"


@dataclass(frozen=True, slots=True)
class Rows(_OfOneKernel):
    """Several short rows per program, each in registers."""

    name: ClassVar[str] = "rows"
    said: ClassVar[str] = "several rows ({rows}) per program, {tile} in registers"


@dataclass(frozen=True, slots=True)
class Resident(_OfOneKernel):
    """One program per row, the row in registers."""

    name: ClassVar[str] = "resident"
    said: ClassVar[str] = "one program per {rows}, {tile} in registers"


@dataclass(frozen=True, slots=True)
class RowLoop(_OfOneKernel):
    """One program per row, the row in a loop."""

    name: ClassVar[str] = "row_loop"
    said: ClassVar[str] = "one program per {rows}, {loop} in a loop"


@dataclass(frozen=True, slots=True)
class GemmTma(_OfOneKernel):
    """Persistent gemm: programs that make tile after tile, of operands that TMA loads."""

    name: ClassVar[str] = "tma"
    is_chained: ClassVar[bool] = True
    said: ClassVar[str] = "programs that make tile after tile of {m} by {n}, whose operands TMA loads"


@dataclass(frozen=True, slots=True)
class SplitRows:
    """Split rows: each of the `rows` over several programs, whose `partials` a `combine` adds up in fixed order."""

    name: ClassVar[str] = "split_rows"
    few: ClassVar[tuple[Axis, ...]] = ()
    is_chained: ClassVar[bool] = False
    rows: tuple[Axis, ...]
    partials: tuple[Stage, ...]
    combine: Stage

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (*self.partials, self.combine)

    @property
    def words(self) -> str:
        return f"each {axes_text(self.rows) or 'launch'} over several programs, combined in fixed order"


@dataclass(frozen=True, slots=True)
class ColumnSums(_InWords):
    """Rows with column sums: programs take rows in turn, sums over all rows in registers, which a `combine` adds up."""

    name: ClassVar[str] = "column_sums"
    said: ClassVar[str] = "programs take {loop} in turn, {inner} and what is summed over {loop} in registers"
    few: ClassVar[tuple[Axis, ...]] = ()
    is_chained: ClassVar[bool] = True
    stage: Stage
    combine: Stage

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.stage, self.combine


@dataclass(frozen=True, slots=True)
class Gemv:
    """GEMV: a product for `few` positions of some axes, whose sums are those of rows."""

    is_chained: ClassVar[bool] = False
    of: Resident | RowLoop
    few: tuple[Axis, ...]

    @property
    def name(self) -> str:
        return "gemv" if isinstance(self.of, Resident) else "gemv_loop"

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.of.stages

    @property
    def words(self) -> str:
        return self.of.words


@dataclass(frozen=True, slots=True)
class Gemm:
    """Gemm: tiles of the output on tensor cores, the contracted axes in a loop.

    Swap-AB: for `few` positions of some axes, the first of which is the columns of a tile; the others are in no tile.
    Split-K: several programs share a tile, and a `combine` adds up their sums in fixed order.
    """

    is_chained: ClassVar[bool] = True
    stage: Stage
    few: tuple[Axis, ...] = ()
    combine: Stage | None = None

    @property
    def name(self) -> str:
        return "split_k" if self.combine else "swap_ab" if self.few else "gemm"

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (self.stage, self.combine) if self.combine else (self.stage,)

    @property
    def words(self) -> str:
        said = {
            "split_k": "several programs per tile of {n} by a few {m}, combined in fixed order",
            "swap_ab": "one program per tile of {n} by a few {m}, {k} in a loop",
            "gemm": "one program per tile of {m} by {n}, {k} in a loop",
        }
        return said[self.name].format_map(_axes_in_words(self.stage.whole))


@dataclass(frozen=True, slots=True)
class Library:
    """A dot by the vendor's library: `out = sum(a * b, over=inner)` for each position of `batch`.

    `rows` are the axes of `out` that `a` alone has, `columns` those that `b` alone has. `precision` and `sums` are
    those of the dot. A product of f8 may have `scales`: of rows and of columns, or one number for each operand, or of
    the `groups` that some of `inner` are, for each row or column or a block of them. To any other `addends` are added
    before it is rounded.
    """

    name: ClassVar[str] = "library"
    words: ClassVar[str] = "a product by the vendor's library"
    few: ClassVar[tuple[Axis, ...]] = ()
    is_chained: ClassVar[bool] = False
    stages: ClassVar[tuple[Stage, ...]] = ()
    a: Matrix
    b: Matrix
    out: Matrix
    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    inner: tuple[Axis, ...]
    precision: str
    groups: tuple[Axis, ...] = ()
    sums: Sums = Sums.SINGLE
    scales: tuple[Matrix | None, Matrix | None] = (None, None)
    addends: tuple[Matrix, ...] = ()


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

    @property
    def library(self) -> Library | None:
        """What the vendor's library multiplies, where that is all there is to compute."""
        return next((plan for plan in self.plans if isinstance(plan, Library)), None)

    def every(self) -> Iterator[Group]:
        """This group, those apart and the one alone, and so on."""
        yield self
        for group in (*self.apart, *((self.alone,) if self.alone else ())):
            yield from group.every()

    def all_plans(self) -> Iterator[Schedule]:
        """The schedules of this group, of those apart and of the one alone."""
        return (plan for group in self.every() for plan in group.plans)


def _axes_in_words(stage: Stage) -> dict[str, str]:
    """Where a stage has which axes; `m` and `n` are those of a tile of the output, `k` is what is contracted."""
    return {
        "rows": axes_text(stage.rows) or "launch",
        "order": axes_text(stage.order) or "one element",
        "tile": axes_text(stage.tile),
        "inner": axes_text(stage.tile or stage.order[-1:]),
        "loop": axes_text(stage.stream),
        "m": axes_text((stage.side,) if stage.side else ()),
        "n": axes_text((stage.block,) if stage.block else ()),
        "k": axes_text(stage.stream),
    }
