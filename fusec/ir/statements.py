"""Statements of a kernel: what fills the slots of a skeleton, with every name, address and mask decided.

Codegen prints this and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import sympy

from fusec.ir.field_names import field_names
from fusec.ir.tile_values import Address, Condition, Dims, DTypeRef, MaskName, Name, Value
from fusec.ir.types import Storage


@dataclass(frozen=True, slots=True)
class Assign:
    """`name = value`."""

    name: Name
    value: Value


@dataclass(frozen=True, slots=True)
class Point:
    """`name = pointer moved to a row`."""

    name: Name
    address: Address


@dataclass(frozen=True, slots=True)
class Vectors:
    """How an access may move whole vectors of a row of `size` that begins anywhere (`runtime/row_vectors.py`).

    It is of a `row` of a tensor, of one of a tensor that is `written` in place, or of what is `shared` by rows.
    """

    of: str
    tensor: str
    size: sympy.Expr


@dataclass(frozen=True, slots=True)
class LoadTile:
    """Reads one tile, or two neighbouring ones (`names` has two) with one wide access, and widens it, maybe by `bits`.

    A workspace of partial results has no `storage`: its elements are what arithmetic takes. With a stride between
    `splits` it is a product, which SPLITS programs may have left a part of each, and adds these. Of axes that are read
    as one the tile has that `shape`.
    """

    names: tuple[Name, ...]
    address: Address
    mask: tuple[Condition, ...]
    fill: float | int | bool | None
    storage: Storage | None = None
    cache: str | None = None
    bits: bool = False
    splits: sympy.Symbol | None = None
    vectors: Vectors | None = None
    shape: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Touch:
    """Has the cache fetch what a later step of a loop loads."""

    address: Address
    mask: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class StoreTile:
    """Writes one tile, or two neighbouring ones, rounded to the element of the pointer.

    Neighbours that are written as one axis have that `shape`.
    """

    values: tuple[Value, ...]
    address: Address
    mask: tuple[Condition, ...]
    dtype: DTypeRef
    vectors: Vectors | None = None
    shape: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Corner:
    """Where along one axis of a tensor map a tile begins: an index `times` the size of a tile, or the first position.

    TMA takes integers of 32 bits, and a `wide` index has 64.
    """

    index: Name | None = None
    times: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """Reads a tile through the tensor map of that name, whose first element is at `corner`, in storage type.

    Where that has more dimensions than the tile, `shape` is that of the tile. Outside of the tensor it is 0.
    """

    name: Name
    tensor_map: str
    corner: tuple[Corner, ...]
    shape: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Put:
    """Writes a tile through the tensor map of that name, rounded; what is outside of the tensor is left out.

    In a gemm in roles a group of warps writes its half of a tile, by way of shared memory that is called `through`.
    """

    value: Value
    tensor_map: str
    corner: tuple[Corner, ...]
    shape: tuple[str, ...]
    dtype: DTypeRef
    through: str = ""


@dataclass(frozen=True, slots=True)
class Lanes:
    """`name` counts the lanes of a dimension of `size`, maybe from a `first` one on.

    Lanes that are `wide` are in the type of offsets, those of one `block` maybe, which others of as many stand before.
    """

    name: Name
    size: str
    first: str = ""
    wide: bool = False
    block: Name | None = None


@dataclass(frozen=True, slots=True)
class NoTiles:
    """`name` is a row of which no tile is held yet."""

    name: Name


@dataclass(frozen=True, slots=True)
class Keep:
    """Holds one more tile of the row `tiles`."""

    tiles: Name
    tile: Name


@dataclass(frozen=True, slots=True)
class Kept:
    """`name` is the tile of a step of `size`, of those that the row `tiles` holds."""

    name: Name
    tiles: Name
    size: str


@dataclass(frozen=True, slots=True)
class Let:
    """A mask under a name."""

    name: MaskName
    mask: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """Whether a tensor that may be left out of a call is there; `omitted`: whether it is not."""

    tensor: str
    omitted: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """Whether the choice that a compile-time flag holds is this one."""

    flag: str
    option: str


@dataclass(frozen=True, slots=True)
class Early:
    """Whether the launch has so few programs that each loads ahead what all rows share; `late`: whether not."""

    late: bool = False


@dataclass(frozen=True, slots=True)
class FirstPrograms:
    """Whether a program is the first, or with `blocks` one of the first row of blocks."""

    blocks: Cut | None


@dataclass(frozen=True, slots=True)
class IfHeld:
    """Whether tiles of a row are held from one sweep to the next."""


Test: TypeAlias = Given | Chosen | Early | FirstPrograms | IfHeld


@dataclass(frozen=True, slots=True)
class Branch:
    """A chain of cases, each a test and a body; the last may have no test, and is then for all that is left."""

    cases: tuple[tuple[Test | None, tuple[Statement, ...]], ...]


@dataclass(frozen=True, slots=True)
class Function:
    """What kernels make of some values, once: a function of the generated file.

    A call gives it its `inputs`, and the arguments of the kernel that its body names. It `writes` for these outputs.
    """

    doc: str
    writes: tuple[str, ...]
    inputs: tuple[str, ...]
    body: tuple[Statement, ...]
    results: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """`names = function(arguments)`, each of which has or gets the dimensions of a tile; no condition is always true.

    What the function is `called` is decided when its file is known.
    """

    names: tuple[Name, ...]
    function: Function
    arguments: tuple[Value | tuple[Condition, ...], ...]
    dims: Dims
    called: str = ""


Statement: TypeAlias = (
    Assign | Point | LoadTile | Touch | StoreTile | Fetch | Put | Lanes | Let | Branch | NoTiles | Keep | Kept | Call
)


def every(tree: object) -> Iterator[object]:
    """Every statement, value, condition and address anywhere in a tree of dataclasses and tuples, from the top."""
    left = [tree]
    while left:
        item: Any = left.pop()
        if isinstance(item, tuple):
            left += reversed(item)
        elif (names := field_names(item.__class__)) is not None:
            yield item
            left += [getattr(item, name) for name in reversed(names)]


def calling(tree: Any, called: Callable[[Function], str]) -> Any:
    """A tree of dataclasses and tuples in which every `Call` is of the name that its function has."""
    if isinstance(tree, Call):
        return replace(tree, called=called(tree.function))
    if isinstance(tree, tuple):
        made = tuple(calling(item, called) for item in tree)
        return made if any(new is not old for new, old in zip(made, tree, strict=True)) else tree
    names = field_names(tree.__class__)
    values = [(name, getattr(tree, name)) for name in names or ()]
    changed = {name: new for name, old in values if (new := calling(old, called)) is not old}
    return replace(tree, **changed) if changed else tree


@dataclass(frozen=True, slots=True)
class AxisIndex:
    """The index along an axis of a tile, of `size` positions, and its mask where some may be outside."""

    name: Name
    size: str
    mask: Let | None


@dataclass(frozen=True, slots=True)
class Cut:
    """An axis cut into tiles of one `size` over programs, and the index within one, if anything uses it.

    Of an axis with no position there is `at_least_one` tile if some output lacks it.
    """

    extent: sympy.Expr
    size: str
    index: AxisIndex | None
    at_least_one: bool = False
