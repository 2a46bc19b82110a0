"""Library: the schedule of a step that is a dot alone, by the vendor's library.

Before: the flow of a step that stores one dot of two loads. After: where each of the three matrices lies, and which
axes are rows, columns, contracted and a batch. Every axis has to have one stride in each matrix.
"""

from __future__ import annotations

from fusec.ir.expressions import Cast, Dot, NodeId
from fusec.ir.flow import Affine, Flow, Load, Position
from fusec.ir.multiply import Sums, sums_of
from fusec.ir.schedule import Library
from fusec.ir.stage import Matrix
from fusec.ir.types import without


def library(flow: Flow) -> Library | str:
    """The product that a flow is, or why it is none for the library."""
    if len(flow.stores) != 1:
        return "it stores several things"
    (store,) = flow.stores
    value = flow.nodes[store.value].expr
    dot = flow.nodes[value.arg].expr if isinstance(value, Cast) and value.dtype == store.element else value
    if not isinstance(dot, Dot):
        return "it is more than a dot"
    if sums_of(flow.nodes, dot) is not Sums.SINGLE:
        return "its operands are of 8 bits"
    a, b = (_loaded(flow, number) for number in (dot.a, dot.b))
    out = _matrix(store.target, store.positions)
    if a is None or b is None or out is None or store.pair is not None:
        return "an operand is computed or looked up"
    left, right = (flow.nodes[number].type.axes for number in (dot.a, dot.b))
    kept = without(tuple(axis for position in out.positions for axis in position.axes), dot.axes)
    return Library(
        a,
        b,
        out,
        batch=tuple(axis for axis in kept if axis in left and axis in right),
        rows=tuple(axis for axis in kept if axis in left and axis not in right),
        columns=tuple(axis for axis in kept if axis in right and axis not in left),
        inner=dot.axes,
        precision=dot.precision,
    )


def _loaded(flow: Flow, number: NodeId) -> Matrix | None:
    expr = flow.nodes[number].expr
    return _matrix(expr.param, expr.positions) if isinstance(expr, Load) and expr.pair is None else None


def _matrix(tensor: str, positions: tuple[Position, ...]) -> Matrix | None:
    affine = tuple(position for position in positions if isinstance(position, Affine))
    return Matrix(tensor, affine) if len(affine) == len(positions) else None
