"""Extents and strides as text: the same words in a kernel and in Python."""

from __future__ import annotations

from typing import Any

import sympy

from fusec.diagnostics import InternalError
from fusec.ir.computed_sizes import Computed
from fusec.ir.field_names import field_names


def size_text(value: sympy.Expr, names: dict[str, str] | None = None) -> str:
    """An integer expression in Python's (and Triton's) syntax. Refuses what it does not know."""
    return _text(sympy.expand(value) if value.is_Add else value, names or {}, 0)


def operand_text(value: sympy.Expr, *, factor: bool) -> str:
    """The same as an operand of a sum, or as a `factor`."""
    return _text(value, {}, _MUL if factor else _ADD)


_ADD, _MUL, _ATOM = 1, 2, 3


def _text(value: sympy.Expr, names: dict[str, str], outer: int) -> str:
    if isinstance(value, sympy.Symbol):
        return names.get(str(value.name), str(value.name))
    if isinstance(value, sympy.Integer):
        return str(int(value)) if value >= 0 or outer == 0 else f"({int(value)})"
    if isinstance(value, sympy.Add):
        terms = sorted(value.args, key=_constants_last)
        added = [term for term in terms if not term.could_extract_minus_sign()] or terms
        taken = "".join(f" - {_text(-term, names, _MUL)}" for term in terms if term not in added)
        return _bracketed(" + ".join(_text(term, names, _ADD) for term in added) + taken, _ADD, outer)
    if isinstance(value, sympy.floor):
        numerator, denominator = sympy.fraction(sympy.together(value.args[0]))
        text = f"{_text(numerator, names, _MUL)} // {_text(denominator, names, _ATOM)}"
        return _bracketed(text, _MUL - 0.5, outer)
    if isinstance(value, sympy.Mod):
        text = f"{_text(value.args[0], names, _MUL)} % {_text(value.args[1], names, _ATOM)}"
        return _bracketed(text, _MUL - 0.5, outer)
    if isinstance(value, sympy.Min | sympy.Max | sympy.Abs):
        function = {sympy.Min: "min", sympy.Max: "max", sympy.Abs: "abs"}[value.func]
        return f"{function}({', '.join(_text(arg, names, 0) for arg in sorted(value.args, key=_constants_last))})"
    if isinstance(value, Computed):
        return value.text.format(*(_text(arg, names, _ATOM) for arg in value.args))
    if isinstance(value, sympy.Mul):
        factors = sorted(value.args, key=lambda factor: (not factor.is_number, str(factor)))
        if all(_is_whole(factor) for factor in factors):
            return _bracketed(" * ".join(_text(factor, names, _MUL) for factor in factors), _MUL, outer)
    if isinstance(value, sympy.Pow) and value.exp.is_Integer and value.exp > 0:
        return _bracketed(" * ".join([_text(value.base, names, _MUL)] * int(value.exp)), _MUL, outer)
    raise InternalError("size_text", f"no text for the size {value}")


def _constants_last(term: sympy.Expr) -> tuple[bool, str]:
    return bool(term.is_number), str(term)


def _is_whole(factor: sympy.Expr) -> bool:
    return not (isinstance(factor, sympy.Rational) and not isinstance(factor, sympy.Integer))


def _bracketed(text: str, strength: float, outer: float) -> str:
    return f"({text})" if strength < outer or (strength == outer == _MUL - 0.5) else text


def symbols_in(value: object) -> tuple[str, ...]:
    """The names of the symbols in the sizes anywhere inside of a tree of dataclasses and tuples, in order."""
    found: dict[str, None] = {}
    stack: list[Any] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple | list):
            stack += reversed(item)
        elif (names := field_names(item.__class__)) is not None:
            stack += [getattr(item, name) for name in reversed(names)]
        elif isinstance(item, sympy.Basic):
            found.update(dict.fromkeys(sorted(symbol.name for symbol in item.free_symbols)))
    return tuple(found)
