"""Schedule: how a group of outputs is computed, before a line of a kernel exists.

A schedule is of one of the classes below. Each has the `stages` that it launches, every one a kernel, and what else its
launches depend on; one of a single kernel is that stage itself (`ir/stage.py`). Its `name` is that of its class in the
host table (`ir/host/`), where a rule of `runtime/select/` says when it is taken, and in which tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from fusec.ir.expressions import NodeId
from fusec.ir.flow import axes_text
from fusec.ir.multiply import Sums
from fusec.ir.scaled import NUMBERS, ScaledProduct
from fusec.ir.stage import PartialResult, Stage
from fusec.ir.tensor_map import Matrix, TensorMap, TensorMaps
from fusec.ir.types import Axis

SHORT_ROW = 1024
"""Rows known to be at most this long never need a program of their own."""


@dataclass(frozen=True, slots=True)
class _Rowwise(Stage):
    """A schedule of one kernel, which is its own stage. Says what it is by which axes it has where."""

    said: ClassVar[str] = ""
    few: ClassVar[tuple[Axis, ...]] = ()
    is_chained: ClassVar[bool] = False

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is launched, in order."""
        return (self,)

    @property
    def words(self) -> str:
        """What a reader is told of the schedule, and of its kernels."""
        return self.said.format(
            rows=axes_text(self.rows) or "launch",
            order=axes_text(self.order) or "one element",
            tile=axes_text(self.tile),
            inner=axes_text(self.tile or self.order[-1:]),
            loop=axes_text(self.loop),
        )


@dataclass(frozen=True, slots=True)
class Elementwise(_Rowwise):
    """No reduction: blocks of the innermost axis, of several rows."""

    name: ClassVar[str] = "elementwise"
    said: ClassVar[str] = "blocks of {order}"
    block: Axis | None = None

    @property
    def lanes(self) -> bool:
        return bool(self.rows)


