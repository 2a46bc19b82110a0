"""How each extent follows from the arguments of a call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import sympy

from fusec.ir.graph import SIZE, Constraint, DimParam, Param, Solve, TensorParam
from fusec.ir.types import Axis, Dim, Fixed, Lead, Named, Quotient, Sum, Twin, symbol


@dataclass(frozen=True, slots=True)
class _Equation:
    """`left == right`, where `SIZE` is dimension `dim` of tensor `param`, or the value of the `dim` parameter."""

    left: sympy.Expr
    right: sympy.Expr
    param: str = ""
    dim: int | None = None


def solve_extents(
    params: Iterable[Param], constraints: Iterable[Constraint], wanted: Iterable[str]
) -> tuple[Solve, ...]:
    """A way to find each extent of `wanted`, in an order in which they can be found; some may be missing.

    Before: `x: T[B, H*D]`, `cos: C[D/2]`.   After: `B = size(x, 0)`, `D = 2 size(cos, 0)`, `H = floor(size(x, 1) / D)`.

    Each equation "size of a dimension = product of extents" and each `==` of `where` is solved for its one unknown;
    dimensions that are one axis come first, so that as little as possible is computed.
    """
    equations = sorted(_equations(tuple(params), constraints), key=_complexity)
    unknown = {symbol(name) for name in wanted}
    for equation in equations:
        unknown |= _extents(equation)
    found: list[Solve] = []
    while solve := next(_solutions(equations, unknown), None):
        found.append(solve)
        unknown.discard(symbol(solve.name))
    return tuple(found)


def _equations(params: tuple[Param, ...], constraints: Iterable[Constraint]) -> Iterator[_Equation]:
    for param in params:
        match param:
            case DimParam(name, axis, inferred):
                if not inferred:
                    yield _Equation(symbol(axis.name), SIZE, name)
            case TensorParam(name, _, dims) if not param.optional:
                shift = len(dims) if dims and dims[0] == (Lead(),) else 0
                for place, dim in enumerate(dims):
                    if dim != (Lead(),):
                        yield _Equation(exact_extent(dim), SIZE, name, place - shift)
            case _:
                pass
    for constraint in constraints:
        if constraint.relation == "==":
            yield _Equation(constraint.left, constraint.right)


def _solutions(equations: list[_Equation], unknown: set[sympy.Symbol]) -> Iterator[Solve]:
    for equation in equations:
        open_symbols = _extents(equation) & unknown
        if len(open_symbols) == 1:
            (wanted,) = open_symbols
            value = _isolate(equation.left - equation.right, wanted)
            if value is not None:
                yield Solve(wanted.name, equation.param, equation.dim, value)


def _isolate(zero: sympy.Expr, wanted: sympy.Symbol) -> sympy.Expr | None:
    """The `wanted` for which `zero`, linear in it, is 0; divided without remainder, which the checks make sure of."""
    if any(wanted in part.free_symbols for part in zero.atoms(sympy.floor, sympy.Mod)):
        return None
    zero = sympy.expand(zero)
    factor, rest = zero.coeff(wanted, 1), zero.coeff(wanted, 0)
    if factor == 0 or sympy.expand(factor * wanted + rest - zero) != 0:
        return None
    value = -rest / factor
    numerator, denominator = sympy.fraction(sympy.together(value))
    return numerator if denominator == 1 else sympy.floor(numerator / denominator)


def exact_extent(dim: Dim) -> sympy.Expr:
    """The extent of a dimension, with `D/2` as an exact half: that D is even is checked elsewhere."""
    return sympy.Mul(*map(_exact_axis, dim))


def _exact_axis(axis: Axis) -> sympy.Expr:
    match axis:
        case Named(name):
            return symbol(name)
        case Fixed(value):
            return sympy.Integer(value)
        case Quotient(of, by):
            return symbol(of.name) / by
        case Sum(parts):
            return sympy.Add(*map(exact_extent, parts))
        case Lead():
            return symbol("lead")
        case Twin(of):
            return _exact_axis(of)


def _extents(equation: _Equation) -> set[sympy.Symbol]:
    return {s for s in (equation.left - equation.right).free_symbols if s not in (SIZE, symbol("lead"))}


def _complexity(equation: _Equation) -> int:
    return 0 if equation.left.is_Symbol and equation.dim is not None else int(sympy.count_ops(equation.left)) + 1
