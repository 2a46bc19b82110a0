"""Defaults: the numbers and options that they write, and which parameters may lack one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_never

from fusec.diagnostics import Note
from fusec.ir.types import DType, Kind
from fusec.lang import syntax
from fusec.passes.graph.elaborate.constants import CONSTANTS
from fusec.passes.graph.elaborate.report import Report, did_you_mean, listing


def scalar_default(expr: syntax.Expr, dtype: DType, report: Report) -> float | int | bool | None:
    """The number that `expr` writes, as a `dtype` takes it; None when it is none, which is reported."""
    found = _constant(expr)
    if found is None:
        other = "what follows from sizes is in the body, or is the default of a tensor, `scale: f32[] = D ** -0.5`"
        report.add("the default of a scalar is a number", expr.span, help=other)
        return None
    if not _holds(dtype, found):
        help = "write `true` or `false`" if dtype.kind is Kind.BOOL else None
        report.add(f"`{expr.span.text}` is no `{dtype}`", expr.span, help=help)
        return None
    return float(found) if dtype.kind is Kind.REAL else found


def choice_default(expr: syntax.Expr, options: Sequence[str], report: Report) -> str | None:
    """The option that `expr` names; None when it names none, which is reported."""
    if isinstance(expr, syntax.Name) and expr.text in options:
        return expr.text
    help = did_you_mean(expr.span.text, options) or f"the options are {listing(options)}"
    report.add("the default is not among the options", expr.span, help=help)
    return None


def check_order(parameters: Iterable[tuple[syntax.Name, bool]], report: Report) -> None:
    """As in Python, a parameter without a default does not follow one with a default; which has one is given."""
    first = None
    for name, has_default in parameters:
        if has_default:
            first = first or name
        elif first:
            note = Note(f"`{first.text}` has a default", first.span)
            help = "parameters that must be given come first"
            report.add(f"`{name.text}` has no default but follows one that has", name.span, note, help=help)


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
