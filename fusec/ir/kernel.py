"""Kernel IR: a kernel is a skeleton with slots, filled with statements.

A skeleton is one of the families below: the names of its slots are those of the template that has its text, under
`codegen/templates/triton/`. The template knows the order of programs, the loops, and where results are stored; a slot
knows what is computed there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

import sympy

from fusec.ir.multiply import Sums
from fusec.ir.statements import AxisIndex, Call, Cut, Function, Let, Point, Statement, calling, every
from fusec.ir.tile_values import Name, Value

ORDER = frozenset({"pid", "blocks", "block", "row", "row_mask"})
"""Variables of templates whose programs take rows, and blocks of them."""

TILE = frozenset({"tiles_m", "tiles_n", "tile", "tile_m", "tile_n", "row", "row_mask"})
"""Variables of templates whose programs take tiles of the output."""


@dataclass(frozen=True, slots=True)
class RowIndex:
    """The index along an axis of a linear number: the number // `inner` % `extent`; the outermost has no extent."""

    name: Name
    inner: sympy.Expr
    extent: sympy.Expr | None


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a program: one of each of the axes, or ROWS of them with a `mask`. The axes are outermost first."""

    mask: Let | None
    axes: tuple[RowIndex, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """What is made and stored: values, then from the first store on whatever else it takes.

    Where a store goes to a tensor that is read as well, it `waits` until all threads have read.
    """

    values: tuple[Statement, ...]
    waits: bool
    stores: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Multiply:
    """`total` + `a` @ `b`, tiles of rows by steps and of steps by columns, which `values` are computed for.

    In a kernel of several ops, some of them may add products in other `ways`.
    """

    values: tuple[Statement, ...]
    a: Value
    b: Value
    total: Name
    precision: str
    sums: Sums
    ways: tuple[tuple[str, Sums], ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A step along the streamed axes: the indices of all but the innermost, that of the innermost, and what is done.

    First what is multiplied, then whatever else. Where operands have two elements at each position of the innermost,
    `both` is the index of these.
    """

    outer: tuple[RowIndex, ...]
    index: AxisIndex
    both: AxisIndex | None
    dots: tuple[Multiply, ...]
    values: tuple[Statement, ...]
    results: Results


@dataclass(frozen=True, slots=True)
class Walk:
    """A loop over all tiles of an axis, of the same `size`, and that for each of the `outer` positions of others.

    A `whole` tile has all of the axis.
    """

    outer: sympy.Expr | None
    extent: sympy.Expr
    size: str
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Ahead:
    """What the steps of a loop load one step before it is `taken`: `loads`, at each `index`."""

    index: AxisIndex
    loads: tuple[Statement, ...]
    taken: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Touched:
    """What the steps of a loop load too little of to have several loads under way: asked for ahead, at each `index`."""

    extent: sympy.Expr
    index: AxisIndex
    touches: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """A pass over the streamed axes: what stands before the loop, its step, and what follows from its sums.

    Without a `walk` the loop takes whole tiles first, whose masks are always true, and then what is left of the axis.
    """

    before: tuple[Statement, ...]
    touched: Touched | None
    ahead: Ahead | None
    walk: Walk | None
    step: Step
    after: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Elementwise:
    """No reduction: blocks of the innermost axis, of several rows."""

    template: ClassVar[str] = "elementwise"
    variables: ClassVar[frozenset[str]] = ORDER
    blocks: Cut | None
    rows: Rows
    loads: tuple[Statement, ...]
    results: Results


@dataclass(frozen=True, slots=True)
class RowTile:
    """Rows whole in registers: one, or several short ones, per program."""

    template: ClassVar[str] = "rows"
    variables: ClassVar[frozenset[str]] = ORDER
    blocks: Cut | None
    rows: Rows
    tile: tuple[AxisIndex, ...]
    loads: tuple[Statement, ...]
    results: Results


