"""Defaults of scalar parameters: numbers, and whether a dtype holds them."""

from __future__ import annotations

from typing import assert_never

from fusec.ir.types import DType, Kind
from fusec.lang import syntax
from fusec.passes.graph.elaborate.constants import CONSTANTS
from fusec.passes.graph.elaborate.report import Report


def scalar_default(expr: syntax.Expr, dtype: DType, report: Report) -> float | int | bool | None:
    """The number that `expr` writes, as a `dtype` takes it; None when it is none, which is reported."""
    found = _constant(expr)
    if found is None:
        report.add("the default of a scalar is a number", expr.span)
        return None
    if not _holds(dtype, found):
        help = "write `true` or `false`" if dtype.kind is Kind.BOOL else None
        report.add(f"`{expr.span.text}` is no `{dtype}`", expr.span, help=help)
        return None
    return float(found) if dtype.kind is Kind.REAL else found


def _constant(expr: syntax.Expr) -> float | int | bool | None:
    match expr:
        case syntax.Number(value):
            return value
        case syntax.Unary(op="neg", operand=operand):
            found = _constant(operand)
            return None if found is None else -found
        case syntax.Name(text):
            return CONSTANTS.get(text)
        case _:
            return None


def _holds(dtype: DType, value: float | int | bool) -> bool:
    match dtype.kind:
        case Kind.BOOL:
            return isinstance(value, bool)
        case Kind.REAL:
            return not isinstance(value, bool)
        case Kind.INT:
            low, high = (0, 2**dtype.bits) if dtype.name == "u8" else (-(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1))
            return isinstance(value, int) and not isinstance(value, bool) and low <= value < high
        case _:
            assert_never(dtype.kind)
