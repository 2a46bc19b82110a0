"""Axis expressions: `H*D`, `L + R`, `D/2`, `...`, wherever they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from fusec.diagnostics import Span
from fusec.ir.types import Axis, Dim, Fixed, Lead, Named, Quotient, Sum
from fusec.lang import syntax
from fusec.passes.graph.elaborate.report import Fault

Resolve: TypeAlias = Callable[[syntax.Name], Dim]


class DimFault(Fault):
    """An expression that is no dimension."""


def to_dim(expr: syntax.Expr, resolve: Resolve) -> Dim:
    """The axes that `expr` writes, outermost first; `resolve` gives those of a name. Raises `DimFault`."""
    match expr:
        case syntax.Name():
            return resolve(expr)
        case syntax.Dots():
            return (Lead(),)
        case syntax.Number(value=int(value)) if value > 0:
            return (Fixed(value),) if value > 1 else ()
        case syntax.Number(span=span):
            raise DimFault("an axis written as a number has a whole number of positions, at least 1", span)
        case syntax.Binary(op="mul", left=left, right=right):
            return (*_factors(left, resolve), *_factors(right, resolve))
        case syntax.Binary(op="div", left=left, right=right):
            *outer, last = _factors(left, resolve) or (Fixed(1),)
            return (*outer, *_quotient(last, right, expr.span))
        case syntax.Binary(op="add", left=left, right=right):
            return (Sum((*_parts(left, resolve), _factors(right, resolve))),)
        case syntax.Binary(op="floordiv", span=span):
            raise DimFault("this writes no axes", span, "a part of an axis is written `D/2`")
        case _:
            help = "axes are written as a name, a number, `A*B`, `A + B`, `A/2` or `...`"
            raise DimFault("this writes no axes", expr.span, help)


def _factors(expr: syntax.Expr, resolve: Resolve) -> Dim:
    dim = to_dim(expr, resolve)
    if Lead() in dim:
        raise DimFault("`...` stands for whole dimensions and takes no part in a product or a sum", expr.span)
    return dim


def _parts(expr: syntax.Expr, resolve: Resolve) -> tuple[Dim, ...]:
    dim = _factors(expr, resolve)
    match dim:
        case (Sum(parts),) if isinstance(expr, syntax.Binary):
            return parts
        case _:
            return (dim,)


def _quotient(axis: Axis, divisor: syntax.Expr, span: Span) -> Dim:
    if not (isinstance(divisor, syntax.Number) and isinstance(divisor.value, int) and divisor.value > 1):
        raise DimFault("an axis is divided by a whole number of at least 2", divisor.span)
    by = divisor.value
    match axis:
        case Named():
            return (Quotient(axis, by),)
        case Quotient(of, already):
            return (Quotient(of, already * by),)
        case Fixed(extent) if extent % by == 0:
            return (Fixed(extent // by),) if extent > by else ()
        case _:
            raise DimFault(f"`{axis}` cannot be divided by {by}", span)
