"""Library: the schedule of a step that is a dot alone, by the vendor's library.

Before: the flow of a step that stores one dot of two loads, with a matrix or a vector added to it, or one of f8 times
a scale of its rows and one of its columns; or the sum over groups of such a product, whose scales are those of a group.
After: where each of the three matrices lies, and which axes are rows, columns, contracted and a batch. Every axis has
to have one stride in each matrix.
"""

from __future__ import annotations

from fusec.ir.expressions import Affine, Cast, Dot, Elementwise, Load, NodeId, Position, Reduce
from fusec.ir.flow import Flow
from fusec.ir.graph import where_given
from fusec.ir.multiply import Sums, sums_of
from fusec.ir.ops import ELEMENTWISE, REDUCTIONS
from fusec.ir.schedule import Library
from fusec.ir.tensor_map import Matrix
from fusec.ir.types import Axis, without


def library(flow: Flow) -> Library | str:
    """The product that a flow is, or why it is none for the library."""
    if len(flow.stores) != 1:
        return "it stores several things"
    (store,) = flow.stores
    value = flow.nodes[store.value].expr
    number = value.arg if isinstance(value, Cast) and value.dtype == store.element else store.value
    number, terms = _behind(flow, number, "is_sum")
    number, groups = _summed(flow, number)
    number, factors = _behind(flow, number, "multiplies")
    dot = flow.nodes[number].expr
    if not isinstance(dot, Dot):
        return "it is more than a dot"
    a, b = (_loaded(flow, operand) for operand in (dot.a, dot.b))
    out = _matrix(store.target, store.positions)
    if a is None or b is None or out is None or store.pair is not None:
        return "an operand is computed or looked up"
    left, right = (flow.nodes[operand].type.axes for operand in (dot.a, dot.b))
    kept = without(tuple(axis for position in out.positions for axis in position.axes), dot.axes)
    if groups and (groups != tuple(axis for axis in left if axis in right and axis not in dot.axes) or len(terms) > 0):
        return "its groups are not those of both operands"
    if len(terms) > 1:
        return "several tensors are added to the dot"
    addend = _loaded(flow, where_given(flow.nodes, terms[0])) if terms else None
    if terms and (addend is None or sums_of(flow.nodes, dot) is not Sums.SINGLE):
        return "what is added to the dot is computed, or its operands are of 8 bits"
    scales = _scales(flow, factors, without(left, dot.axes), without(right, dot.axes), groups)
    if scales is None:
        return "a factor behind the dot is no scale of its rows or columns"
    return Library(
        a,
        b,
        out,
        batch=tuple(axis for axis in kept if axis in left and axis in right),
        rows=tuple(axis for axis in kept if axis in left and axis not in right),
        columns=tuple(axis for axis in kept if axis in right and axis not in left),
        inner=(*groups, *dot.axes),
        groups=groups,
        precision=dot.precision,
        sums=sums_of(flow.nodes, dot),
        scales=scales,
        addend=addend,
    )


def _behind(flow: Flow, number: NodeId, trait: str) -> tuple[NodeId, list[NodeId]]:
    """What stands before operations of two that have a trait, and their other operands."""
    others: list[NodeId] = []
    while True:
        expr = flow.nodes[number].expr
        if not isinstance(expr, Elementwise) or not getattr(ELEMENTWISE[expr.op], trait):
            return number, others
        before = [arg for arg in expr.args if isinstance(flow.nodes[arg].expr, Elementwise | Dot)]
        if len(before) != 1:
            return number, others
        number, others = before[0], [*others, *(arg for arg in expr.args if arg != before[0])]


def _summed(flow: Flow, number: NodeId) -> tuple[NodeId, tuple[Axis, ...]]:
    """What a sum adds up, and over which axes; a value itself where it is none."""
    expr = flow.nodes[number].expr
    return (expr.arg, expr.axes) if isinstance(expr, Reduce) and REDUCTIONS[expr.op].adds else (number, ())


def _scales(
    flow: Flow, factors: list[NodeId], left: tuple[Axis, ...], right: tuple[Axis, ...], groups: tuple[Axis, ...]
) -> tuple[Matrix | None, Matrix | None] | None:
    """Factors as scales of rows and of columns, or of groups of either; None where one is neither."""
    found: list[Matrix | None] = [None, None]
    for factor in factors:
        matrix, axes = _loaded(flow, factor), set(flow.nodes[factor].type.axes)
        free = [(place, set(kept)) for place, kept in enumerate((left, right)) if found[place] is None]
        own = (place for place, kept in free if axes in (set(), kept) or set() < set(groups) <= axes < kept)
        side = next(own, None)
        if matrix is None or side is None:
            return None
        found[side] = matrix
    return found[0], found[1]


def _loaded(flow: Flow, number: NodeId) -> Matrix | None:
    expr = flow.nodes[number].expr
    return _matrix(expr.param, expr.positions) if isinstance(expr, Load) and expr.pair is None else None


def _matrix(tensor: str, positions: tuple[Position, ...]) -> Matrix | None:
    affine = tuple(position for position in positions if isinstance(position, Affine))
    return Matrix(tensor, affine) if len(affine) == len(positions) else None
