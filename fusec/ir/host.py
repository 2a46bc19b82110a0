"""Host IR: the plans of an op as data. A generated file holds this table, and `runtime.select` plans calls by it.

An op is partitioned into steps, a step has schedules, and a schedule says what its launches depend on. Axes go by keys:
the name of an extent (`N`), one of the two axes that `...` is walked by (`lead1`, `lead0`), or what `Plans.sizes` makes
of extents (`D/2`). A string holds several of them with blanks between, and stands for their product where it is a size.
A `kernel` is a `Name` while compiling, and the Triton function in the generated file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, TypeAlias

LEAD = ("lead1", "lead0")
"""The keys of the axes that `...` is walked by."""

LIBRARY = "library"
"""The name of a partition whose products the vendor's library makes."""


@dataclass(frozen=True, slots=True)
class Name:
    """What stands at the top of the generated file under this name, while that is written, or an expression there."""

    text: str


@dataclass(frozen=True, slots=True)
class Elementwise:
    """No reduction: tiles of some `rows` by a `block` of the innermost axis, with the axes of `tile` in registers.

    Also the combine of partial results: of every element its own (`parts`), or of every row (`splits`). Results are
    `narrow` if they are of 8 bits. Of rows or blocks that some output lacks there is `at_least_one`.
    """

    kernel: Any
    rows: str = ""
    block: str = ""
    tile: str = ""
    narrow: bool = False
    parts: bool = False
    splits: bool = False
    at_least_one: str = ""

    @property
    def name(self) -> str:
        return "elementwise"


@dataclass(frozen=True, slots=True)
class Tile:
    """No reduction, or several outputs at once: a program per row, all axes of `tile` in registers.

    `live` has the axes of each set of tiles that registers hold together, where these are not those of `tile`.
    """

    kernel: Any
    rows: str
    tile: str
    live: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "tile"


@dataclass(frozen=True, slots=True)
class Rows:
    """Several short rows per program, each whole in registers; `words` of 32 bits live for each of their elements.

    With a `block` the rows of a program lie side by side along that axis.
    """

    kernel: Any
    rows: str
    tile: str
    block: str = ""
    words: float = 1.0
    at_least_one: str = ""

    @property
    def name(self) -> str:
        return "rows"


@dataclass(frozen=True, slots=True)
class Resident:
    """A program per row, the row in registers.

    `inputs` tensors have a value for each element of every row, the widest of them of `bytes`, in so many `parts`. A
    row is `compact` if little else shares its registers. Live are `words` for an element, and `words_per_byte` of it.
    """

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

    @property
    def name(self) -> str:
        return "resident"


@dataclass(frozen=True, slots=True)
class RowLoop:
    """A program per row, which walks the axes of `loop`, the last in chunks, `sweeps` times."""

    kernel: Any
    rows: str
    loop: str
    tile: str = ""
    block: str = ""
    sweeps: int = 2
    inputs: int = 1
    words: float = 1.0
    at_least_one: str = ""

    @property
    def name(self) -> str:
        return "row_loop"


@dataclass(frozen=True, slots=True)
class RowTiles:
    """A program per row, the row in registers as tiles of one size: the kernel of a `RowLoop` that is unrolled.

    It walks the row `sweeps` times. `inputs` tensors have a value for each element, the widest of them of `bytes`.
    """

    kernel: Any
    rows: str
    loop: str
    bytes: str = "4"
    inputs: int = 1
    sweeps: int = 2

    @property
    def name(self) -> str:
        return "row_tiles"


