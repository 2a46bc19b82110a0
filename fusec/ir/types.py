"""Element types, axes and extents: what a value is made of.

An axis has identity. `H*D` in a signature is one stored dimension of two axes, `L + R` one axis of two parts, `D/2`
the axis that indexes the halves (or pairs) of `D`. Two tensors share an axis because the signature says so, never
because two extents happen to be equal. Extents are sympy expressions over one symbol per named axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, assert_never

import sympy


class Kind(Enum):
    """What arithmetic a value takes part in: real numbers, integers or truth values."""

    REAL = "real"
    INT = "int"
    BOOL = "bool"


@dataclass(frozen=True, slots=True)
class DType:
    """A storage type. `mantissa` counts the stored fraction bits of a float.

    Tensors of a `packed` type are bytes, which hold two numbers if these have four bits.
    """

    name: str
    kind: Kind
    bits: int
    mantissa: int = 0
    packed: bool = False

    @property
    def options(self) -> tuple[DType, ...]:
        """The type itself: as with a type variable, what a caller may choose."""
        return (self,)

    def __str__(self) -> str:
        return self.name


DTYPES: dict[str, DType] = {
    dtype.name: dtype
    for dtype in (
        DType("f64", Kind.REAL, 64, 52),
        DType("f32", Kind.REAL, 32, 23),
        DType("f16", Kind.REAL, 16, 10),
        DType("bf16", Kind.REAL, 16, 7),
        DType("f8e4m3", Kind.REAL, 8, 3),
        DType("f8e5m2", Kind.REAL, 8, 2),
        DType("f8e8m0", Kind.REAL, 8, 0, packed=True),
        DType("f4e2m1", Kind.REAL, 4, 1, packed=True),
        DType("i64", Kind.INT, 64),
        DType("i32", Kind.INT, 32),
        DType("i8", Kind.INT, 8),
        DType("u8", Kind.INT, 8),
        DType("i4", Kind.INT, 4, packed=True),
        DType("u4", Kind.INT, 4, packed=True),
        DType("bool", Kind.BOOL, 8),
    )
}


@dataclass(frozen=True, slots=True)
class DTypeVar:
    """A storage type the caller chooses among `options` (bound by `where T in {...}`); all of one kind."""

    name: str
    options: tuple[DType, ...]

    @property
    def kind(self) -> Kind:
        return self.options[0].kind

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Computed:
    """The element of a computed value: exact arithmetic of this kind until a cast or a store rounds it."""

    kind: Kind

    def __str__(self) -> str:
        return self.kind.value


Storage: TypeAlias = DType | DTypeVar
Element: TypeAlias = DType | DTypeVar | Computed

REAL = Computed(Kind.REAL)
INT = Computed(Kind.INT)
BOOL = Computed(Kind.BOOL)


@dataclass(frozen=True, slots=True)
class Named:
    """An axis with a name and an extent solved at run time."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Fixed:
    """An axis written as a number of at least 2: its extent is its identity."""

    extent: int

    def __str__(self) -> str:
        return str(self.extent)


@dataclass(frozen=True, slots=True)
class Quotient:
    """`D/2`: the axis that indexes one of `by` equal parts of `of`."""

    of: Named
    by: int

    def __str__(self) -> str:
        return f"{self.of}/{self.by}"


@dataclass(frozen=True, slots=True)
class Sum:
    """`L + R`: one axis whose parts follow one another; a part is a product of axes, outermost first."""

    parts: tuple[tuple[Axis, ...], ...]

    def __str__(self) -> str:
        return " + ".join(product_text(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Lead:
    """`...`: any number of leading axes, the same ones wherever an op writes them."""

    def __str__(self) -> str:
        return "..."


@dataclass(frozen=True, slots=True)
class Twin:
    """The positions of the axis `of` a second time, for values that meet each other; no spec can name it."""

    of: Axis

    def __str__(self) -> str:
        return f"other {self.of}"


Axis: TypeAlias = Named | Fixed | Quotient | Sum | Lead | Twin
Dim: TypeAlias = tuple[Axis, ...]
"""One stored dimension: a product of axes, outermost first; of none where it is written `1`, a single position that no
value has an axis for. `Lead` stands alone in its dim."""


@dataclass(frozen=True, slots=True)
class ValueType:
    """Type of a value: its element and its axes. Their order is that of first appearance and carries no meaning."""

    element: Element
    axes: tuple[Axis, ...] = ()

    @property
    def kind(self) -> Kind:
        return self.element.kind

    def __str__(self) -> str:
        return f"{self.element}[{', '.join(map(str, self.axes))}]"


def product_text(dim: Dim) -> str:
    """`H*D`, with sums in brackets where they need them."""
    if len(dim) == 1:
        return str(dim[0])
    if not dim:
        return "1"
    return "*".join(f"({axis})" if isinstance(axis, Sum) else str(axis) for axis in dim)


def symbol(name: str) -> sympy.Symbol:
    """The extent of the named axis `name`, as an integer of at least 0."""
    return sympy.Symbol(name, integer=True, nonnegative=True)


def extent(axis: Axis) -> sympy.Expr:
    """The number of positions of an axis; for `...` the product of all of its axes, under the name `lead`."""
    match axis:
        case Named(name):
            return symbol(name)
        case Fixed(value):
            return sympy.Integer(value)
        case Quotient(of, by):
            return sympy.floor(symbol(of.name) / by)
        case Sum(parts):
            return sympy.Add(*(product_extent(part) for part in parts))
        case Lead():
            return symbol("lead")
        case Twin(of):
            return extent(of)
        case _:
            assert_never(axis)


def product_extent(dim: Dim) -> sympy.Expr:
    """The extent of a stored dimension."""
    return sympy.Mul(*(extent(axis) for axis in dim))


def union(*axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """All axes of several values, each once, in the order of first appearance."""
    return tuple(dict.fromkeys(axis for group in axes for axis in group))


def without(axes: tuple[Axis, ...], removed: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """`axes` less those of `removed`, order kept."""
    return tuple(axis for axis in axes if axis not in removed)
