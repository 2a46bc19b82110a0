"""The expressions that the nodes of a graph, and of a flow, are made of, each over the nodes it reads, by number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeAlias, TypeVar, assert_never

import sympy

from fusec.ir.types import Axis, Dim, Storage, union

NodeId: TypeAlias = int


class Layout(Enum):
    """How the parts of an axis are stored."""

    HALVES = "halves"  # part k, position i  <->  i + k * D/2
    PAIRS = "pairs"  # part k, position i  <->  2 i + k
    PARTS = "parts"  # the parts of `L + R`, one after another


@dataclass(frozen=True, slots=True)
class Input:
    """The tensor parameter `param`, whole."""

    param: str


@dataclass(frozen=True, slots=True)
class Scalar:
    """The run-time scalar parameter `param`, rounded to its declared dtype."""

    param: str


@dataclass(frozen=True, slots=True)
class Const:
    """A literal number."""

    value: float | int | bool


@dataclass(frozen=True, slots=True)
class MaxOf:
    """`max_of(dtype)`: the largest finite number of a storage type, which may be a type variable."""

    dtype: Storage


@dataclass(frozen=True, slots=True)
class Index:
    """`index(N)`: the position along an axis, from 0."""

    axis: Axis


@dataclass(frozen=True, slots=True)
class Extent:
    """The extent of an axis, or of a product of axes, used as a number."""

    dim: Dim


@dataclass(frozen=True, slots=True)
class Elementwise:
    """An operation of `ops.ELEMENTWISE`, on operands broadcast by axis name."""

    op: str
    args: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """Round to a storage type: to nearest even, saturating for f8 and integers, NaN kept. Never removed."""

    arg: NodeId
    dtype: Storage


@dataclass(frozen=True, slots=True)
class Reduce:
    """A reduction of `ops.REDUCTIONS` over `axes`."""

    op: str
    arg: NodeId
    axes: tuple[Axis, ...]


@dataclass(frozen=True, slots=True)
class Dot:
    """Sum over `axes` of the product of two operands; other shared axes are batch axes.

    With the `precision` tf32 operands of f32 may lose the last 13 bits of their fraction before they are multiplied.
    Operands may be `rounded` to a storage type before, to nearest, where that is of 16 bits and they are not of it.
    """

    a: NodeId
    b: NodeId
    axes: tuple[Axis, ...]
    accum: str = "exact"
    precision: str = "ieee"
    rounded: Storage | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Part `index` of `axis`: its halves, its pairs, or the parts of a sum."""

    arg: NodeId
    axis: Axis
    layout: Layout
    index: int


@dataclass(frozen=True, slots=True)
class Merge:
    """The inverse of `Part`: `args` become the parts of `axis`."""

    args: tuple[NodeId, ...]
    axis: Axis
    layout: Layout


@dataclass(frozen=True, slots=True)
class Rename:
    """The same values with axis `old` under the name `new`, which has the same extent."""

    arg: NodeId
    old: Axis
    new: Axis


@dataclass(frozen=True, slots=True)
class Gather:
    """`param[i, j]`: the first `len(indices)` dims of a tensor parameter are looked up; the rest are kept."""

    param: str
    indices: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """`segment(offsets, N)`: for each position of `axis`, the k with offsets[k] <= position < offsets[k + 1]."""

    offsets: NodeId
    axis: Axis


@dataclass(frozen=True, slots=True)
class Choose:
    """The case that the caller picked by the parameter `selector`.

    For a choice parameter the case names are its options. For an optional tensor they are `GIVEN` and `OMITTED`.
    """

    selector: str
    cases: tuple[tuple[str, NodeId], ...]


GIVEN = "given"
OMITTED = "omitted"

Expr: TypeAlias = (
    Input
    | Scalar
    | Const
    | MaxOf
    | Index
    | Extent
    | Elementwise
    | Cast
    | Reduce
    | Dot
    | Part
    | Merge
    | Rename
    | Gather
    | Segment
    | Choose
)


@dataclass(frozen=True, slots=True)
class Affine:
    """A position along a stored dimension: `offset` plus, for each iteration axis, its coefficient times its index."""

    terms: tuple[tuple[Axis, sympy.Expr], ...]
    offset: sympy.Expr = sympy.S.Zero

    @property
    def axes(self) -> tuple[Axis, ...]:
        return tuple(axis for axis, _ in self.terms)


@dataclass(frozen=True, slots=True)
class Lookup:
    """A position read from an integer value; positions outside of the dimension, of `size`, are not accessed."""

    index: NodeId
    size: sympy.Expr