@dataclass(frozen=True, slots=True)
class Partial:
    """A kernel that leaves partial results of several programs for each row: the `sums` by name, with their axes.

    Those of `integers` are counted in 64 bits.
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


@dataclass(frozen=True, slots=True)
class SplitRows:
    """A row over several programs, whose partial results are combined in fixed order."""

    partials: tuple[Partial, ...]
    combine: Elementwise

    @property
    def name(self) -> str:
        return "split_rows"


@dataclass(frozen=True, slots=True)
class ColumnSums:
    """Persistent programs take the positions of `loop` in turn, several at once where `tile` is short.

    Each leaves a line of its `sums` over them, by name with their axes, which `combine` adds up; those of `integers`
    are counted in 64 bits. Of every position `inputs` tensors are read, elements of so many `bytes` at most; registers
    hold `words` for each element, and `words_per_byte` of it.
    """

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

    @property
    def name(self) -> str:
        return "column_sums"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemv:
    """A product of a matrix and so `few` rows that threads multiply, as a schedule of rows.

    Programs that read much beside the row of the `matrix` that is their own name its axes.
    """

    few: str
    matrix: str = ""
    of: Resident | RowLoop

    @property
    def name(self) -> str:
        return {"resident": "gemv", "row_loop": "gemv_loop"}[self.of.name]


@dataclass(frozen=True, slots=True)
class Gemm:
    """Tiles of `m` by `n` on the tensor core, `k` in a loop, of operands of `bytes`.

    Swap-AB: `n` is an axis of so `few` positions that they are the columns of a tile, and the matrix is read `again`
    for each position of other axes. Split-K: several programs share a tile, and their partial `sums` are combined.
    """

    kernel: Any
    m: str
    n: str
    k: str
    bytes: str
    batches: str = ""
    dots: int = 1
    tf32: bool = False
    few: str = ""
    again: str = ""
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
    have columns of a tile, or two `halves` of one; batches multiply the same rows `again`. Registers are `crowded`
    if more has to be read behind the products of a tile than they are.
    """

    kernel: Any
    m: str
    n: str
    k: str
    maps: Mapping[str, TensorMap]
    batches: str = ""
    dots: int = 1
    halves: int = 1
    again: str = ""
    crowded: bool = False
    flips: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "tma"


Schedule: TypeAlias = (
    Elementwise | Tile | Rows | Resident | RowTiles | RowLoop | SplitRows | ColumnSums | Gemv | Gemm | GemmTma
)


@dataclass(frozen=True, slots=True)
class Library:
    """A product by the vendor's library: `out = sum(a * b, over inner)` for each position of `batch`."""

    a: str | Matrix
    b: str | Matrix
    out: str | Matrix
    rows: str = ""
    columns: str = ""
    inner: str = ""
    batch: str = ""
    tf32: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """Outputs that are computed together: their schedules in order of preference, the last for every call.

    Where none fits, the steps `apart` compute them one after another. Where one of the axes `absent` is empty, the step
    `alone` computes what lacks it.
    """

    writes: str
    plans: tuple[Schedule, ...] = ()
    apart: tuple[Step, ...] = ()
    absent: str = ""
    alone: Step | None = None

    def every(self) -> Iterator[Step]:
        """This step and all in it."""
        yield self
        for step in (*self.apart, *((self.alone,) if self.alone else ())):
            yield from step.every()


