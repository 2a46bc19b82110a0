"""What operations on integers ask of sizes: divisors are not 0, and shifts go by 0 to 63 places.

A size follows from extents and literals, `N - 3` and `where(N > 3, N, 1)` as well as `N`. Of what follows from data, or
by way of real numbers, nothing is known before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import sympy

from fusec.ir import arithmetic
from fusec.ir.bottom_up import BottomUp
from fusec.ir.computed_sizes import COMPUTED, choice, negation, sign_of
from fusec.ir.expressions import Cast, Const, Elementwise, Extent, NodeId, operands
from fusec.ir.formats import limits
from fusec.ir.graph import Graph, walk
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import Axis, DType, Kind, Lead, product_extent

_BY_SYMBOL: Mapping[str, Callable[..., sympy.Expr | None]] = MappingProxyType(
    {
        "+": lambda left, right: left + right,
        "-": lambda left, right: left - right,
        "*": lambda left, right: left * right,
        "//": lambda left, right: sympy.floor(left / right),
        "%": sympy.Mod,
        "<<": lambda left, places: left * 2**places if places.is_Integer else None,
        ">>": lambda left, places: sympy.floor(left / 2**places) if places.is_Integer else None,
        **COMPUTED,
    }
)
"""What operations make of sizes, by their symbols."""

_BY_VALUE: Mapping[object, Callable[..., sympy.Expr]] = MappingProxyType(
    {
        arithmetic.minimum: sympy.Min,
        arithmetic.maximum: sympy.Max,
        abs: sympy.Abs,
        arithmetic.sign: sign_of,
        arithmetic.neg: lambda size: -size,
        arithmetic.bitnot: lambda size: -size - 1,
        arithmetic.where: choice,
    }
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
    """The integer that a node is, or its truth value, as a formula of extents; None where it follows from more."""
    node = graph.nodes[number]
    match node.expr:
        case Extent(dim) if Lead() not in dim:
            return product_extent(dim)
        case Const(int(value)):
            return sympy.Integer(int(value))
        case Cast(arg, dtype) if dtype.kind is Kind.INT and (size := known(arg)) is not None:
            return _within(size, dtype.options)
        case Elementwise(op, args) if node.type.kind is not Kind.REAL and (make := _made_by(op)):
            values = [known(arg) for arg in args]
            # A divisor of 0 is told by its own division.
            if None in values or (ELEMENTWISE[op].divides_integers and values[1] == 0):
                return None
            made = make(*values)
            return None if made is None or sympy.count_ops(made := sympy.expand(made)) > _LONG else made
        case _:
            return None


def _within(size: sympy.Expr, options: tuple[DType, ...]) -> sympy.Expr | None:
    """A size as a cast leaves it, which saturates. 32 bits are beyond all sizes."""
    if all(option.bits >= 32 for option in options):
        return size
    if len(options) > 1:
        return None
    low, high = limits(options[0])
    return sympy.Min(sympy.Max(size, low), high)


def _made_by(op: str) -> Callable[..., sympy.Expr | None] | None:
    own = ELEMENTWISE[op]
    if own.keeps_integers:
        return lambda size: size
    if own.operands == (Kind.BOOL,) and own.arity == 1:
        return negation
    return _BY_SYMBOL.get(own.symbol or "") or _BY_VALUE.get(own.at)
