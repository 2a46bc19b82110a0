"""Statements of a kernel, over tiles: what fills the slots of a skeleton, with every name, address and mask decided.

A tile has named dimensions in a fixed order; a value has some of them and is expanded where it meets a larger one.
Codegen prints this and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import TypeAlias

import sympy

from fusec.ir.types import DType, Kind, Storage

Dims: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ElementOf:
    """The storage type of a tensor argument, known when the kernel is compiled; `saturates` if it may be 8 bits."""

    tensor: str
    saturates: bool = False


DTypeRef: TypeAlias = DType | ElementOf


@dataclass(frozen=True, slots=True)
class Name:
    """A variable of the kernel. One that is still in a `storage` type is widened where it is used, maybe by `bits`."""

    text: str
    dims: Dims = ()
    kind: Kind = Kind.REAL
    storage: Storage | None = None
    bits: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: float | int | bool
    dims: Dims = ()
    kind: Kind = Kind.REAL


@dataclass(frozen=True, slots=True)
class SizeExpr:
    """An integer expression over the extents the kernel is given."""

    value: sympy.Expr
    dims: Dims = ()
    kind: Kind = Kind.INT


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest finite number of a storage type."""

    dtype: DTypeRef
    dims: Dims = ()
    kind: Kind = Kind.REAL


@dataclass(frozen=True, slots=True)
class Apply:
    """An elementwise operation of `ops.ELEMENTWISE`."""

    op: str
    args: tuple[Value, ...]
    dims: Dims
    kind: Kind


@dataclass(frozen=True, slots=True)
class Rounded:
    """`arg` rounded to a storage type, and kept in it."""

    arg: Value
    dtype: DTypeRef
    dims: Dims
    kind: Kind


@dataclass(frozen=True, slots=True)
class Widened:
    """`arg`, which is in a storage type, as arithmetic takes it; by its `bits` where LLVM must not see a conversion."""

    arg: Value
    storage: Storage
    dims: Dims
    kind: Kind
    bits: bool = False


class Whole(Enum):
    """Integer types that hold more than arithmetic in 32 bits: for any number, or for every offset into a tensor."""

    LONG = "long"
    INDEX = "index"


@dataclass(frozen=True, slots=True)
class AsWhole:
    """An integer in a type that holds what is made of it."""

    arg: Value
    type: Whole
    dims: Dims
    kind: Kind = Kind.INT


@dataclass(frozen=True, slots=True)
class Fold:
    """A reduction of a tile over some of its dimensions."""

    op: str
    arg: Value
    over: Dims
    dims: Dims
    kind: Kind


@dataclass(frozen=True, slots=True)
class Product:
    """`total` and the product of two tiles, `a` of rows by steps and `b` of steps by columns, in the matrix unit.

    `precision` is that of the dot it is a step of.
    """

    a: Value
    b: Value
    total: Value
    dims: Dims
    precision: str
    kind: Kind = Kind.REAL


@dataclass(frozen=True, slots=True)
class Turned:
    """`arg`, a tile of two dimensions, with these exchanged."""

    arg: Value
    dims: Dims
    kind: Kind = Kind.REAL


@dataclass(frozen=True, slots=True)
class Masked:
    """`arg` where the lanes are inside of the extents, else `fill`."""

    arg: Value
    mask: tuple[Condition, ...]
    fill: float
    dims: Dims
    kind: Kind


@dataclass(frozen=True, slots=True)
class Filled:
    """A tile of one number; `shape` names the compile-time size of each dimension."""

    dims: Dims
    shape: tuple[str, ...]
    fill: float
    kind: Kind = Kind.REAL


Value: TypeAlias = (
    Name | Number | SizeExpr | Largest | Apply | Rounded | Widened | AsWhole | Fold | Product | Turned | Masked | Filled
)


@dataclass(frozen=True, slots=True)
class InRange:
    """`index < size`, and `0 <= index` when the index comes from memory.

    `even` names the compile-time flag that says that no lane is outside; of a loop with a `tail` none is but there.
    Of an `aligned` size it is known at compile time how many neighbours divide it.
    """

    index: Value
    size: sympy.Expr
    looked_up: bool = False
    even: str = ""
    tail: bool = False
    aligned: bool = False

    @property
    def dims(self) -> Dims:
        return self.index.dims


@dataclass(frozen=True, slots=True)
class IsZero:
    """`index == 0`: only the first program or lane stores a value that all of them hold."""

    index: Name

    @property
    def dims(self) -> Dims:
        return self.index.dims


@dataclass(frozen=True, slots=True)
class MaskName:
    """A mask computed before."""

    text: str
    dims: Dims


Condition: TypeAlias = InRange | IsZero | MaskName


@dataclass(frozen=True, slots=True)
class Along:
    """A position along one stored dimension: sum of coefficient * index, plus offset, times the stride.

    Of an `aligned` stride it is known at compile time how many neighbours divide it.
    """

    terms: tuple[tuple[Value, sympy.Expr], ...]
    offset: sympy.Expr
    stride: sympy.Expr
    aligned: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """`pointer` moved along several stored dimensions; with `pair` two neighbours `pair` apart, as a last dimension."""

    pointer: Name
    along: tuple[Along, ...]
    dims: Dims
    pair: sympy.Expr | None = None


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
class LoadTile:
    """Reads one tile, or two neighbouring ones (`names` has two) with one wide access, and widens it, maybe by `bits`.

    Scratch has no `storage`: its elements are what arithmetic takes.
    """

    names: tuple[Name, ...]
    address: Address
    mask: tuple[Condition, ...]
    fill: float | int | bool | None
    storage: Storage | None = None
    cache: str | None = None
    bits: bool = False


@dataclass(frozen=True, slots=True)
class StoreTile:
    """Writes one tile, or two neighbouring ones, rounded to the element of the pointer."""

    values: tuple[Value, ...]
    address: Address
    mask: tuple[Condition, ...]
    dtype: DTypeRef


@dataclass(frozen=True, slots=True)
class Corner:
    """Where along one axis of a box a tile begins: an index `times` the size of a tile, or the first position.

    A box takes integers of 32 bits, and a `wide` index has 64.
    """

    index: Name | None = None
    times: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """Reads a tile through the box called `box`, whose first element is at `corner`, in storage type.

    Where the box has more dimensions than the tile, `shape` is that of the tile. Outside of the tensor it is 0.
    """

    name: Name
    box: str
    corner: tuple[Corner, ...]
    shape: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Put:
    """Writes a tile through the box called `box`, rounded; what is outside of the tensor is left out."""

    value: Value
    box: str
    corner: tuple[Corner, ...]
    shape: tuple[str, ...]
    dtype: DTypeRef


@dataclass(frozen=True, slots=True)
class Lanes:
    """`name` counts the lanes of a dimension of `size`."""

    name: Name
    size: str


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


Statement: TypeAlias = (
    Assign | Point | LoadTile | StoreTile | Fetch | Put | Lanes | Let | Branch | NoTiles | Keep | Kept
)


def every(tree: object) -> Iterator[object]:
    """Every statement, value, condition and address anywhere inside of a tree of dataclasses and tuples."""
    if isinstance(tree, tuple):
        for item in tree:
            yield from every(item)
    elif is_dataclass(tree):
        yield tree
        for field in fields(tree):
            yield from every(getattr(tree, field.name))


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
