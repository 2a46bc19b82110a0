"""Elide masks: prove that lanes outside of the extents hold zero, so that a sum need not mask them.

Before: `tl.sum(tl.where(n_mask, x * x, 0))`; after: `tl.sum(x * x)`, because a masked load of `x` reads zero there.
Relies on every load being masked along its own axes with a fill of zero.
"""

from __future__ import annotations

from math import isfinite

from fusec.ir.flow import Flow, Load, Lookup
from fusec.ir.graph import Cast, Choose, Const, Elementwise, NodeId
from fusec.ir.types import Axis


def is_zero_outside(flow: Flow, number: NodeId, axes: tuple[Axis, ...]) -> bool:
    """Whether node `number` is proved zero in every lane outside of the extents of any of `axes`."""
    node = flow.nodes[number]
    match node.expr:
        case Load(positions=positions):
            looked = any(isinstance(position, Lookup) for position in positions)
            return not looked and all(axis in node.type.axes for axis in axes)
        case Const(value):
            return value == 0
        case Elementwise(op="mul", args=(a, b)):
            zero_a, zero_b = is_zero_outside(flow, a, axes), is_zero_outside(flow, b, axes)
            return (zero_a and zero_b) or (zero_a and _is_finite(flow, b)) or (zero_b and _is_finite(flow, a))
        case Elementwise(op="div", args=(a, b)):
            return is_zero_outside(flow, a, axes) and _is_finite(flow, b)
        case Elementwise(op="abs" | "neg" | "sqrt" | "add" | "sub" | "maximum" | "minimum", args=args):
            return all(is_zero_outside(flow, arg, axes) for arg in args)
        case Cast(arg=arg):
            return is_zero_outside(flow, arg, axes)
        case Choose(cases=cases):
            return all(is_zero_outside(flow, case, axes) for _, case in cases)
        case _:
            return False


def is_size(flow: Flow, number: NodeId) -> bool:
    """Whether a node is proved to be at least zero wherever it is not NaN."""
    match flow.nodes[number].expr:
        case Const(value):
            return value >= 0
        case Elementwise(op="abs" | "sqrt" | "exp" | "exp2"):
            return True
        case Elementwise(op="mul", args=(a, b)):
            return a == b or (is_size(flow, a) and is_size(flow, b))
        case Elementwise(op="add" | "div" | "minimum", args=args):
            return all(is_size(flow, arg) for arg in args)
        case Elementwise(op="maximum", args=args):
            return any(is_size(flow, arg) for arg in args)
        case _:
            return False


def _is_finite(flow: Flow, number: NodeId) -> bool:
    """Whether a node is a literal that is neither zero nor infinite, so that zero times or over it is zero."""
    expr = flow.nodes[number].expr
    return isinstance(expr, Const) and isfinite(expr.value) and expr.value != 0