@dataclass(frozen=True, slots=True)
class RowLoop:
    """One row per program, walked in a loop, once for every reduction that waits for another one.

    With a compile-time HELD above 0 the tiles that several sweeps load stay in registers, if it `may_hold` any. Where a
    row is `stored` it may begin anywhere: with a compile-time VECTOR tiles begin where whole vectors of it do. If it is
    `staged`, the loads of STAGES steps are under way at once.
    """

    template: ClassVar[str] = "row_loop"
    variables: ClassVar[frozenset[str]] = ORDER | {"TAIL", "start", "ahead"}
    blocks: Cut | None
    rows: Rows
    tile: tuple[AxisIndex, ...]
    stored: Point | None
    sweeps: tuple[Sweep, ...]
    results: Results
    may_hold: bool
    staged: bool


@dataclass(frozen=True, slots=True)
class SplitRows:
    """Split rows: several programs to a row, each of which leaves the partial results of its tiles in workspaces."""

    template: ClassVar[str] = "split_rows"
    variables: ClassVar[frozenset[str]] = ORDER | {"split", "start", "step", "outer"}
    blocks: Cut | None
    rows: Rows
    tile: tuple[AxisIndex, ...]
    sweeps: tuple[Sweep, ...]
    results: Results


@dataclass(frozen=True, slots=True)
class ColumnSums(SplitRows):
    """Rows with column sums: persistent programs take rows in turn, store each, and add up what is over all rows."""

    template: ClassVar[str] = "column_sums"


@dataclass(frozen=True, slots=True)
class Combine(RowTile):
    """Combine: the partial results of other kernels, in fixed order, and what is made of them."""

    template: ClassVar[str] = "combine"


@dataclass(frozen=True, slots=True)
class Gemm:
    """A tile of the output per program, its product made on tensor cores; several per tile where it has `sums`.

    With the compile-time number SPLIT_K so many programs share the steps of a tile, and store its `sums` in place of
    the results; `shared` is what stands before both. `m` and `n` are the axes of the tile. With the compile-time flag
    SWAP_AB its accumulators have `n` by `m`: tensor cores multiply tiles of many rows by as few as 8 or 16 columns,
    which are then the few rows of the output.
    """

    template: ClassVar[str] = "gemm"
    variables: ClassVar[frozenset[str]] = TILE | {"pid", "split", "TAIL", "start", "step", "outer"}
    m: Cut
    n: Cut
    rows: Rows
    sweeps: tuple[Sweep, ...]
    shared: tuple[Statement, ...]
    sums: tuple[Statement, ...]
    results: Results


@dataclass(frozen=True, slots=True)
class Total:
    """The accumulator of one dot, or of two side by side, which are called `parts` behind the loop.

    Where the integer `second_first` is not 0, the second of them stands on the left. A single part is what the left
    half of the accumulator is called, and then the right one.
    """

    name: Name
    parts: tuple[Name, ...]
    second_first: str = ""


@dataclass(frozen=True, slots=True)
class GemmTma:
    """Persistent gemm: programs that make tile after tile, whose operands TMA brings through tensor maps.

    The epilogue of an accumulator that is `halved` is made of one half at a time, for there are registers for one.
    """

    template: ClassVar[str] = "gemm_tma"
    variables: ClassVar[frozenset[str]] = TILE | {
        "part",
        "whole",
        "down",
        "across",
        "start",
        "left",
        "right",
        "half",
        "column",
    }
    m: Cut
    n: Cut
    rows: Rows
    k: Walk
    totals: tuple[Total, ...]
    step: tuple[Statement, ...]
    halved: bool
    results: Results


@dataclass(frozen=True, slots=True)
class Buffered:
    """What is stored through a tensor map, called `map`, stands in shared memory before: there it is called `tiles`."""

    map: str
    tiles: str


