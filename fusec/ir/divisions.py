"""What operations on integers ask of sizes: divisors are not 0, and shifts go by 0 to 63 places.

A size follows from extents and literals, `N - 3` as well as `N`. Of what follows from data nothing is known before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import sympy

from fusec.ir import arithmetic
from fusec.ir.bottom_up import BottomUp
from fusec.ir.expressions import Cast, Const, Elementwise, Extent, NodeId, operands
from fusec.ir.graph import Graph, walk
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import Axis, Kind, Lead, product_extent

_WHOLE: Mapping[str, Callable[..., sympy.Expr | None]] = MappingProxyType(
    {
        "+": lambda left, right: left + right,
        "-": lambda left, right: left - right,
        "*": lambda left, right: left * right,
        "//": lambda left, right: sympy.floor(left / right),
        "%": sympy.Mod,
        "<<": lambda left, places: left * 2**places if places.is_Integer else None,
        ">>": lambda left, places: sympy.floor(left / 2**places) if places.is_Integer else None,
    }
)
"""What operations make of sizes, by their symbols."""

_CHOSEN: Mapping[object, Callable[..., sympy.Expr]] = MappingProxyType(
    {arithmetic.minimum: sympy.Min, arithmetic.maximum: sympy.Max, abs: sympy.Abs}
)
"""The same of those without one, by what they make of single numbers."""

_LONG = 50
"""Operations of a formula that is too long to check."""

MOST_PLACES = 63


@dataclass(frozen=True, slots=True)
class Demand:
    """`size relation limit`, of an operation whose result has these axes: where one is empty, nothing is asked."""

    size: sympy.Expr
    relation: str
    limit: int
    axes: tuple[Axis, ...]


def demands(graph: Graph) -> Iterator[Demand]:
    """What the sizes of a call must be for its divisions and shifts of integers."""
    sizes = BottomUp(lambda number: operands(graph.nodes[number].expr), lambda number: _size(graph, number, sizes))
    for _, node in walk(graph):
        if not isinstance(node.expr, Elementwise) or node.type.kind is not Kind.INT:
            continue
        op, axes = ELEMENTWISE[node.expr.op], tuple(axis for axis in node.type.axes if axis != Lead())
        if not (op.divides_integers or op.shifts) or (size := sizes(node.expr.args[1])) is None:
            continue
        if op.divides_integers and not size.is_nonzero:
            yield Demand(size, "!=", 0, axes)
        if op.shifts and not size.is_nonnegative:
            yield Demand(size, ">=", 0, axes)
        if op.shifts and not (size.is_Integer and size <= MOST_PLACES):
            yield Demand(size, "<=", MOST_PLACES, axes)


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
        case Elementwise(op, args) if node.type.kind is Kind.INT and (make := _made_by(op)):
            values = [known(arg) for arg in args]
            # A divisor of 0 is told by its own division.
            if None in values or (ELEMENTWISE[op].divides_integers and values[1] == 0):
                return None
            size = make(*values)
            return None if size is None or sympy.count_ops(size := sympy.expand(size)) > _LONG else size
        case _:
            return None


def _made_by(op: str) -> Callable[..., sympy.Expr | None] | None:
    return _WHOLE.get(ELEMENTWISE[op].symbol or "") or _CHOSEN.get(ELEMENTWISE[op].at)
