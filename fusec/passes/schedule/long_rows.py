"""Long rows: where programs that share a row are worth kernels of their own.

Splitting a row saves time where a call has few rows that are very long. Beside a product it does not: a row along an
axis of a matrix is a part of what that holds, so whoever has few long rows reads many times as much with the matrix.
"""

from __future__ import annotations

from fusec.ir.expressions import Dot
from fusec.ir.graph import Graph, reachable
from fusec.ir.types import Axis, union


def matrix_axes(graph: Graph) -> frozenset[Axis]:
    """The axes of the matrices that an op multiplies: of the operands of dots one of which is more than a vector."""
    found: set[Axis] = set()
    for number in reachable(graph.nodes, graph.roots):
        expr = graph.nodes[number].expr
        if isinstance(expr, Dot):
            axes = set(union(*(graph.nodes[n].type.axes for n in (expr.a, expr.b))))
            shared = set(graph.nodes[expr.a].type.axes) & set(graph.nodes[expr.b].type.axes)
            found |= axes if axes > shared else set()
    return frozenset(found)
