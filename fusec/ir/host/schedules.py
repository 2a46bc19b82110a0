"""Schedules as data: per schedule its kernels, and what its rules and launches depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
class Elementwise:
    """No reduction: tiles of some `rows` by a `block` of the innermost axis, with the axes of `tile` in registers.

    Also the combine of partial results: of every element its own (`parts`), or of every row (`splits`). Results are
    `narrow` if they are of 8 bits. Of rows or blocks that some output lacks there is `at_least_one`.
    """

    name: ClassVar[str] = "elementwise"
    kernel: Any
    rows: str = ""
    block: str = ""
    tile: str = ""
    narrow: bool = False
    parts: bool = False
    splits: bool = False
    at_least_one: str = ""


@dataclass(frozen=True, slots=True)
class Tile:
    """No reduction, or several outputs at once: a program per row, all axes of `tile` in registers.

    `live` has the axes of each set of tiles that registers hold together, where these are not those of `tile`. Where
    axes of rows lie between those of a tile, what lies one behind another in memory are runs along the axes `runs`.
    """

    name: ClassVar[str] = "tile"
    kernel: Any
    rows: str
    tile: str
    live: tuple[str, ...] = ()
    runs: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """Several short rows per program, each whole in registers; `words` of 32 bits live for each of their elements.

    With a `block` the rows of a program lie side by side along that axis.
    """

    name: ClassVar[str] = "rows"
    kernel: Any
    rows: str
    tile: str
    block: str = ""
    words: float = 1.0
    at_least_one: str = ""


@dataclass(frozen=True, slots=True)
class Resident:
    """A program per row, the row in registers.

    `inputs` tensors have a value for each element of every row, the widest of them of `bytes`, in so many `parts`. A
    row is `compact` if little else shares its registers. Live are `words` for an element, and `words_per_byte` of it.
    A kernel that walks the axis `loop` does so in one step.
    """

    name: ClassVar[str] = "resident"
    kernel: Any
    rows: str
    tile: str
    bytes: str = "4"
    inputs: int = 1
    parts: int = 1
    compact: bool = False
    words: float = 0.0
    words_per_byte: float = 0.0
    narrow: bool = False
    loop: str = ""


@dataclass(frozen=True, slots=True)
class RowLoop:
    """A program per row, which walks the axes of `loop`, the last in chunks, `sweeps` times."""

    name: ClassVar[str] = "row_loop"
    kernel: Any
    rows: str
    loop: str
    tile: str = ""
    block: str = ""
    sweeps: int = 2
    inputs: int = 1
    words: float = 1.0
    at_least_one: str = ""


@dataclass(frozen=True, slots=True)
class RowTiles:
    """A program per row, the row in registers as tiles of one size: the kernel of a `RowLoop` that is unrolled.

    It walks the row `sweeps` times. `inputs` tensors have a value for each element, the widest of them of `bytes`.
    """

    name: ClassVar[str] = "row_tiles"
    kernel: Any
    rows: str
    loop: str
    bytes: str = "4"
    inputs: int = 1
    sweeps: int = 2


@dataclass(frozen=True, slots=True)
class RowVectors:
    """A program per row, which begins anywhere: the kernel of a `RowLoop`, unrolled, whose tiles begin at vectors.

    Rows of `stored` tensors are written, and tiles go by the first of them; those of `read` tensors are read, and what
    is `shared` by rows. Registers have what is `held` from one to the next of the `sweeps` along a row.
    """

    name: ClassVar[str] = "row_vectors"
    kernel: Any
    rows: str
    loop: str
    stored: str
    read: str = ""
    shared: str = ""
    held: str = ""
    sweeps: int = 2


@dataclass(frozen=True, slots=True)
class Partial:
    """A kernel that leaves partial results of several programs for each row: the `sums` by name, with their axes.

    Those of `integers` are counted in 64 bits. Nothing needs any of them where the optional tensor `unless` is given.
    """

    kernel: Any
    rows: str
    loop: str
    sums: Mapping[str, str]
    tile: str = ""
    block: str = ""
    words: float = 1.0
    integers: str = ""
    at_least_one: str = ""
    unless: str = ""


@dataclass(frozen=True, slots=True)
class SplitRows:
    """A row over several programs, whose partial results are combined in fixed order."""

    name: ClassVar[str] = "split_rows"
    partials: tuple[Partial, ...]
    combine: Elementwise


@dataclass(frozen=True, slots=True)
class ColumnSums:
    """Persistent programs take the positions of `loop` in turn, several at once where `tile` is short.

    Each leaves a line of its `sums` over them, by name with their axes, which `combine` adds up; those of `integers`
    are counted in 64 bits. Of every position `inputs` tensors are read, elements of so many `bytes` at most; registers
    hold `words` for each element, and `words_per_byte` of it.
    """

    name: ClassVar[str] = "column_sums"
    kernel: Any
    loop: str
    sums: Mapping[str, str]
    combine: Elementwise
    rows: str = ""
    tile: str = ""
    block: str = ""
    inputs: int = 1
    bytes: str = "4"
    words: float = 0.0
    words_per_byte: float = 0.0
    integers: str = ""
    at_least_one: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemv:
    """A product of a matrix and so `few` rows that threads multiply, as a schedule of rows.

    A large `matrix`, of these axes, is left to tiles. Where rows of it are `narrow`, of fewer bytes than the vector, a
    program takes several.
    """

    few: str
    matrix: str = ""
    narrow: bool = False
    of: Resident | RowLoop

    @property
    def name(self) -> str:
        return "gemv" if self.narrow else {"resident": "gemv", "row_loop": "gemv_loop"}[self.of.name]


@dataclass(frozen=True, slots=True)
class Gemm:
    """Tiles of `m` by `n` on the tensor core, `k` in a loop, of operands of `bytes`.

    Swap-AB: `n` is an axis of so `few` positions that they are the columns of a tile, and the matrix is read `again`
    for each position of other axes; `joined`, all of these are one axis where they lie evenly. Split-K: several
    programs share a tile, and their partial `sums` are combined. There is room for sums of so many products at `most`,
    if that is said. Sums `in_parts` take twice the registers.
    Where they are `grouped`, a step of the loop has the last of the axes `k` whole. So many tensors with a value for
    each element of a tile are read `beside` the products. The operand with the axis `unpacked` is read in fewer bits
    than it is multiplied in, and is made in registers; `each` position of `k` may have two elements.
    """

    kernel: Any
    m: str
    n: str
    k: str
    bytes: str
    batches: str = ""
    dots: int = 1
    most: int = 0
    in_parts: bool = False
    grouped: bool = False
    beside: int = 0
    tf32: bool = False
    unpacked: str = ""
    each: int = 1
    few: str = ""
    again: str = ""
    joined: str = ""
    sums: Mapping[str, str] = field(default_factory=dict)
    combine: Elementwise | None = None

    @property
    def name(self) -> str:
        return "split_k" if self.combine else "swap_ab" if self.few else "gemm"


@dataclass(frozen=True, slots=True)
class Matrix:
    """A tensor as a product sees it, where it begins within it, or an axis lies along no stored dimension of its own.

    The `strides` of such axes, and the `offset` of the first element, are sums of products of sizes and strides.
    """

    tensor: str
    strides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    offset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TensorMap:
    """Tiles that TMA moves: of one tensor, or of two that lie alike, with these `axes`, outermost in memory first.

    A tile has the columns of both `halves` of what a program makes one after the other.
    """

    tensors: tuple[str | Matrix, ...]
    axes: str
    bytes: str
    halves: bool = False


@dataclass(frozen=True, slots=True)
class GemmTma:
    """A persistent gemm: programs make tile after tile of `m` by `n`, and TMA moves their operands.

    `maps` are by kernel parameter; a parameter of `flips` says which of two tensors of a map lies first. So many `dots`
    have columns of a tile, or two `halves` of one; batches multiply the same rows `again`. Operands
    have elements of `itemsize` bytes; sums at `most` and `in_parts`, and what is read `beside` them, are those of a
    `Gemm`.
    """

    name: ClassVar[str] = "tma"
    kernel: Any
    m: str
    n: str
    k: str
    maps: Mapping[str, TensorMap]
    batches: str = ""
    itemsize: int = 2
    dots: int = 1
    most: int = 0
    in_parts: bool = False
    halves: int = 1
    again: str = ""
    beside: int = 0
    flips: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GemmRoles:
    """A persistent gemm in roles, of 8 bits on sm_90: the schedule that launches its `twin` is it in plain Triton.

    Its `maps`, by kernel parameter, have the axes of a tile alone. Where groups of what is contracted have scales, `k`
    has the axis of groups and that within one, the twin is a `Gemm`, and tiles go `across` other axes of columns, too.
    """

    kernel: Any
    twin: Any
    m: str
    n: str
    k: str
    maps: Mapping[str, TensorMap]
    across: str = ""

    @property
    def name(self) -> str:
        return "roles"


@dataclass(frozen=True, slots=True)
class GemmScaled:
    """Tiles of `m` by `n` of products whose operands have scales of groups, which the tensor core multiplies with.

    A group of `k` has `times` a scale of so many `numbers`. `formats` are those of both operands and their scales, of
    each of the `dots`.
    """

    name: ClassVar[str] = "scaled"
    kernel: Any
    m: str
    n: str
    k: str
    formats: tuple[str, ...]
    numbers: int
    times: int = 1
    batches: str = ""
    dots: int = 1


Schedule: TypeAlias = (Elementwise | Tile | Rows | Resident | RowVectors | RowTiles | RowLoop | SplitRows) | (
    ColumnSums | Gemv | Gemm | GemmTma | GemmRoles | GemmScaled
)


def kernels(schedule: Schedule) -> tuple[Any, ...]:
    """The kernels that a schedule launches, in order."""
    match schedule:
        case SplitRows(partials, combine):
            return (*(partial.kernel for partial in partials), combine.kernel)
        case ColumnSums(kernel=kernel, combine=combine):
            return kernel, combine.kernel
        case Gemv(of=of):
            return kernels(of)
        case Gemm(kernel=kernel, combine=Elementwise(kernel=combine)):
            return kernel, combine
        case _:
            return (schedule.kernel,)
