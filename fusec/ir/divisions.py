"""Divisions of integers by sizes: what must not be 0 where a call has something to divide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import sympy

from fusec.ir.bottom_up import BottomUp
from fusec.ir.expressions import Cast, Const, Elementwise, Extent, NodeId, operands
from fusec.ir.graph import Graph, walk
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import Axis, Kind, Lead, product_extent

_WHOLE: Mapping[str, Callable[..., sympy.Expr]] = MappingProxyType(
    {
        "+": lambda left, right: left + right,
        "-": lambda left, right: left - right,
        "*": lambda left, right: left * right,
        "//": lambda left, right: sympy.floor(left / right),
        "%": sympy.Mod,
    }
)
"""What operations make of sizes, by their symbols."""

_LONG = 50
"""Operations of a formula that is too long to check."""


def divisions(graph: Graph) -> Iterator[tuple[sympy.Expr, tuple[Axis, ...]]]:
    """Every size that integers are divided by, and the axes of what is divided: nothing is where one is empty.

    A size follows from extents and literals, `N - 3` as well as `N`.
    """
    sizes = BottomUp(lambda number: operands(graph.nodes[number].expr), lambda number: _size(graph, number, sizes))
    for _, node in walk(graph):
        if not isinstance(node.expr, Elementwise) or not ELEMENTWISE[node.expr.op].divides_integers:
            continue
        if node.type.kind is Kind.INT and (size := sizes(node.expr.args[1])) is not None and not size.is_nonzero:
            yield size, tuple(axis for axis in node.type.axes if axis != Lead())


def _size(graph: Graph, number: NodeId, known: Callable[[NodeId], sympy.Expr | None]) -> sympy.Expr | None:
    """The integer that a node is, as a formula of extents; None where it follows from more."""
    node = graph.nodes[number]
    match node.expr:
        case Extent(dim) if Lead() not in dim:
            return product_extent(dim)
        case Const(value) if isinstance(value, int) and not isinstance(value, bool):
            return sympy.Integer(value)
        case Cast(arg, dtype) if dtype.kind is Kind.INT and all(option.bits >= 32 for option in dtype.options):
            return known(arg)
        case Elementwise(op, (arg,)) if ELEMENTWISE[op].turns_sign:
            return None if (size := known(arg)) is None else -size
        case Elementwise(op, args) if node.type.kind is Kind.INT and ELEMENTWISE[op].symbol in _WHOLE:
            values = [known(arg) for arg in args]
            # A divisor of 0 is told by its own division.
            if None in values or (ELEMENTWISE[op].divides_integers and values[1] == 0):
                return None
            size = sympy.expand(_WHOLE[ELEMENTWISE[op].symbol or ""](*values))
            return size if sympy.count_ops(size) <= _LONG else None
        case _:
            return None