@dataclass(frozen=True, slots=True)
class Tile(_Rowwise):
    """No reduction, or outputs of different axes: the inner axes of a row in registers."""

    name: ClassVar[str] = "tile"
    said: ClassVar[str] = "one program per {rows}, {tile} in registers"
    tile: tuple[Axis, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows(_Rowwise):
    """Several short rows per program, each in registers."""

    name: ClassVar[str] = "rows"
    said: ClassVar[str] = "several rows ({rows}) per program, {tile} in registers"
    tile: tuple[Axis, ...] = ()
    block: Axis | None = None

    @property
    def lanes(self) -> bool:
        return bool(self.rows)


@dataclass(frozen=True, slots=True)
class Resident(_Rowwise):
    """One program per row, the row in registers: by a kernel of its own, or by that of a `loop_of` it in one step."""

    name: ClassVar[str] = "resident"
    said: ClassVar[str] = "one program per {rows}, {tile} in registers"
    tile: tuple[Axis, ...] = ()
    loop_of: RowLoop | None = None

    @property
    def whole(self) -> Stage:
        return self.loop_of or self


@dataclass(frozen=True, slots=True)
class RowLoop(_Rowwise):
    """One program per row, the row in a loop."""

    name: ClassVar[str] = "row_loop"
    said: ClassVar[str] = "one program per {rows}, {loop} in a loop"
    tile: tuple[Axis, ...] = ()
    block: Axis | None = None
    loop: tuple[Axis, ...] = ()

    @property
    def walks_groups(self) -> bool:
        """Whether a step takes groups that are whole in registers, for a block of rows, which come first in a tile."""
        return (
            bool(self.tile) and self.block is not None and self.order.index(self.block) < self.order.index(self.loop[0])
        )


@dataclass(frozen=True, slots=True)
class PartialRows(Stage):
    """One kernel of `SplitRows`: several programs per row, which leave what they have of some reductions."""

    tile: tuple[Axis, ...] = ()
    block: Axis | None = None
    loop: tuple[Axis, ...] = ()
    partials: tuple[PartialResult, ...] = ()
    is_split = True


@dataclass(frozen=True, slots=True)
class Combine(Stage):
    """What is made of the partial results of other kernels, of several rows per program."""

    tile: tuple[Axis, ...] = ()
    block: Axis | None = None

    @property
    def lanes(self) -> bool:
        return bool(self.rows)


@dataclass(frozen=True, slots=True)
class SplitRows:
    """Split rows: each of the `rows` over several programs, whose `partials` a `combine` adds up in fixed order."""

    name: ClassVar[str] = "split_rows"
    few: ClassVar[tuple[Axis, ...]] = ()
    is_chained: ClassVar[bool] = False
    rows: tuple[Axis, ...]
    partials: tuple[PartialRows, ...]
    combine: Combined

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (*self.partials, self.combine)

    @property
    def words(self) -> str:
        return f"each {axes_text(self.rows) or 'launch'} over several programs, combined in fixed order"


@dataclass(frozen=True, slots=True)
class ColumnSums(_Rowwise):
    """Rows with column sums: programs take rows in turn, sums over all rows in registers, which a `combine` adds up."""

    name: ClassVar[str] = "column_sums"
    said: ClassVar[str] = "programs take {loop} in turn, {inner} and what is summed over {loop} in registers"
    is_chained: ClassVar[bool] = True
    combine: Combined
    tile: tuple[Axis, ...] = ()
    block: Axis | None = None
    loop: tuple[Axis, ...] = ()
    partials: tuple[PartialResult, ...] = ()
    is_split = True

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self, self.combine


@dataclass(frozen=True, slots=True)
class Gemv:
    """GEMV: a product for `few` positions of some axes, whose sums are those of rows.

    Where rows of the matrix are `narrow`, of fewer bytes than the vector, a program takes several of them.
    """

    is_chained: ClassVar[bool] = False
    of: Resident | RowLoop
    few: tuple[Axis, ...]
    narrow: bool = False

    @property
    def name(self) -> str:
        return "gemv" if isinstance(self.of, Resident) or self.narrow else "gemv_loop"

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self.of.stages

    @property
    def words(self) -> str:
        return self.of.words


@dataclass(frozen=True, slots=True)
class GemmStage(Stage):
    """Tiles of `m` by `n` of a product on tensor cores, `k` in a loop; `order` is that of their dimensions, m, k, n."""

    m: Axis
    n: Axis
    k: tuple[Axis, ...]

    @property
    def loop(self) -> tuple[Axis, ...]:
        return self.k

    @property
    def takes_groups(self) -> bool:
        """Whether a step of the loop has all that a dot contracts, which is a group of what is added up."""
        return any(set(self.flow.nodes[number].type.axes) & set(self.loop) for number in self.dots)

    @property
    def spread(self) -> tuple[Axis, ...]:
        return (*self.rows, self.m, self.n)


@dataclass(frozen=True, slots=True)
class GemmTile(GemmStage):
    """The kernel of every plan of a gemm: a tile per program, or per several, which then leave its `sums`."""

    sums: tuple[PartialResult, ...] = ()


@dataclass(frozen=True, slots=True)
class GemmShare(GemmStage):
    """What the kernel of a gemm computes where several programs share each `tile`: its sums."""

    of: GemmTile
    partials: tuple[PartialResult, ...] = ()
    is_split = True

    @property
    def whole(self) -> Stage:
        return self.of


@dataclass(frozen=True, slots=True)
class SplitK:
    """Split-K: the `share` of a tile that a program has, and the `combine` that adds up the sums in fixed order."""

    share: GemmShare
    combine: Combined


@dataclass(frozen=True, slots=True)
class Gemm:
    """Gemm: tiles of the output on tensor cores, the contracted axes in a loop.

    Swap-AB: for `few` positions of some axes, the first of which is the columns of a tile; the others are in no tile.
    Split-K: several programs share a tile.
    """

    is_chained: ClassVar[bool] = True
    tile: GemmTile
    few: tuple[Axis, ...] = ()
    split_k: SplitK | None = None

    @property
    def name(self) -> str:
        return "split_k" if self.split_k else "swap_ab" if self.few else "gemm"

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (self.split_k.share, self.split_k.combine) if self.split_k else (self.tile,)

    @property
    def words(self) -> str:
        m, n, k = map(axes_text, ((self.tile.m,), (self.tile.n,), self.tile.k))
        return {
            "split_k": f"several programs per tile of {n} by a few {m}, combined in fixed order",
            "swap_ab": f"one program per tile of {n} by a few {m}, {k} in a loop",
            "gemm": f"one program per tile of {m} by {n}, {k} in a loop",
        }[self.name]


@dataclass(frozen=True, slots=True)
class GemmTma(GemmStage):
    """Persistent gemm: programs that make tile after tile, of operands that TMA loads through `maps`."""

    name: ClassVar[str] = "tma"
    few: ClassVar[tuple[Axis, ...]] = ()
    is_chained: ClassVar[bool] = True
    maps: TensorMaps

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (self,)

    @property
    def words(self) -> str:
        m, n = axes_text((self.m,)), axes_text((self.n,))
        return f"programs that make tile after tile of {m} by {n}, whose operands TMA loads"


@dataclass(frozen=True, slots=True)
class GroupScales:
    """What the sums of a group are multiplied with before `total` adds them up: the `factors`, which are loaded.

    These are multiplied with each other `first`, or one by one with the sums.
    """

    total: NodeId
    factors: tuple[NodeId, ...]
    first: bool


@dataclass(frozen=True, slots=True)
class GemmRoles(GemmStage):
    """Persistent gemm in roles, for sm_90: one warp loads tiles of 8 bits, two groups of warps multiply and add up.

    `twin` computes the same in plain Triton. Tensor maps have the axes of a tile alone: one is of the operand that all
    `products` share, others of what each multiplies it with. All of them have one way to add `sums`.
    Where groups of what is contracted have `scales`, a step has one of them.
    """

    name: ClassVar[str] = "roles"
    few: ClassVar[tuple[Axis, ...]] = ()
    is_chained: ClassVar[bool] = True
    products: tuple[NodeId, ...]
    sums: Sums
    operands: tuple[TensorMap, ...]
    stores: tuple[tuple[int, TensorMap], ...]
    twin: GemmTma | Gemm
    scales: GroupScales | None = None

    @property
    def is_halved(self) -> bool:
        """Whether what stands behind a single dot is made of the left half of its tile, then of the right one.

        Sums that stand beside a part of them leave room for a tile of half the columns.
        """
        return len(self.products) == 1 and self.sums is not Sums.PARTS and self.scales is None

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (self,)

    @property
    def words(self) -> str:
        m, n = axes_text((self.m,)), axes_text((self.n,))
        return f"programs that make tile after tile of {m} by {n}: a warp loads, two groups of warps multiply"


@dataclass(frozen=True, slots=True)
class GemmScaled(GemmStage):
    """Scaled gemm: tiles of products of digits and scales of groups, which the tensor core multiplies as they lie."""

    name: ClassVar[str] = "scaled"
    few: ClassVar[tuple[Axis, ...]] = ()
    is_chained: ClassVar[bool] = True
    products: tuple[ScaledProduct, ...]

    @property
    def loop(self) -> tuple[Axis, ...]:
        """A step has several groups, each as a whole."""
        return self.k[:1]

    @property
    def numbers(self) -> int:
        """How many numbers have a scale."""
        return NUMBERS[self.products[0].scales.format]

    @property
    def times(self) -> int:
        """How many scales of the tensor core a group has."""
        return self.products[0].scales.times

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (self,)

    @property
    def words(self) -> str:
        m, n, groups = map(axes_text, ((self.m,), (self.n,), self.loop))
        return f"one program per tile of {m} by {n}, {groups} in a loop: the tensor core multiplies digits and scales"


@dataclass(frozen=True, slots=True)
class Library:
    """A dot by the vendor's library: `out = sum(a * b, over=inner)` for each position of `batch`.

    `rows` are the axes of `out` that `a` alone has, `columns` those that `b` alone has. `precision` and `sums` are
    those of the dot. A product of f8 may have `scales`: of rows and of columns, or one number for each operand, or of
    the `groups` that some of `inner` are, for each row or column or a block of them. To any other an `addend` may be
    added before it is rounded.
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
    addend: Matrix | None = None


Combined: TypeAlias = Elementwise | Rows | Combine
"""What is made behind a split: of a product as elementwise as behind the library."""

InKernels: TypeAlias = (Elementwise | Tile | Rows | Resident | RowLoop | SplitRows | ColumnSums) | (
    Gemv | Gemm | GemmTma | GemmRoles | GemmScaled
)
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
