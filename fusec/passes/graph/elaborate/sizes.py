"""What the sizes that a module's constructor takes tell of the extents of its op."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sympy

from fusec.ir.graph import SIZE, Graph, TensorParam
from fusec.ir.module import Rule, Setting
from fusec.ir.types import DTYPES, Dim, symbol
from fusec.passes.graph.solve_extents import exact_extent, solve_extents


class Sizes:
    """The extents of an op that the sizes given to a constructor tell, as expressions over its arguments."""

    def __init__(self, settings: Iterable[Setting], graph: Graph) -> None:
        sizes = [(setting.dim, setting.name) for setting in settings if setting.dim]
        self._given = {dim: symbol(name) for dim, name in reversed(sizes)}
        self.exact: dict[sympy.Symbol, sympy.Expr] = {}
        # A size that is given says as much as a tensor of one dimension.
        tensors = [TensorParam(name, DTYPES["f32"], (dim,)) for dim, name in sizes]
        for solve in solve_extents(tensors, graph.constraints, ()):
            value = solve.value.xreplace({SIZE: symbol(solve.param), **self.exact})
            # Fractions, so that H*D with H = hidden // D is hidden again; `rules` make sure that they are whole.
            self.exact[symbol(solve.name)] = value.replace(sympy.floor, lambda inner: inner) if solve.param else value

    def of(self, dim: Dim) -> sympy.Expr | None:
        """The extent of a stored dimension; None when it is not told."""
        if dim in self._given:
            return self._given[dim]
        told = self._told(dim)
        return None if told is None else _whole(told)

    def is_free(self, setting: Setting) -> bool:
        """Whether a size is free to choose: it follows from no other ones."""
        assert setting.dim
        told, own = self._told(setting.dim), symbol(setting.name)
        return self._given[setting.dim] == own and (told is None or sympy.simplify(told - own) == 0)

    def rules(self, graph: Graph) -> tuple[Rule, ...]:
        """That every extent is whole and none is negative, and the conditions of the op, as far as they can be told."""
        whole = {axis: _whole(value) for axis, value in self.exact.items()}
        found = [rule for value in self.exact.values() for rule in _extent_rules(value)]
        for condition in graph.constraints:
            left, right = condition.left.xreplace(whole), condition.right.xreplace(whole)
            told = (condition.left.free_symbols | condition.right.free_symbols) <= set(whole)
            if told and sympy.Rel(left, right, condition.relation) != sympy.true:
                found.append(Rule(left, condition.relation, right))
        return tuple(dict.fromkeys(found))

    def _told(self, dim: Dim) -> sympy.Expr | None:
        extent = exact_extent(dim)
        return extent.xreplace(self.exact) if extent.free_symbols <= set(self.exact) else None


def _extent_rules(value: sympy.Expr) -> Iterator[Rule]:
    """That the fraction `value` is positive and whole."""
    numerator, denominator = sympy.fraction(sympy.together(value))
    terms = sympy.Add.make_args(sympy.expand(numerator))
    taken = [-term for term in terms if term.could_extract_minus_sign()]
    if taken:
        yield Rule(sympy.Add(*(term for term in terms if -term not in taken)), ">", sympy.Add(*taken))
    if denominator != 1:
        yield Rule(sympy.Mod(numerator, denominator), "==", sympy.S.Zero)


def _whole(value: sympy.Expr) -> sympy.Expr:
    """A fraction that is whole, as a division of integers."""
    numerator, denominator = sympy.fraction(sympy.together(value))
    return numerator if denominator == 1 else sympy.floor(numerator / denominator)
