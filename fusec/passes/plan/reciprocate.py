"""Reciprocate: a division of every element by a value they share becomes one division and a product.

Before: `x / scale` with `x` over `[M, N]` and `scale` over `[M]`; after: `x * (1 / scale)`, a tenth of the arithmetic.

Obligations, checked here: the divisor lacks an axis of the dividend, and is proved to stay clear of the numbers whose
reciprocal overflows (its lower bound is a normal number of f32), and of those whose reciprocal is no normal number,
which has fewer digits, and is 0 on a GPU. The product has one rounding more than the quotient, which the error bound of
the rewritten graph has in it.
"""

from __future__ import annotations

from math import prod, sqrt

from fusec.ir.bottom_up import BottomUp
from fusec.ir.builder import GraphBuilder, keep, rebuild
from fusec.ir.expressions import Choose, Const, Elementwise, MaxOf, NodeId, Reduce, operands
from fusec.ir.graph import Graph, Node
from fusec.ir.types import REAL, Axis, Kind, ValueType

_SMALLEST, _LARGEST_DIVISOR = 2.0**-126, 2.0**126
_FINITE = 2.0**128
"""No finite number of f32 reaches it. Divided by infinity, everything is 0 either way."""
_MOST_TERMS = 2.0**63
_UNKNOWN = float("-inf")
_LARGEST = {"f8e4m3": 448.0, "f8e5m2": 57344.0, "i8": 127.0, "u8": 255.0}
"""What `max_of` is for the types one scales to; of wider ones nothing is assumed."""


def reciprocate(graph: Graph) -> Graph:
    """The graph with divisions by shared, safely large values as products."""
    return rebuild(graph, _reciprocated)


def _reciprocated(builder: GraphBuilder, node: Node, args: tuple[NodeId, ...]) -> NodeId:
    if not isinstance(node.expr, Elementwise) or node.expr.op != "div":
        return keep(builder, node, args)
    above, below = args
    shared = set(builder[below].type.axes) < set(builder[above].type.axes)
    if not shared or builder[below].type.kind is not Kind.REAL:
        return keep(builder, node, args)
    if lower_bound(builder, below) < _SMALLEST or upper_bound(builder, below) > _LARGEST_DIVISOR:
        return keep(builder, node, args)
    one = builder.add(Const(1.0), ValueType(REAL))
    inverse = builder.add(Elementwise("div", (one, below)), ValueType(REAL, builder[below].type.axes), span=node.span)
    return builder.add(Elementwise("mul", (above, inverse)), node.type, node.name, node.span)


def lower_bound(builder: GraphBuilder, value: NodeId) -> float:
    """A number that `value` is proved not to lie below wherever it is not NaN; minus infinity when nothing is known."""

    def needs(number: NodeId) -> tuple[NodeId, ...]:
        expr = builder[number].expr
        return operands(expr) if isinstance(expr, Elementwise | Reduce | Choose) else ()

    def rule(number: NodeId) -> float:
        match builder[number].expr:
            case Const(literal):
                return float(literal)
            case Elementwise(op="maximum", args=args):
                return max(map(known, args))
            case Elementwise(op="minimum", args=args) | Elementwise(op="where", args=(_, *args)):
                return min(map(known, args))
            case Elementwise(op="add", args=args):
                return sum(map(known, args))
            case Elementwise(op="exp" | "exp2" | "abs" | "sigmoid" | "sqrt" | "rsqrt"):
                return 0.0
            case Elementwise(op="mul", args=args):
                factors = list(map(known, args))
                return prod(factors) if min(factors) >= 0 else _UNKNOWN
            case Elementwise(op="div", args=(above, below)) if _sizes(builder, below):
                return known(above) / max(_sizes(builder, below))
            case Reduce(op="sum", arg=arg, axes=axes):
                return 1.0 if peaks_at_one(builder, arg, axes) else 0.0 if known(arg) >= 0 else _UNKNOWN
            case Reduce(op="amax" | "amin", arg=arg):
                return known(arg)
            case Choose(cases=cases):
                return min(known(case) for _, case in cases)
            case _:
                return _UNKNOWN

    known = BottomUp(needs, rule)
    return known(value)


def upper_bound(builder: GraphBuilder, value: NodeId) -> float:
    """A positive number that `value` is proved not to exceed where it is finite."""

    def needs(number: NodeId) -> tuple[NodeId, ...]:
        expr = builder[number].expr
        return operands(expr) if isinstance(expr, Elementwise | Reduce | Choose) else ()

    def rule(number: NodeId) -> float:
        match builder[number].expr:
            case Const(literal) if literal > 0:
                return float(literal)
            case Elementwise(op="maximum", args=args) | Elementwise(op="where", args=(_, *args)):
                return max(map(known, args))
            case Elementwise(op="minimum", args=args):
                return min(map(known, args))
            case Elementwise(op="div", args=(above, below)) if _sizes(builder, below):
                return min(_FINITE, known(above) / min(_sizes(builder, below)))
            case Elementwise(op="sqrt", args=(arg,)):
                return sqrt(known(arg))
            case Elementwise(op="sigmoid"):
                return 1.0
            case Reduce(op="sum", arg=arg, axes=axes) if peaks_at_one(builder, arg, axes):
                return _MOST_TERMS
            case Reduce(op="amax" | "amin", arg=arg):
                return known(arg)
            case Choose(cases=cases):
                return max(known(case) for _, case in cases)
            case _:
                return _FINITE

    known = BottomUp(needs, rule)
    return known(value)


def _sizes(builder: GraphBuilder, value: NodeId) -> list[float]:
    """The positive numbers that a literal or a largest number may be; none for anything else."""
    match builder[value].expr:
        case Const(number) if number > 0:
            return [float(number)]
        case MaxOf(dtype) if all(option.name in _LARGEST for option in dtype.options):
            return [_LARGEST[option.name] for option in dtype.options]
        case _:
            return []


def peaks_at_one(builder: GraphBuilder | tuple[Node, ...], value: NodeId, axes: tuple[Axis, ...]) -> bool:
    """Whether `value` is exp(a - amax(a)) over the same axes: positive, and 1 at the largest `a`."""
    expr = builder[value].expr
    if not isinstance(expr, Elementwise) or expr.op not in ("exp", "exp2"):
        return False
    difference = builder[expr.args[0]].expr
    if not isinstance(difference, Elementwise) or difference.op != "sub":
        return False
    peak = builder[difference.args[1]].expr
    return isinstance(peak, Reduce) and peak.op == "amax" and peak.arg == difference.args[0] and peak.axes == axes
