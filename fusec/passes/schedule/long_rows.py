"""Long rows: where programs that share a row are worth kernels of their own.

Splitting a row saves time where a call has few rows that are very long. Beside a product it does not: a row along an
axis of a matrix, or along a part of one, is a part of what that holds, so whoever has few long rows reads many times as
much with the matrix.
"""

from __future__ import annotations

from collections.abc import Iterator

from fusec.ir.graph import Graph
from fusec.ir.types import Axis, Quotient, Sum


def matrix_axes(graph: Graph) -> frozenset[Axis]:
    """The axes of the matrices that an op multiplies: of the operands of dots one of which is more than a vector."""
    found: set[Axis] = set()
    for dot in graph.dots.values():
        a, b = (set(graph.nodes[operand].type.axes) for operand in (dot.a, dot.b))
        found |= a | b if a != b else set()
    return frozenset(part for axis in found for part in _with_parts(axis))


def is_of_a_matrix(axis: Axis, matrices: frozenset[Axis]) -> bool:
    """Whether an axis is one of `matrices`, or walks a half of one."""
    return axis in matrices or (isinstance(axis, Quotient) and axis.of in matrices)


def _with_parts(axis: Axis) -> Iterator[Axis]:
    """An axis, and those that its parts are made of: `Hq` and `D` of `Hq*D + Hk*D`."""
    yield axis
    if isinstance(axis, Sum):
        for part in axis.parts:
            for factor in part:
                yield from _with_parts(factor)
