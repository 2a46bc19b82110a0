"""The expressions that the nodes of a graph are made of, each over the nodes it reads, by their position."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeAlias, assert_never

from fusec.ir.types import Axis, Dim, Storage

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


def operands(expr: Expr) -> tuple[NodeId, ...]:
    """The nodes an expression reads."""
    match expr:
        case Input() | Scalar() | Const() | MaxOf() | Index() | Extent():
            return ()
        case Elementwise(args=args) | Merge(args=args):
            return args
        case Cast(arg=arg) | Reduce(arg=arg) | Part(arg=arg) | Rename(arg=arg) | Segment(offsets=arg):
            return (arg,)
        case Dot(a=a, b=b):
            return (a, b)
        case Gather(indices=indices):
            return indices
        case Choose(cases=cases):
            return tuple(value for _, value in cases)
        case _:
            assert_never(expr)


def with_operands(expr: Expr, new: tuple[NodeId, ...]) -> Expr:
    """The same expression over other nodes, given in the order of `operands`."""
    match expr:
        case Input() | Scalar() | Const() | MaxOf() | Index() | Extent():
            return expr
        case Elementwise() | Merge():
            return replace(expr, args=new)
        case Cast() | Reduce() | Part() | Rename():
            return replace(expr, arg=new[0])
        case Segment():
            return replace(expr, offsets=new[0])
        case Dot():
            return replace(expr, a=new[0], b=new[1])
        case Gather():
            return replace(expr, indices=new)
        case Choose(cases=cases):
            return replace(expr, cases=tuple((case, n) for (case, _), n in zip(cases, new, strict=True)))
        case _:
            assert_never(expr)
