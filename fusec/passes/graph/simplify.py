"""Simplify: rewrite what has one best form, so that later passes see fewer kinds of expression.

Before: `mean(x ** 2, over=N)`; after: `sum(x * x, over=N) / extent(N)`. Also folds arithmetic on literals and drops
`x * 1`, `x + 0`, `x / 1`. Relies on nothing. Casts and storage types are left alone: what is rounded stays rounded.
"""

from __future__ import annotations

import math

from fusec.ir.builder import GraphBuilder, keep, rebuild
from fusec.ir.expressions import Const, Elementwise, Expr, Extent, MaxOf, NodeId, Reduce
from fusec.ir.formats import largest_of
from fusec.ir.graph import Graph, Node
from fusec.ir.ops import ELEMENTWISE, REDUCTIONS
from fusec.ir.ranges import LEAST_I64, MOST_I64
from fusec.ir.types import INT, REAL, Computed, DType, Kind, ValueType, without

_MAX_POWER = 8
"""Integer exponents up to this become multiplications; beyond it `pow` is as exact and shorter."""


_WHOLE = 2**24
"""Whole numbers up to this are numbers of f32, and so are their sums and products that are."""


def simplify(graph: Graph) -> Graph:
    """The graph in simplest form."""
    return rebuild(graph, _simplified)


def _simplified(builder: GraphBuilder, node: Node, args: tuple[NodeId, ...]) -> NodeId:
    match node.expr:
        case Reduce(op=op, axes=axes) if (sum := REDUCTIONS[op].averages) is not None:
            total_type = ValueType(REAL, without(builder[args[0]].type.axes, axes))
            total = builder.add(Reduce(sum, args[0], axes), total_type, span=node.span)
            count = builder.add(Extent(axes), ValueType(INT), span=node.span)
            return builder.add(Elementwise("div", (total, count)), node.type, node.name, node.span)
        case Elementwise(op=op) if (repeated := ELEMENTWISE[op].repeats) is not None:
            return _power(builder, node, args, repeated)
        case Elementwise(op=op):
            folded = _folded(builder, node, op, args)
            return keep(builder, node, args) if folded is None else folded
        case _:
            return keep(builder, node, args)


def _power(builder: GraphBuilder, node: Node, args: tuple[NodeId, ...], repeated: str) -> NodeId:
    exponent = builder[args[1]].expr
    if not isinstance(exponent, Const) or exponent.value != int(_finite(exponent.value)):
        return keep(builder, node, args)
    count = int(exponent.value)
    if not 1 <= count <= _MAX_POWER or builder[args[0]].type.kind is not Kind.REAL:
        return keep(builder, node, args)
    result = args[0]
    for _ in range(count - 1):
        result = builder.add(Elementwise(repeated, (result, args[0])), node.type, node.name, node.span)
    return result


def _finite(value: float | int | bool) -> float:
    return float(value) if math.isfinite(value) else 0.5


def _folded(builder: GraphBuilder, node: Node, op: str, args: tuple[NodeId, ...]) -> NodeId | None:
    consts = [builder[arg].expr for arg in args]
    values = [value for expr in consts if (value := _literal(expr)) is not None]
    if len(values) == len(args) and (folded := _constant(builder, node, op, values)) is not None:
        return folded
    right, neutral = consts[-1], ELEMENTWISE[op].neutral
    if neutral is not None and isinstance(right, Const) and right.value == neutral and not _negative_zero(right.value):
        kept = builder[args[0]].type
        if kept.axes == node.type.axes and isinstance(kept.element, Computed) and kept == node.type:
            return args[0]
    return None


def _literal(expr: Expr) -> float | int | bool | None:
    match expr:
        case Const(value):
            return value
        case MaxOf(DType() as dtype):
            return largest_of(dtype)
        case _:
            return None


def _constant(builder: GraphBuilder, node: Node, op: str, values: list[float | int | bool]) -> NodeId | None:
    """What an operation makes of literals, where it does not round; integers that need more than 64 bits stay."""
    own = ELEMENTWISE[op]
    if own.at is None or own.selects or any(isinstance(value, bool) for value in values):
        return None
    value = own.at(*values)
    if isinstance(value, int) and node.type.kind is Kind.INT:
        fits = LEAST_I64 <= value <= MOST_I64
    else:
        whole = own.grows and all(abs(number) <= _WHOLE and number == int(number) for number in (*values, value))
        fits = (own.exact or (own.quantises and own.arity == 1) or whole) and not math.isnan(value)
    if not fits:
        return None
    return builder.add(Const(value if node.type.kind is Kind.INT else float(value)), node.type, node.name, node.span)


def _negative_zero(value: float) -> bool:
    return value == 0 and math.copysign(1.0, value) < 0
