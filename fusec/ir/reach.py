"""How far look-ups reach whose positions follow from extents alone: what the host can check before a call runs.

`table[index(S)]` reads positions 0 to S - 1. A caller with a shorter table gets NaN there, or 0, for which nobody asks.
What a `where` may leave out is not counted, nor a position that no size of the table could hold (`x[index(N) - 1]`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import sympy

from fusec.ir.bottom_up import BottomUp
from fusec.ir.expressions import (
    GIVEN,
    OMITTED,
    Cast,
    Choose,
    Const,
    Dot,
    Elementwise,
    Expr,
    Extent,
    Gather,
    Index,
    Merge,
    NodeId,
    Part,
    Reduce,
    Rename,
    operands,
)
from fusec.ir.graph import Graph, TensorParam
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.traits import ElementwiseOp
from fusec.ir.types import Axis, Dim, Kind, Lead, Named, extent, product_extent

Cases: TypeAlias = frozenset[tuple[str, str]]
"""Which optional tensors are given and which are omitted, as far as it matters."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Dimension `dim` of the table `param` is read at positions from 0 to below `size`.

    It is where the optional tensors `omitted` are omitted and those `given` are given, and where none of the extents
    `where` is 0. With the position `index(A)` for an omitted tensor, a caller may have taken another axis for A:
    `mistaken` has, for each one, the places at which the tensors with A have it.
    """

    param: str
    dim: int
    size: sympy.Expr
    omitted: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    where: tuple[sympy.Expr, ...] = ()
    mistaken: tuple[tuple[tuple[str, int], ...], ...] = ()


def reaches(graph: Graph) -> tuple[Reach, ...]:
    """The reach of every look-up that the host can check, each once."""
    found: dict[Reach, None] = {}
    places = BottomUp(lambda number: operands(graph.nodes[number].expr), lambda number: _places(graph, number, places))
    for number, cases in sorted(_unguarded(graph), key=lambda each: (each[0], sorted(each[1]))):
        expr = graph.nodes[number].expr
        if isinstance(expr, Gather):
            for dim, index in enumerate(expr.indices):
                found.update(dict.fromkeys(_reaches(graph, expr.param, dim, places(index), cases)))
    return tuple(found)


def _reaches(graph: Graph, param: str, dim: int, places: _Places, cases: Cases) -> Iterator[Reach]:
    table = graph.tensor(param)
    for chosen, place in places:
        both = cases | chosen
        if place is None or any((name, GIVEN) in both and (name, OMITTED) in both for name, _ in both):
            continue
        size = place.size()
        room = product_extent(table.dims[dim])
        if size is None or (room - size).is_nonnegative or (room - size).is_negative:
            continue
        omitted = tuple(sorted(name for name, case in both if case == OMITTED))
        given = tuple(sorted(name for name, case in both if case == GIVEN))
        axes = tuple(extent(axis) for axis in place.steps)
        bare = len(axes) == 1 and place.start == 0 and [*place.steps.values()] == [1]
        simple = len(axes) == 1 and place.start == 0
        mistaken = _mistaken(graph, table, next(iter(place.steps))) if bare and chosen else ()
        yield Reach(param, dim, size, omitted, given, () if simple else axes, mistaken)


def _unguarded(graph: Graph) -> set[tuple[NodeId, Cases]]:
    """The nodes that an output or a write depends on, whatever a `where` says, and the cases in which it does."""
    seen: set[tuple[NodeId, Cases]] = set()
    stack: list[tuple[NodeId, Cases]] = [(root, frozenset()) for root in graph.roots]
    optional = {tensor.name for tensor in graph.tensors if tensor.optional}
    while stack:
        number, cases = stack.pop()
        if (number, cases) in seen:
            continue
        seen.add((number, cases))
        match graph.nodes[number].expr:
            case Elementwise(op, (condition, *_)) if ELEMENTWISE[op].selects:
                stack.append((condition, cases))
            case Choose(selector, values) if selector in optional:
                stack.extend((value, cases | {(selector, case)}) for case, value in values)
            case Choose():
                pass
            case expr:
                stack.extend((operand, cases) for operand in operands(expr))
    return seen


@dataclass(frozen=True, slots=True)
class _Place:
    """`start` and, for each step along an axis, so many positions."""

    steps: Mapping[Axis, sympy.Expr]
    start: sympy.Expr

    def size(self) -> sympy.Expr | None:
        """One more than the last position; None where it is not known, or where the first one may be below 0."""
        if not self.steps or not all(step.is_nonnegative for step in (*self.steps.values(), self.start)):
            return None
        return sympy.expand(self.start + 1 + sum(step * (extent(axis) - 1) for axis, step in self.steps.items()))

    def plus(self, other: _Place, sign: int) -> _Place:
        axes = dict.fromkeys((*self.steps, *other.steps))
        steps = {axis: self.steps.get(axis, 0) + sign * other.steps.get(axis, 0) for axis in axes}
        return _Place({axis: step for axis, step in steps.items() if step != 0}, self.start + sign * other.start)

    def times(self, factor: sympy.Expr) -> _Place:
        return _Place({axis: step * factor for axis, step in self.steps.items()}, self.start * factor)


_Places: TypeAlias = list[tuple[Cases, _Place | None]]
"""A position in every case; None where it follows from more than extents, or is too long a formula of them."""

_LONG = 50
"""Operations of a formula, or cases, that are too many to check."""


def _places(graph: Graph, index: NodeId, known: Callable[[NodeId], _Places]) -> _Places:
    match graph.nodes[index].expr:
        case Index(axis):
            return [(frozenset(), _Place({axis: sympy.S.One}, sympy.S.Zero))]
        case Const(value) if isinstance(value, int) and not isinstance(value, bool):
            return [(frozenset(), _Place({}, sympy.Integer(value)))]
        case Extent(dim):
            return [(frozenset(), _Place({}, product_extent(dim)))]
        case Choose(selector, cases) if all(case in (GIVEN, OMITTED) for case, _ in cases):
            chosen = [(case, found) for case, value in cases for found in known(value)]
            return [(frozenset({(selector, case)}) | inner, place) for case, (inner, place) in chosen]
        case Rename(arg, old, new):
            return [(cases, place and _renamed(place, old, new)) for cases, place in known(arg)]
        case Cast(arg, dtype) if dtype.kind is Kind.INT and all(option.bits >= 32 for option in dtype.options):
            return known(arg)
        case Elementwise(op, (left, right)) if ELEMENTWISE[op].is_rational and not ELEMENTWISE[op].is_quotient:
            pairs = [(one, other) for one in known(left) for other in known(right)]
            if len(pairs) > _LONG:
                return [(frozenset(), None)]
            return [(a | b, _combined(ELEMENTWISE[op], first, second)) for (a, first), (b, second) in pairs]
        case _:
            return [(frozenset(), None)]


def _combined(op: ElementwiseOp, left: _Place | None, right: _Place | None) -> _Place | None:
    if left is None or right is None:
        return None
    if op.linear is not None:
        found = left.plus(right, op.linear[1])
    elif right.steps and left.steps:
        return None
    else:
        found = right.times(left.start) if right.steps else left.times(right.start)
    return found if sympy.count_ops([found.start, *found.steps.values()]) <= _LONG else None


def _renamed(place: _Place, old: Axis, new: Axis) -> _Place:
    return _Place({new if axis == old else axis: step for axis, step in place.steps.items()}, place.start)


def _mistaken(graph: Graph, table: TensorParam, axis: Axis) -> tuple[tuple[tuple[str, int], ...], ...]:
    """The axes that may be taken for `axis`: all tensors that have it have them at one place, treated alike."""
    holders = [tensor for tensor in graph.tensors if (axis,) in tensor.dims and not tensor.optional]
    if not holders or any((Lead(),) in tensor.dims for tensor in holders):
        return ()
    other = {each for dim in table.dims for each in dim} | _worked_on(graph) | {axis}
    places = range(min(len(tensor.dims) for tensor in holders))
    candidates = ([(tensor, place) for tensor in holders] for place in places)
    return tuple(
        tuple((tensor.name, place) for tensor, place in group)
        for group in candidates
        if all(_is_free(tensor.dims[place], other) for tensor, place in group)
    )


def _is_free(dim: Dim, other: set[Axis]) -> bool:
    return len(dim) == 1 and isinstance(dim[0], Named) and dim[0] not in other


def _worked_on(graph: Graph) -> set[Axis]:
    """Axes along which elements are not treated alike."""
    return {axis for node in graph.nodes for axis in _axes(node.expr)}


def _axes(expr: Expr) -> tuple[Axis, ...]:
    match expr:
        case Reduce(axes=axes) | Dot(axes=axes):
            return axes
        case Part(axis=axis) | Merge(axis=axis):
            return (axis,)
        case _:
            return ()
