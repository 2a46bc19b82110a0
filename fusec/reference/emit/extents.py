"""Axis extents as Python: how they follow from the arguments, and how they are written in an expression."""

from __future__ import annotations

from collections.abc import Callable

import sympy

from fusec.diagnostics import InternalError
from fusec.ir.graph import SIZE
from fusec.ir.types import Dim
from fusec.ir.types import extent as axis_extent
from fusec.reference.emit.spelling import ATOM, PRODUCT, SUM, Text


def extent_text(dim: Dim, name: Callable[[str], str]) -> Text:
    """The extent of an axis or a product of axes, 1 of none; `name` gives the variable of a named axis."""
    factors = [solved_text(axis_extent(axis), name) for axis in dim]
    if not factors:
        return Text("1")
    if len(factors) == 1:
        return factors[0]
    return Text(" * ".join(factor.within(PRODUCT) for factor in factors), PRODUCT)


def solved_text(value: sympy.Expr, name: Callable[[str], str], size: str = "") -> Text:
    """A sympy extent as Python text; `size` is what stands for the symbol SIZE."""
    match value:
        case sympy.Symbol():
            return Text(size) if value == SIZE else Text(name(value.name))
        case sympy.Integer():
            return Text(str(int(value)), ATOM)
        case sympy.Add():
            terms = sorted(value.as_ordered_terms(), key=lambda term: (not term.has(SIZE), str(term).startswith("-")))
            return Text(_signed([solved_text(term, name, size).within(SUM) for term in terms]), SUM)
        case sympy.Mul():
            over, under = value.as_numer_denom()
            if under != 1:
                return _quotient(over, under, name, size)
            factors = [solved_text(factor, name, size) for factor in value.as_ordered_factors()]
            if factors[0].code == "-1":
                return Text(f"-{' * '.join(factor.within(PRODUCT) for factor in factors[1:])}", PRODUCT)
            return Text(" * ".join(factor.within(PRODUCT) for factor in factors), PRODUCT)
        case sympy.floor():
            over, under = value.args[0].as_numer_denom()
            return _quotient(over, under, name, size)
        case _:
            raise InternalError("emit reference", f"no Python text for the extent {value}")


def _quotient(over: sympy.Expr, under: sympy.Expr, name: Callable[[str], str], size: str) -> Text:
    top, bottom = solved_text(over, name, size), solved_text(under, name, size)
    return Text(f"{top.within(PRODUCT)} // {bottom.within(ATOM)}", PRODUCT)


def _signed(terms: list[str]) -> str:
    return "".join(
        term if not place else f" - {term[1:]}" if term.startswith("-") else f" + {term}"
        for place, term in enumerate(terms)
    )


def named_axes(value: sympy.Expr) -> list[str]:
    """The names of the axes an extent depends on."""
    return sorted(symbol.name for symbol in value.free_symbols - {SIZE})
