"""Values of a kernel, over tiles: expressions, the conditions of masks, and addresses.

A tile has named dimensions in a fixed order; a value has some of them and is expanded where it meets a larger one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import sympy

from fusec.ir.multiply import Sums
from fusec.ir.types import DType, Kind, Storage

Dims: TypeAlias = tuple[str, ...]
ANY: Dims = ("tile",)
"""Those of a tile of which it is not known how many there are, of rows and of a single element as well."""


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
    """The product of two tiles, `a` of rows by steps and `b` of steps by columns, in the tensor core, and a `total`.

    `precision` and `sums` are those of the dot it is a step of. One that is `whole` in a step, without a total, is made
    with its columns as rows where the kernel is told so (SWAP_AB).
    """

    a: Value
    b: Value
    total: Value | None
    dims: Dims
    precision: str
    sums: Sums = Sums.SINGLE
    kind: Kind = Kind.REAL
    whole: bool = False


@dataclass(frozen=True, slots=True)
class ByTurns:
    """Two tiles as one that is twice as long along dimension `over`: an element of the first, one of the second."""

    first: Value
    second: Value
    over: str
    dims: Dims
    kind: Kind = Kind.REAL


@dataclass(frozen=True, slots=True)
class Exactly:
    """`arg`, integers from `low` to `high`, in a type that holds them: a storage type, or that of arithmetic.

    With something `less` it is their difference, and both are from 0 to `high`. Where `arg` is a byte, it stands for
    its low `digit`, 0, or its high one, 1, of four bits.
    """

    arg: Value
    low: int
    high: int
    dtype: DTypeRef | None
    dims: Dims
    kind: Kind = Kind.REAL
    less: Value | None = None
    digit: int | None = None


@dataclass(frozen=True, slots=True)
class Turned:
    """`arg`, a tile of two dimensions, with these exchanged."""

    arg: Value
    dims: Dims
    kind: Kind = Kind.REAL


@dataclass(frozen=True, slots=True)
class ScaledTile:
    """What one side of a scaled product takes: `digits` of a format as they are stored, and a line of `scales` each."""

    digits: Value
    scales: Value
    format: str


@dataclass(frozen=True, slots=True)
class ScaledDot:
    """A `total` and the product of two tiles, each of whose numbers is a digit times the scale of its group."""

    a: ScaledTile
    b: ScaledTile
    total: Name
    dims: Dims
    kind: Kind = Kind.REAL


@dataclass(frozen=True, slots=True)
class ScaleSizes:
    """Scales of E4M3 without their signs, which tensor cores do not take."""

    arg: Value
    dims: Dims
    kind: Kind = Kind.REAL


@dataclass(frozen=True, slots=True)
class WithSigns:
    """Packed digits of E2M1, negative where the scale of their byte is."""

    digits: Value
    scales: Value
    dims: Dims
    kind: Kind = Kind.INT


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


Value: TypeAlias = (Name | Number | SizeExpr | Largest | Apply | Rounded | Widened | AsWhole | Fold | Product) | (
    ByTurns | Exactly | Turned | ScaledDot | ScaleSizes | WithSigns | Masked | Filled
)


@dataclass(frozen=True, slots=True)
class InRange:
    """`index < size`, and `0 <= index` when the index comes from memory.

    `even` names the compile-time flag that says that no lane is outside; of a loop with a `tail` none is but there.
    Of an `aligned` size it is known at compile time how many neighbours divide it; a row that may begin `anywhere` has
    lanes in front of it.
    """

    index: Value
    size: sympy.Expr
    looked_up: bool = False
    even: str = ""
    tail: bool = False
    aligned: bool = False
    anywhere: bool = False

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
