"""Which extents the axes of a signature may have together: what divides what, what equals what, what fits."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import lcm, prod

import sympy

from fusec.ir.expressions import Merge, Part, Reduce
from fusec.ir.graph import Constraint, Graph
from fusec.ir.types import Axis, Dim, Fixed, Lead, Named, Quotient, Sum, product_extent, symbol

LEAD = "lead"
"""The name of the extent of `...`, the product of the axes it stands for."""

_RELATIONS: Mapping[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Formula:
    """A whole number computed from extents."""

    names: tuple[str, ...]
    compute: Callable[..., int]

    @classmethod
    def of(cls, value: sympy.Expr) -> Formula:
        names = tuple(sorted(each.name for each in value.free_symbols))
        return cls(names, sympy.lambdify([symbol(name) for name in names], value, modules="math"))

    def __call__(self, extents: Mapping[str, int], unknown: int = 1) -> int:
        return self.compute(*(extents.get(name, unknown) for name in self.names))


@dataclass(frozen=True, slots=True)
class Condition:
    """A constraint of the signature; `bound` extents are replaced by what they equal."""

    left: Formula
    relation: str
    right: Formula

    @classmethod
    def of(cls, constraint: Constraint, bound: Mapping[sympy.Symbol, sympy.Expr]) -> Condition:
        sides = (constraint.left.subs(bound), constraint.right.subs(bound))
        return cls(Formula.of(sides[0]), constraint.relation, Formula.of(sides[1]))

    def may_hold(self, extents: Mapping[str, int]) -> bool:
        """Whether the condition holds, or depends on an extent not chosen yet."""
        if not extents.keys() >= {*self.left.names, *self.right.names}:
            return True
        try:
            return _RELATIONS[self.relation](self.left(extents), self.right(extents))
        except ZeroDivisionError:
            return False


@dataclass(frozen=True, slots=True)
class Signature:
    """The axes of a graph: `free` ones to be drawn, `bound` ones that follow from them by an equation."""

    free: tuple[str, ...]
    bound: dict[str, Formula]
    divisors: dict[str, int]
    """What an extent must be a multiple of, because the axis is taken in halves or pairs."""
    positive: frozenset[str]
    """Extents that others are found by dividing by."""
    conditions: tuple[Condition, ...]
    tensors: tuple[tuple[Formula, ...], ...]
    """The sizes of the dimensions of every tensor."""
    inner: frozenset[str]
    """Axes along which one program works: reduced, taken apart, or varying fastest in memory."""
    has_lead: bool

    @classmethod
    def of(cls, graph: Graph) -> Signature:
        stored = (*(param.dims for param in graph.tensors), *(output.dims for output in graph.outputs))
        axes = [axis for dims in stored for dim in dims for axis in dim]
        axes += [axis for node in graph.nodes for axis in node.type.axes]
        found = tuple(dict.fromkeys(name for axis in axes for name in names(axis)))
        bound = _bound(graph.constraints)
        divisors = dict.fromkeys(found, 1)
        for axis in axes:
            for each in _quotients(axis):
                divisors[each.of.name] = lcm(divisors[each.of.name], each.by)
        return cls(
            tuple(name for name in found if symbol(name) not in bound),
            {each.name: Formula.of(value) for each, value in bound.items()},
            divisors,
            frozenset(name for solve in graph.solves for name in _divided_by(solve.value)),
            tuple(Condition.of(constraint, bound) for constraint in graph.constraints),
            tuple(tuple(Formula.of(product_extent(dim).subs(bound)) for dim in dims) for dims in stored),
            frozenset(_inner(graph, stored)),
            (Lead(),) in [dim for dims in stored for dim in dims],
        )


@dataclass(slots=True)
class Room:
    """Extents chosen so far, and what is still allowed beside them.

    `rows` limits the positions of all free axes that are not inner together, `elements` the size of any one tensor.
    """

    signature: Signature
    rows: int
    elements: int
    extents: dict[str, int] = field(default_factory=dict)

    def allowed(self, name: str, pool: Sequence[int]) -> list[int]:
        """What `name` may still be: numbers of `pool`, and the multiples that divisibility asks for."""
        step = self.signature.divisors[name]
        known = [extent * factor for extent in self.extents.values() for factor in (1, 2, 3)]
        wanted = dict.fromkeys([*(step * number for number in pool), *pool, *known])
        if name in self.signature.positive:
            wanted.pop(0, None)
        return [number for number in wanted if number % step == 0 and self._fits({**self.extents, name: number})]

    def settle(self) -> bool:
        """Work out the bound extents; false when they do not fit."""
        bound = {name: value(self.extents) for name, value in self.signature.bound.items()}
        self.extents.update(bound)
        whole = all(value >= 0 and value % self.signature.divisors.get(name, 1) == 0 for name, value in bound.items())
        return whole and self._fits(self.extents)

    def _fits(self, extents: dict[str, int]) -> bool:
        bound_or_inner = self.signature.inner | self.signature.bound.keys()
        outer = [max(extent, 1) for name, extent in extents.items() if name not in bound_or_inner]
        return (
            prod(outer) <= self.rows
            and all(condition.may_hold(extents) for condition in self.signature.conditions)
            and all(prod(max(dim(extents), 1) for dim in dims) <= self.elements for dims in self.signature.tensors)
        )


def _bound(constraints: tuple[Constraint, ...]) -> dict[sympy.Symbol, sympy.Expr]:
    """Extents that an equation such as `D == 128` or `K == G*L` defines, in terms of the others."""
    bound: dict[sympy.Symbol, sympy.Expr] = {}
    for constraint in constraints:
        left, right = constraint.left.subs(bound), constraint.right.subs(bound)
        for name, value in ((left, right), (right, left)) if constraint.relation == "==" else ():
            if isinstance(name, sympy.Symbol) and name not in value.free_symbols:
                bound = {other: held.subs(name, value) for other, held in bound.items()}
                bound[name] = value
                break
    return bound


def _divided_by(value: sympy.Expr) -> set[str]:
    powers = [power for power in value.atoms(sympy.Pow) if power.exp.is_negative]
    return {each.name for power in powers for each in power.base.free_symbols}


def names(axis: Axis) -> list[str]:
    """The named axes that an axis is made of."""
    match axis:
        case Named(name):
            return [name]
        case Quotient(of, _):
            return [of.name]
        case Sum(parts):
            return [name for part in parts for each in part for name in names(each)]
        case Fixed() | Lead():
            return []


def _quotients(axis: Axis) -> list[Quotient]:
    match axis:
        case Quotient():
            return [axis]
        case Sum(parts):
            return [found for part in parts for each in part for found in _quotients(each)]
        case Named() | Fixed() | Lead():
            return []


def _inner(graph: Graph, stored: tuple[tuple[Dim, ...], ...]) -> set[str]:
    shared: list[Axis] = []
    for node in graph.nodes:
        match node.expr:
            case Reduce(_, _, over):
                shared.extend(over)
            case Part(_, axis, _, _) | Merge(_, axis, _):
                shared.append(axis)
            case _:
                pass
    fastest = {name for dims in stored if dims for axis in dims[-1] for name in names(axis)}
    slower = {name for output in graph.outputs for dim in output.dims[:-1] for axis in dim for name in names(axis)}
    return {name for axis in shared for name in names(axis)} | (fastest - slower)