@dataclass(frozen=True, slots=True)
class Partition:
    """An op as steps that run in this order, and the workspaces it `holds` between. It is for calls without `omits`."""

    steps: tuple[Step | Library, ...]
    omits: str = ""
    holds: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What a table of measured choices calls it: the library, or the schedules that all its contractions have."""
        if any(isinstance(step, Library) for step in self.steps):
            return (LIBRARY,)
        steps = [[plan.name for plan in step.plans] for step in self.contracting]
        return tuple(name for name in dict.fromkeys(n for s in steps for n in s) if all(name in s for s in steps))

    @property
    def products(self) -> tuple[Library, ...]:
        return tuple(step for step in self.steps if isinstance(step, Library))

    @property
    def contracting(self) -> tuple[Step, ...]:
        """The steps that contract."""
        kernels = (step for step in self.steps if isinstance(step, Step))
        return tuple(step for step in kernels if any(isinstance(plan, GemmTma) for plan in step.plans))


@dataclass(frozen=True, slots=True)
class Workspace:
    """A row-major tensor that an op allocates, or prepares, for its own use: shape by keys, `lead` all of `...`."""

    shape: str
    dtype: Any


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a table of measured choices is for: the number of `rows` together, extents, dtypes and tensors given.

    It counts for one text of the spec, by its hash. Chosen are the plans of the steps that write these `outputs`.
    """

    rows: str
    case: str
    outputs: str
    spec: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """All plans of an op, and what its calls are called.

    `extents` are what its function of that name returns, `strides` the stored dimensions of every tensor: arguments,
    outputs and workspaces, in order. `sizes` computes what is beyond plain extents. `vec` has the extents and strides
    that say how wide an access may be. Where all tensors are gapless, `flat` axes are walked as one. Tensors of
    `repeats` may be the same along some axes. `prepare` makes workspaces of weights, and is `told` extents and dtypes
    that they do not tell. Products and sums of `rounded` kernels are not contracted: a declared cast stands between.

    The first of `partitions` that fits is taken, else `steps`; the steps `last` write what was `waiting`.
    """

    extents: str
    scalars: str = ""
    settings: str = ""
    mutated: str = ""
    strides: Mapping[str, str]
    sizes: Callable[..., Mapping[str, int]] | Name | None = None
    vec: str = ""
    flat: str = ""
    repeats: str = ""
    reduces_lead: bool = False
    rounded: tuple[Any, ...] = ()
    workspace: Mapping[str, Workspace] = field(default_factory=dict)
    prepare: Any = None
    told: str = ""
    tuned: Tuned | None = None
    partitions: tuple[Partition, ...] = ()
    steps: tuple[Step, ...] = ()
    waiting: str = ""
    last: tuple[Step, ...] = ()

    def every(self) -> Iterator[Step]:
        """All steps of kernels, those of partitions first."""
        parts = (step for partition in self.partitions for step in partition.steps if isinstance(step, Step))
        for step in (*parts, *self.steps, *self.last):
            yield from step.every()


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


def with_names(value: Any, names: Mapping[str, str]) -> Any:
    """A table, or a part of it, with other names for what stands at the top of the generated file."""
    if isinstance(value, Name):
        return Name(names.get(value.text, value.text))
    if isinstance(value, tuple):
        return tuple(with_names(item, names) for item in value)
    if isinstance(value, Mapping):
        return {key: with_names(item, names) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{each.name: with_names(getattr(value, each.name), names) for each in fields(value)})
    return value


@cache
def block_name(key: str) -> str:
    """`BLOCK_N`: the compile-time size of an axis in a tile."""
    return f"BLOCK_{_word(key)}".upper()


@cache
def even_name(key: str) -> str:
    """`EVEN_N`: the compile-time flag that no lane of a tile is outside of an axis."""
    return f"EVEN_{_word(key)}".upper()


@cache
def stride_names(tensor: str, dims: tuple[str, ...]) -> tuple[str, ...]:
    """A name for the stride of each stored dimension: `x_stride_HD` for `H*D` of `x`; counted where names collide."""
    texts = [_word(dim.replace("*", "")).strip("_") for dim in dims]
    unique = (text if texts.count(text) == 1 else f"{text}_{place}" for place, text in enumerate(texts))
    return tuple(f"{tensor}_stride_{text}" for text in unique)


def argument_name(name: str, words: Mapping[str, str]) -> str:
    """What a kernel's parameter stands for where tensors and axes are called otherwise: `k_ptr` for `q_ptr`, say."""
    if name in words:
        return words[name]
    tensor, stride, dim = name.partition("_stride_")
    if stride:
        return f"{words.get(tensor, tensor)}{stride}{words.get(dim, dim)}"
    tensor = name.removesuffix("_ptr")
    return f"{words.get(tensor, tensor)}_ptr" if tensor != name else name


def _word(key: str) -> str:
    # Dots behind a key only tell it from others.
    return re.sub(r"\W+", "_", key.rstrip("."))
