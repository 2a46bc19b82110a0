"""Kernel IR: statements over tiles, with every name, address and mask decided.

A tile has named dimensions in a fixed order; a value has some of them and is expanded where it meets a larger one.
Codegen prints this and decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
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

    LONG = "tl.int64"
    INDEX = "INDEX"


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

    `even` names the compile-time flag that says that no lane is outside.
    """

    index: Value
    size: sympy.Expr
    looked_up: bool = False
    even: str = ""

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
    """A position along one stored dimension: sum of coefficient * index, plus offset, times the stride."""

    terms: tuple[tuple[Value, sympy.Expr], ...]
    offset: sympy.Expr
    stride: sympy.Expr


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
class Fetch:
    """Reads a tile through the box called `box`, whose first element is at `corner`, in storage type.

    Where the box has more dimensions than the tile, `shape` is that of the tile. Outside of the tensor it is 0.
    """

    name: Name
    box: str
    corner: tuple[str, ...]
    shape: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Put:
    """Writes a tile through the box called `box`, rounded; what is outside of the tensor is left out."""

    value: Value
    box: str
    corner: tuple[str, ...]
    shape: tuple[str, ...]
    dtype: DTypeRef


@dataclass(frozen=True, slots=True)
class Unstack:
    """The tiles, of `rows` by `columns`, that stand side by side in `stacked`; where `flip` is not 0, turned round."""

    names: tuple[Name, Name]
    stacked: Name
    rows: str
    columns: str
    flip: str = ""


@dataclass(frozen=True, slots=True)
class Halves:
    """`body` for each of two tiles in turn, called `name` there; `var` is 0, then 1."""

    var: str
    name: Name
    tiles: tuple[Name, Name]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Define:
    """A line of index arithmetic, in Triton's words, with the sizes it uses."""

    name: Name
    text: str
    sizes: tuple[sympy.Expr, ...] = ()


@dataclass(frozen=True, slots=True)
class Let:
    """A mask under a name."""

    name: MaskName
    mask: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """`for var in range(start, stop, step)`, with the sizes it uses.

    A `flat` one is woven into the loop inside of it, so that the next turn begins before the last one has ended.
    """

    var: str
    start: str
    stop: str
    step: str
    sizes: tuple[sympy.Expr, ...]
    body: tuple[Statement, ...]
    flat: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """A chain of cases: (condition, body); an empty condition is the else."""

    cases: tuple[tuple[str, tuple[Statement, ...]], ...]


@dataclass(frozen=True, slots=True)
class Enter:
    """Waits for the kernels before this one, and lets the one behind it start."""


@dataclass(frozen=True, slots=True)
class Meet:
    """Threads of a program wait for each other: what was loaded before is loaded by all of them."""


@dataclass(frozen=True, slots=True)
class Comment:
    """A remark on the statements that follow."""

    text: str


Statement: TypeAlias = (
    Assign
    | Point
    | LoadTile
    | StoreTile
    | Fetch
    | Put
    | Unstack
    | Halves
    | Define
    | Let
    | Loop
    | Branch
    | Enter
    | Meet
    | Comment
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """One Triton kernel: pointers (tensor or scratch names), scalars, integers, compile-time extents, blocks and flags.

    The extents in `structure` stand in addresses as factors: the head width in `h * D + d`. The integers in `aligned`
    say where rows begin and end, which decides how wide an access may be. Where something is `rounded` before more
    arithmetic, products and sums must not be contracted: that skips the rounding. `boxes` come before the pointers;
    the integers in `varying` change from call to call, and a kernel is not compiled anew for them.
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
    body: tuple[Statement, ...]
    rounded: bool = False
    boxes: tuple[str, ...] = ()
    varying: tuple[str, ...] = ()
