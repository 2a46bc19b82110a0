"""The functions that the compiler knows by name; everything else is written in the language."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from fusec.ir.expressions import Cast, Dot, Expr, Index, Layout, MaxOf, Merge, NodeId, Part, Reduce, Rename, Segment
from fusec.ir.expressions import Elementwise as ElementwiseExpr
from fusec.ir.ops import ELEMENTWISE, PREFIX, REDUCTIONS
from fusec.ir.type_rules import TypeFault
from fusec.ir.types import Axis, Dim, Lead, Storage, Sum, ValueType, without


class Wants(Enum):
    """What stands in a place of a primitive."""

    VALUE = "a value"
    VALUES = "values"
    AXIS = "an axis"
    AXES = "axes"
    PARTS = "the parts of an axis"
    DTYPE = "a dtype"
    WORD = "a word"
    PRECISION = "how exact operands are"
    RENAMING = "`OLD -> NEW`"


class Surroundings(Protocol):
    """What a primitive may ask about the op it stands in."""

    def type_of(self, node: NodeId) -> ValueType: ...

    @property
    def sums(self) -> tuple[Sum, ...]:
        """The axes of parts that the signature declares."""


@dataclass(frozen=True, slots=True)
class Precision:
    """What a dot may do to its operands: leave out what `word` says, and round to the storage type `rounded`."""

    word: str = "ieee"
    rounded: Storage | None = None


Given: TypeAlias = (
    NodeId | tuple[NodeId, ...] | Axis | Dim | tuple[Dim, ...] | Storage | str | tuple[Axis, Axis] | Precision | None
)


@dataclass(frozen=True, slots=True)
class Place:
    """One parameter of a primitive. A `gathers` place takes all positional arguments that remain."""

    name: str
    wants: Wants
    required: bool = True
    words: tuple[str, ...] = ()
    of_product: int | None = None
    """Which axis of a product `A*B` an `AXIS` place means, if it takes one."""

    @property
    def gathers(self) -> bool:
        return self.wants in (Wants.VALUES, Wants.PARTS)


@dataclass(frozen=True, slots=True)
class Primitive:
    """A name, its places, and what it becomes: one expression, or several when it has several results."""

    name: str
    places: tuple[Place, ...]
    build: Callable[..., Expr | tuple[Expr, ...]]
    """Called with the surroundings, then the argument of every place. May raise `TypeFault`."""


def _elementwise(name: str, arity: int) -> Primitive:
    names = {1: ("x",), 2: ("a", "b"), 3: ("condition", "a", "b")}[arity]
    places = tuple(Place(place, Wants.VALUE) for place in names)
    return Primitive(name, places, lambda _, *args: ElementwiseExpr(name, args))


def _reduction(name: str) -> Primitive:
    places = (Place("x", Wants.VALUE), Place("over", Wants.AXES))
    return Primitive(name, places, lambda _, x, over: Reduce(name, x, over))


def _parts_of(layout: Layout) -> Callable[..., tuple[Expr, ...]]:
    return lambda _, x, over: tuple(Part(x, over, layout, index) for index in range(2))


def _dot(_: Surroundings, a: NodeId, b: NodeId, over: Dim, accum: str | None, precision: Precision | None) -> Expr:
    precision = precision or Precision()
    return Dot(a, b, over, accum or "exact", precision.word, precision.rounded)


def _split(around: Surroundings, x: NodeId, parts: tuple[Dim, ...]) -> tuple[Expr, ...]:
    axis = Sum(parts)
    if axis not in around.type_of(x).axes:
        sums = [f"`{a}`" for a in around.type_of(x).axes if isinstance(a, Sum)]
        help = f"its axes of parts: {', '.join(sums)}" if sums else "no axis of it is declared as a sum of parts"
        raise TypeFault(f"there is no axis `{axis}` to split", 0, help)
    return tuple(Part(x, axis, Layout.PARTS, index) for index in range(len(parts)))


def _concat(around: Surroundings, values: tuple[NodeId, ...], over: Axis | None) -> Expr:
    types = tuple(around.type_of(value) for value in values)
    if over is None:
        fitting = [axis for axis in around.sums if _fits(axis, types)]
        over = fitting[0] if len(fitting) == 1 else _sum_of_differences(types)
    if not isinstance(over, Sum):
        raise TypeFault(f"`{over}` is no axis of parts", help="write the parts, as in `over=L + R`")
    return Merge(values, over, Layout.PARTS)


def _fits(axis: Sum, types: tuple[ValueType, ...]) -> bool:
    return len(axis.parts) == len(types) and all(
        set(part) <= set(type.axes) for part, type in zip(axis.parts, types, strict=True)
    )


def _sum_of_differences(types: tuple[ValueType, ...]) -> Sum:
    """The axis whose parts are what each value has and not all the others have."""
    shared = set(types[0].axes).intersection(*(type.axes for type in types))
    parts = tuple(without(type.axes, tuple(shared)) for type in types)
    if len(parts) < 2 or any(len(part) != 1 for part in parts):
        raise TypeFault("it is not clear along which axes to concatenate", help="write the parts, as in `over=L + R`")
    return Sum(parts)


def _index(_: Surroundings, axis: Axis) -> Expr:
    if isinstance(axis, Lead):
        raise TypeFault("`...` is any number of axes, positions along it have no number", help="name the axis")
    return Index(axis)


_OUTERMOST = Place("over", Wants.AXIS, of_product=0)
_INNERMOST = Place("over", Wants.AXIS, of_product=-1)
"""The halves of `A*B` are those of A, its pairs those of B."""

_STRUCTURAL = (
    Primitive(
        "dot",
        (
            Place("a", Wants.VALUE),
            Place("b", Wants.VALUE),
            Place("over", Wants.AXES),
            Place("accum", Wants.WORD, required=False, words=("exact", "fast", "f16")),
            Place("precision", Wants.PRECISION, required=False, words=("ieee", "tf32")),
        ),
        _dot,
    ),
    Primitive("cast", (Place("x", Wants.VALUE), Place("dtype", Wants.DTYPE)), lambda _, x, dtype: Cast(x, dtype)),
    Primitive("max_of", (Place("dtype", Wants.DTYPE),), lambda _, dtype: MaxOf(dtype)),
    Primitive("halves", (Place("x", Wants.VALUE), _OUTERMOST), _parts_of(Layout.HALVES)),
    Primitive("pairs", (Place("x", Wants.VALUE), _INNERMOST), _parts_of(Layout.PAIRS)),
    Primitive(
        "join",
        (Place("a", Wants.VALUE), Place("b", Wants.VALUE), _OUTERMOST),
        lambda _, a, b, over: Merge((a, b), over, Layout.HALVES),
    ),
    Primitive(
        "interleave",
        (Place("a", Wants.VALUE), Place("b", Wants.VALUE), _INNERMOST),
        lambda _, a, b, over: Merge((a, b), over, Layout.PAIRS),
    ),
    Primitive("split", (Place("x", Wants.VALUE), Place("parts", Wants.PARTS)), _split),
    Primitive("concat", (Place("values", Wants.VALUES), Place("over", Wants.AXIS, required=False)), _concat),
    Primitive("index", (Place("axis", Wants.AXIS),), _index),
    Primitive(
        "segment",
        (Place("offsets", Wants.VALUE), Place("axis", Wants.AXIS)),
        lambda _, offsets, axis: Segment(offsets, axis),
    ),
    Primitive(
        "rename",
        (Place("x", Wants.VALUE), Place("renaming", Wants.RENAMING)),
        lambda _, x, renaming: Rename(x, *renaming),
    ),
)

PRIMITIVES: dict[str, Primitive] = {
    primitive.name: primitive
    for primitive in (
        *(_elementwise(op.name, op.arity) for op in ELEMENTWISE.values() if not op.symbol and op.name not in PREFIX),
        *map(_reduction, REDUCTIONS),
        *_STRUCTURAL,
    )
}
