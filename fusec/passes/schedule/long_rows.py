"""Long rows: where programs that share a row are worth kernels of their own.

Splitting a row saves time where a call has few rows that are very long. Beside a product it does not: a row along an
axis of a matrix is a part of what that holds, so whoever has few long rows reads many times as much with the matrix.
"""

from __future__ import annotations

from fusec.ir.graph import Graph
from fusec.ir.types import Axis


def matrix_axes(graph: Graph) -> frozenset[Axis]:
    """The axes of the matrices that an op multiplies: of the operands of dots one of which is more than a vector."""
    found: set[Axis] = set()
    for dot in graph.dots.values():
        a, b = (set(graph.nodes[operand].type.axes) for operand in (dot.a, dot.b))
        found |= a | b if a != b else set()
    return frozenset(found)
