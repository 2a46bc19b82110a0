"""Plans: how an op becomes kernels, before a line of a kernel exists.

A plan is a list of stages, one kernel each. A stage says which axes are rows (one program or a lane of it each), which
axis is cut into blocks over programs, which axes stay in registers, and which are streamed in a loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import ClassVar, TypeAlias

import sympy

from fusec.ir.expressions import NodeId
from fusec.ir.flow import Affine, Flow, Store, flow_reachable, store_axes
from fusec.ir.types import Axis, extent

SHORT_ROW = 1024
"""Rows known to be at most this long never need a program of their own."""


class Shape(Enum):
    """The schedules of a plan, by the names that its calls go by."""

    RESIDENT = "resident"  # one program per row, the row in registers
    ROWS = "rows"  # several short rows per program
    STREAMED = "row_loop"  # one program per row, the row in a loop
    SPLIT = "split_rows"  # a row over several programs, partial results combined in fixed order
    COLUMNS = "column_sums"  # several rows per program one after another, sums over all rows in registers
    TILED = "tile"  # no reduction; the inner axes of a row in registers
    JOINT = "joint"  # outputs of different axes, all inner axes in registers
    DEALT = "split_k"  # as swapped, the loop over several programs, partial sums combined in fixed order
    SWAPPED = "swap_ab"  # as product for a few positions of one axis, which are the columns of a tile
    PRODUCT = "gemm"  # tiles of the output in the matrix unit, the contracted axes in a loop
    PERSISTENT = "tma"  # the same, every program making tile after tile of operands that come in boxes
    BLOCKED = "elementwise"  # no reduction; blocks of the innermost axis


@dataclass(frozen=True, slots=True)
class PartialResult:
    """A reduction (node `value` of the stage) whose partial results go to `scratch`, over `axes` and the splits.

    The splits are the innermost dimension of `scratch`, or the outermost if `apart`.
    """

    scratch: str
    op: str
    value: NodeId
    axes: tuple[Axis, ...]
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Matrix:
    """A tensor as a product sees it: where along each stored dimension the elements stand that it reads or writes."""

    tensor: str
    positions: tuple[Affine, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """Tiles that the copy engine moves: of one matrix, or two that lie alike, whose tiles stand on one another.

    `axes` are those of the tile and of its position, outermost in memory first; neighbours along the last are next to
    each other.
    """

    matrices: tuple[Matrix, ...]
    axes: tuple[Axis, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The tensors that its matrices are, or are parts of; which of two lies first, only a call knows."""
        return tuple(dict.fromkeys(matrix.tensor for matrix in self.matrices))


@dataclass(frozen=True, slots=True)
class BoxedProduct:
    """A product of tiles in boxes. With two `dots` the second factor has tiles of both, which share the first one.

    Both are of one `precision`.
    """

    dots: tuple[NodeId, ...]
    side: Box
    block: Box
    precision: str


@dataclass(frozen=True, slots=True)
class Boxes:
    """What of a stage goes through boxes: its products, and some of its stores, by their place in the flow."""

    products: tuple[BoxedProduct, ...]
    stores: tuple[tuple[int, Box], ...]

    @property
    def is_halved(self) -> bool:
        """Whether what stands behind a single dot is made of the left half of its tile, then of the right one."""
        return [len(product.dots) for product in self.products] == [1]

    @property
    def all(self) -> tuple[Box, ...]:
        """Every box once."""
        pairs = (box for product in self.products for box in (product.side, product.block))
        return tuple(dict.fromkeys((*pairs, *(box for _, box in self.stores))))


@dataclass(frozen=True, slots=True)
class Stage:
    """One kernel. `order` holds its axes, outermost in memory first.

    `rows` are linearised, outermost first; `lanes` puts several rows in one program. `block` is cut over programs.
    `tile` axes are whole in registers. `stream` axes are walked in a loop, the last in chunks; with `split` the steps
    are dealt out to several programs, which with `in_turn` take them as rows. A contraction cuts a second axis, `side`,
    and multiplies tiles: its `order` is that of their dimensions, `side` before `stream` and `block` behind it.
    With `swap_ab` the `block` is of few rows, which are the columns of the tile. With `boxes` the copy engine brings
    them, and a program makes one tile of the output after another.
    """

    name: str
    flow: Flow
    order: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    lanes: bool = False
    block: Axis | None = None
    side: Axis | None = None
    tile: tuple[Axis, ...] = ()
    stream: tuple[Axis, ...] = ()
    split: bool = False
    in_turn: bool = False
    swap_ab: bool = False
    boxes: Boxes | None = None
    partials: tuple[PartialResult, ...] = ()

    @property
    def live(self) -> list[NodeId]:
        """The nodes that its stores and partial results depend on, in topological order."""
        partials = (partial.value for partial in self.partials)
        return sorted(flow_reachable(self.flow.nodes, (*self.flow.roots, *partials)))

    @property
    def lacks_block(self) -> bool:
        """Whether some store lacks the axis that is cut into blocks. It is made in the first block: there is one."""
        return self.block is not None and any(self.block not in store_axes(self.flow, s) for s in self.flow.stores)

    @property
    def lacks_rows(self) -> bool:
        """Whether some store has none of the rows that are lanes. The first programs make it: there are some."""
        return any(self.is_without_rows(store) for store in self.flow.stores)

    @property
    def unswapped(self) -> Stage:
        """The same contraction with a tile whose rows are those of the output, of which there may be few."""
        if not self.swap_ab or self.side is None or self.block is None:
            return self
        order = (*self.rows, self.block, *self.stream, self.side)
        return replace(self, order=order, side=self.block, block=self.side)

    def is_without_rows(self, store: Store) -> bool:
        """Whether a store has none of the rows of a stage whose rows are lanes."""
        return self.lanes and not any(axis in self.rows for axis in store_axes(self.flow, store))


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to compute a group of outputs, and the words for it. It may be for a `few` positions of some axes.

    If a tile has such an axis as columns, it is the first of them, and the others are those that are not in the tile.
    """

    shape: Shape
    stages: tuple[Stage, ...]
    words: str
    few: tuple[Axis, ...] = ()

    @property
    def name(self) -> str:
        """What the plan is called where calls are planned."""
        gemv = {Shape.RESIDENT: "gemv", Shape.STREAMED: "gemv_loop"} if self.few else {}
        return "tile" if self.shape is Shape.JOINT else gemv.get(self.shape, self.shape.value)

    @property
    def is_chained(self) -> bool:
        """Whether its kernels wait for one another."""
        return self.shape in (Shape.DEALT, Shape.COLUMNS)


@dataclass(frozen=True, slots=True)
class Library:
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

    few: ClassVar[tuple[Axis, ...]] = ()
    stages: ClassVar[tuple[Stage, ...]] = ()
    name: ClassVar[str] = "library"
    is_chained: ClassVar[bool] = False
    words: ClassVar[str] = "a product by the vendor's library"


Schedule: TypeAlias = Plan | Library


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


def known_extent(axis: Axis, known: dict[str, int]) -> int | None:
    """The extent of an axis when the spec fixes it, else None. `known` holds the extents constraints fix."""
    return known_size(extent(axis), known)


def known_size(size: sympy.Expr, known: dict[str, int]) -> int | None:
    """The same of a size that is computed of extents."""
    value = size.subs({symbol: known[symbol.name] for symbol in size.free_symbols if symbol.name in known})
    return int(value) if isinstance(value, sympy.Integer) else None
