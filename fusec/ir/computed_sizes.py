"""What sizes are made by beyond arithmetic: choices, comparisons and digits, as functions in a formula of extents.

A truth value is 0 or 1. Sympy has relations and piecewise functions of its own, but it solves them when they are made.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import sympy


class Computed(sympy.Function):  # type: ignore[misc]  # sympy has no types
    """A function of sizes, which is computed where all of them are known."""

    is_integer = True
    text: ClassVar[str]
    """Python for it, with a place for each size."""
    of_numbers: ClassVar[Callable[..., Any]]

    @classmethod
    def eval(cls, *sizes: sympy.Expr) -> sympy.Integer | None:
        """Its value for numbers; None leaves it as it is."""
        if all(isinstance(size, sympy.Integer) for size in sizes):
            return sympy.Integer(int(cls.of_numbers(*map(int, sizes))))
        return None


def _computed(name: str, text: str, of_numbers: Callable[..., Any]) -> type[Computed]:
    return type(name, (Computed,), {"text": text, "of_numbers": staticmethod(of_numbers)})


choice = _computed("choice", "({1} if {0} else {2})", lambda condition, a, b: a if condition else b)
negation = _computed("negation", "(not {0})", operator.not_)
sign_of = _computed("sign_of", "(({0} > 0) - ({0} < 0))", lambda size: (size > 0) - (size < 0))

COMPUTED: Mapping[str, type[Computed]] = MappingProxyType(
    {
        symbol: _computed(name, f"({{0}} {symbol} {{1}})", of_numbers)
        for symbol, name, of_numbers in (
            ("==", "equal", operator.eq),
            ("!=", "unequal", operator.ne),
            ("<", "less", operator.lt),
            ("<=", "at_most", operator.le),
            (">", "greater", operator.gt),
            (">=", "at_least", operator.ge),
            ("and", "both", lambda a, b: a and b),
            ("or", "either", lambda a, b: a or b),
            ("&", "common_digits", operator.and_),
            ("|", "all_digits", operator.or_),
            ("^", "other_digits", operator.xor),
        )
    }
)
"""Functions of two sizes by their symbols."""

IMPLEMENTATIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {each.__name__: each.of_numbers for each in (choice, negation, sign_of, *COMPUTED.values())}
)
"""What computes each function of numbers, by its name in a formula."""