Position: TypeAlias = Affine | Lookup


@dataclass(frozen=True, slots=True)
class Pair:
    """Which of two neighbours an access means, so that one wide access moves both.

    They stand `step` apart along stored dimension `dim`; the positions of the access are those of neighbour 0. An
    operand of a dot that is `BOTH` of them has two elements at each position (see `Neighbours`).
    """

    dim: int
    step: sympy.Expr
    index: int


BOTH = -1
"""The index of a `Pair` whose access means both neighbours, one after the other."""


@dataclass(frozen=True, slots=True)
class Load:
    """Elements of the tensor parameter `param`, one position per stored dimension."""

    param: str
    positions: tuple[Position, ...]
    pair: Pair | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """An integer expression over extents, used as a number."""

    value: sympy.Expr


@dataclass(frozen=True, slots=True)
class Partial:
    """The result of a reduction of an earlier kernel: partial results in a `workspace`, combined when read.

    They lie next to each other, or `apart`: those of a split together, which are then added `as_product`, as a tensor
    that has strides and is left by one split or several. Its `noun` is what is reduced there.
    """

    workspace: str
    op: str
    axes: tuple[Axis, ...]
    apart: bool = False
    noun: str = "total"
    as_product: bool = False


@dataclass(frozen=True, slots=True)
class Neighbours:
    """An operand of a dot with two elements at each position of `axis`, one after the other: `args`.

    So one product is made of both numbers of a byte. Both operands of such a dot are of two elements: each is this, or
    a load of `BOTH` neighbours. Nothing else reads either.
    """

    args: tuple[NodeId, ...]
    axis: Axis


FlowExpr: TypeAlias = (
    Load | Partial | Size | Scalar | Const | MaxOf | Index | Elementwise | Cast | Reduce | Dot | Choose | Neighbours
)

E = TypeVar("E", bound=Expr | FlowExpr)


def operands(expr: Expr | FlowExpr) -> tuple[NodeId, ...]:
    """The nodes an expression reads."""
    match expr:
        case Input() | Scalar() | Const() | MaxOf() | Index() | Extent() | Size() | Partial():
            return ()
        case Elementwise(args=args) | Merge(args=args) | Neighbours(args=args):
            return args
        case Cast(arg=arg) | Reduce(arg=arg) | Part(arg=arg) | Rename(arg=arg) | Segment(offsets=arg):
            return (arg,)
        case Dot(a=a, b=b):
            return (a, b)
        case Gather(indices=indices):
            return indices
        case Load(positions=positions):
            return lookups(positions)
        case Choose(cases=cases):
            return tuple(value for _, value in cases)
        case _:
            assert_never(expr)


def with_operands(expr: E, new: tuple[NodeId, ...]) -> E:
    """The same expression over other nodes, given in the order of `operands`."""
    one: Expr | FlowExpr = expr
    changed: dict[str, object] = {}
    match one:
        case Elementwise() | Merge() | Neighbours():
            changed = {"args": new}
        case Cast() | Reduce() | Part() | Rename():
            changed = {"arg": new[0]}
        case Segment():
            changed = {"offsets": new[0]}
        case Dot():
            changed = {"a": new[0], "b": new[1]}
        case Gather():
            changed = {"indices": new}
        case Load(positions=positions):
            changed = {"positions": with_lookups(positions, new)}
        case Choose(cases=cases):
            changed = {"cases": tuple((case, n) for (case, _), n in zip(cases, new, strict=True))}
    made: E = replace(expr, **changed) if changed else expr  # type: ignore[arg-type]
    return made


def lookups(positions: tuple[Position, ...]) -> tuple[NodeId, ...]:
    """The index values among the positions of an access."""
    return tuple(position.index for position in positions if isinstance(position, Lookup))


def with_lookups(positions: tuple[Position, ...], new: tuple[NodeId, ...]) -> tuple[Position, ...]:
    """The same positions with other index values, given in the order of `lookups`."""
    fresh = iter(new)
    return tuple(Lookup(next(fresh), p.size) if isinstance(p, Lookup) else p for p in positions)


def walks_both(load: Load, axis: Axis) -> bool:
    """Whether a load is of `BOTH` neighbours at each position of an axis."""
    at = load.positions[load.pair.dim] if load.pair is not None and load.pair.index == BOTH else None
    return isinstance(at, Affine) and axis in at.axes


def position_axes(positions: tuple[Position, ...]) -> tuple[Axis, ...]:
    """The iteration axes among the positions of an access, outermost first."""
    return union(*(position.axes for position in positions if isinstance(position, Affine)))
