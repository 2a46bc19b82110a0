"""Divisions of integers by extents: what must not be 0 where a call has something to divide."""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from fusec.ir.expressions import Elementwise, Extent
from fusec.ir.graph import Graph, walk
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import Axis, Kind, Lead, product_extent


def divisions(graph: Graph) -> Iterator[tuple[sympy.Expr, tuple[Axis, ...]]]:
    """Every extent that integers are divided by, and the axes of what is divided: nothing is where one is empty."""
    for _, node in walk(graph):
        if not isinstance(node.expr, Elementwise) or not ELEMENTWISE[node.expr.op].divides_integers:
            continue
        divisor = graph.nodes[node.expr.args[1]].expr
        if isinstance(divisor, Extent) and Lead() not in divisor.dim and node.type.kind is Kind.INT:
            size = product_extent(divisor.dim)
            if size.free_symbols:
                yield size, tuple(axis for axis in node.type.axes if axis != Lead())