@dataclass(frozen=True, slots=True)
class GroupSteps:
    """Steps of a gemm whose groups have scales: the index of the group and its mask, and the `loads` of its scales.

    A step later the sums of the group are `part`, and each scale is called as the first of two names says; `add` is
    what is then done with them. `spread` says of each scale whether every row has its own.
    """

    index: RowIndex
    mask: Let
    part: Name
    loads: tuple[Statement, ...]
    scales: tuple[tuple[Name, Name], ...]
    spread: tuple[bool, ...]
    add: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class GemmRoles:
    """Persistent gemm in roles, in Gluon: a warp loads tiles, and two groups of warps make one half of their rows each.

    `operands` are the tensor maps of `a` and `b`, of which there may be two, their products parts of one total. Sums
    are made `in_parts`, or as the tensor core adds them. The epilogue of a total that is `halved` is made of one half
    of its columns at a time. Where groups are `scaled`, columns are walked `across` so many positions of other axes.
    """

    template: ClassVar[str] = "gemm_roles"
    variables: ClassVar[frozenset[str]] = TILE | {
        *("a_tiles", "b_tiles", "full", "empty", "at"),
        *("left", "right", "half", "column"),
        *("across", "first", "turn", "made"),
    }
    m: Cut
    n: Cut
    rows: Rows
    k: Walk
    operands: tuple[str, ...]
    totals: tuple[Total, ...]
    in_parts: bool
    halved: bool
    scaled: GroupSteps | None
    across: sympy.Expr | None
    stored: tuple[Buffered, ...]
    results: Results


@dataclass(frozen=True, slots=True)
class GemmScaled:
    """A tile of the output per program; the tensor core multiplies digits with the scales of their groups.

    A step of the loop over `k`, in numbers that share a scale, has several groups. It adds to the `totals`. What all
    steps share stands `before`.
    """

    template: ClassVar[str] = "gemm_scaled"
    variables: ClassVar[frozenset[str]] = TILE | {"pid", "start"}
    m: Cut
    n: Cut
    rows: Rows
    before: tuple[Statement, ...]
    k: Walk
    totals: tuple[Total, ...]
    step: tuple[Statement, ...]
    results: Results


Skeleton: TypeAlias = (Elementwise | RowTile | RowLoop | SplitRows | ColumnSums | Combine) | (
    Gemm | GemmTma | GemmRoles | GemmScaled
)
FAMILIES = (Elementwise, RowTile, RowLoop, SplitRows, ColumnSums, Combine, Gemm, GemmTma, GemmRoles, GemmScaled)
VARIABLES = frozenset[str]().union(*(family.variables for family in FAMILIES))
"""What templates have of their own; an argument of a kernel cannot be called so."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One Triton kernel: pointers (tensors or workspaces), scalars, integers, compile-time extents, blocks and flags.

    The extents in `structure` stand in addresses as factors: the head width in `h * D + d`. The integers in `aligned`
    say where rows begin and end, which decides how wide an access may be. Where something is `rounded` before more
    arithmetic, products and sums must not be contracted: that skips the rounding. Tensor `maps` come before pointers;
    the integers in `varying` change from call to call, and a kernel is not compiled anew for them. A kernel that is
    `chained` waits for the one before it, and lets the next one begin. The pointers to `sums` are None where no
    programs share a tile.
    """

    name: str
    doc: str
    pointers: tuple[str, ...]
    scalars: tuple[str, ...]
    integers: tuple[str, ...]
    aligned: tuple[str, ...]
    structure: tuple[str, ...]
    blocks: tuple[str, ...]
    flags: tuple[str, ...]
    skeleton: Skeleton
    rounded: bool = False
    chained: bool = False
    maps: tuple[str, ...] = ()
    varying: tuple[str, ...] = ()
    sums: tuple[str, ...] = ()

    @property
    def calls(self) -> tuple[Call, ...]:
        """The functions of the file that it calls."""
        return tuple(each for each in every(self.skeleton) if isinstance(each, Call))

    def calling(self, called: Callable[[Function], str]) -> Kernel:
        """The same kernel, where each function has a name."""
        return replace(self, skeleton=calling(self.skeleton, called)) if self.calls else self
