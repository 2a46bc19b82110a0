"""Conditions on extents, and the whole numbers that satisfy them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from math import isfinite, nan
from typing import Any, TypeAlias

import numpy as np
import sympy

from fusec.ir.computed_sizes import IMPLEMENTATIONS
from fusec.ir.graph import Constraint
from fusec.ir.types import symbol

Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

FIRST_LOOK = 1 << 12
"""Where solutions are looked for first, for most are there."""

_RELATIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Formula:
    """A whole number computed from extents, one by one or for many at once."""

    value: sympy.Expr
    names: tuple[str, ...]
    compute: Callable[..., int]

    @classmethod
    def of(cls, value: sympy.Expr) -> Formula:
        return _formula(value)

    def __call__(self, extents: Mapping[str, int], unknown: int = 1) -> int:
        return self.compute(*(extents.get(name, unknown) for name in self.names))

    def along(self, name: str, numbers: Numbers, extents: Mapping[str, int]) -> Numbers:
        """Its value for each of the `numbers` that `name` may be; not finite where something is divided by 0."""
        # Floats: they hold whole numbers up to 2**53, and a remainder by 0 is NaN.
        given = (numbers if each == name else np.float64(extents[each]) for each in self.names)
        with np.errstate(all="ignore"):
            found: Numbers = _function(self.value, self.names, "numpy")(*given)
        return found


@lru_cache(maxsize=1 << 14)
def _formula(value: sympy.Expr) -> Formula:
    names = tuple(sorted(each.name for each in value.free_symbols))
    return Formula(value, names, _function(value, names, "math"))


@lru_cache(maxsize=1 << 14)
def _function(value: sympy.Expr, names: tuple[str, ...], module: str) -> Callable[..., Any]:
    """Writing a function takes a millisecond, and a few expressions come up in every spec."""
    if module == "numpy":
        # Sympy writes a minimum that takes arrays of one shape alone.
        value = value.replace(sympy.Min, lambda *args: reduce(_least, args))
        value = value.replace(sympy.Max, lambda *args: -reduce(_least, [-arg for arg in args]))
    own = {name: _each(compute) if module == "numpy" else compute for name, compute in IMPLEMENTATIONS.items()}
    function: Callable[..., Any] = sympy.lambdify([symbol(name) for name in names], value, modules=[own, module])
    return function


def _each(compute: Callable[..., int]) -> Callable[..., Any]:
    """A function of whole numbers on arrays of floats; what is not finite stays nothing."""

    def one(*sizes: float) -> float:
        return compute(*map(int, sizes)) if all(map(isfinite, sizes)) else nan

    return np.vectorize(one, otypes=[np.float64])


def _least(one: sympy.Expr, other: sympy.Expr) -> sympy.Expr:
    return (one + other - sympy.Abs(one - other)) / 2


@dataclass(frozen=True, slots=True)
class Condition:
    """`left relation right`, over extents."""

    left: Formula
    relation: str
    right: Formula

    @classmethod
    def of(cls, constraint: Constraint, bound: Mapping[sympy.Symbol, sympy.Expr]) -> Condition:
        """A constraint, in which `bound` extents are replaced by what they equal."""
        return cls.between(constraint.left.subs(bound), constraint.relation, constraint.right.subs(bound))

    @classmethod
    def between(cls, left: sympy.Expr, relation: str, right: sympy.Expr) -> Condition:
        return cls(Formula.of(left), relation, Formula.of(right))

    @property
    def names(self) -> frozenset[str]:
        return frozenset((*self.left.names, *self.right.names))

    def may_hold(self, extents: Mapping[str, int]) -> bool:
        """Whether the condition holds, or depends on an extent not chosen yet."""
        if not extents.keys() >= self.names:
            return True
        try:
            return bool(_RELATIONS[self.relation](self.left(extents), self.right(extents)))
        except ZeroDivisionError:
            return False

    def holds_along(self, name: str, numbers: Numbers, extents: Mapping[str, int]) -> Any:
        """For each of the `numbers` that `name` may be, whether the condition holds beside the other extents."""
        left, right = (side.along(name, numbers, extents) for side in (self.left, self.right))
        with np.errstate(all="ignore"):
            return _RELATIONS[self.relation](left, right) & np.isfinite(left) & np.isfinite(right)


def asked(value: sympy.Expr, step: int, least: int) -> Iterator[Condition]:
    """What an extent that equals `value`, a multiple of `step` and not below `least`, asks of those it follows from."""
    if least or value.is_nonnegative is not True:
        yield Condition.between(value, ">=", sympy.Integer(least))
    if not value.is_integer:
        yield Condition.between(sympy.Mod(value, 1), "==", sympy.Integer(0))
    if step > 1:
        yield Condition.between(sympy.Mod(value, step), "==", sympy.Integer(0))


@dataclass(frozen=True, slots=True)
class Conditions:
    """All that is asked of some extents. `steps` says what each has to be a multiple of."""

    each: tuple[Condition, ...]
    steps: Mapping[str, int]
    _found: dict[tuple[object, ...], tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)

    def may_hold(self, extents: Mapping[str, int]) -> bool:
        """Whether none is broken yet."""
        return all(condition.may_hold(extents) for condition in self.each)

    def concern(self, name: str) -> bool:
        """Whether something is asked of `name`."""
        return any(name in condition.names for condition in self.each)

    def solutions(self, name: str, known: Mapping[str, int], limit: int) -> tuple[int, ...]:
        """What `name` can be from 0 to `limit`, in order, as far as conditions on it and `known` extents alone say."""
        ready = [c for c in self.each if name in c.names and c.names - {name} <= known.keys()]
        beside = sorted({other for condition in ready for other in condition.names} - {name})
        key = (name, limit, *((other, known[other]) for other in beside))
        if key not in self._found:
            numbers = np.arange(0, limit + 1, self.steps.get(name, 1), dtype=np.float64)
            for condition in ready:
                numbers = numbers[condition.holds_along(name, numbers, known)]
            self._found[key] = tuple(map(int, numbers))
        return self._found[key]

    def first(self, name: str, known: Mapping[str, int], limit: int) -> tuple[int, ...]:
        """The solutions up to `limit`, or only those of a first look if there are any but 0."""
        found = self.solutions(name, known, min(limit, FIRST_LOOK))
        return found if any(found) else self.solutions(name, known, limit)

    def are_open(self, known: Mapping[str, int], limit: int) -> bool:
        """Whether each extent that is the only one left in some condition can still be something up to `limit`."""
        left = (condition.names - known.keys() for condition in self.each)
        alone: Iterable[str] = {name for names in left if len(names) == 1 for name in names}
        return all(self.first(name, known, limit) for name in alone)
