"""The axes of an op: which of their extents are free, what the others follow from, and what is asked of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import lcm, prod

import sympy

from fusec.extents.conditions import Condition, Conditions, Formula, asked
from fusec.ir.divisions import Demand, demands
from fusec.ir.expressions import Merge, Part, Reduce
from fusec.ir.graph import Constraint, Graph
from fusec.ir.types import Axis, Dim, Fixed, Lead, Named, Quotient, Sum, Twin, product_extent, symbol

MOST = 1 << 20
"""The largest extent that is looked for where conditions ask for a large one."""

TRIED = 64
"""How many solutions of some conditions are tried for one that leaves the others a solution."""


@dataclass(frozen=True)
class Signature:
    """The axes of a graph: `free` ones to be drawn, `bound` ones that follow from them by an equation."""

    free: tuple[str, ...]
    bound: dict[str, Formula]
    divisors: dict[str, int]
    """What an extent must be a multiple of, because the axis is taken in halves or pairs."""
    positive: frozenset[str]
    """Extents that others are found by dividing by, or that integers are divided by."""
    conditions: Conditions
    """What is asked of free extents, of those that bound ones follow from, too."""
    tensors: tuple[tuple[Formula, ...], ...]
    """The sizes of the dimensions of every tensor."""
    inner: frozenset[str]
    """Axes along which one program works: reduced, taken apart, or varying fastest in memory."""
    has_lead: bool
    added: Mapping[str, frozenset[int]]
    """What a number is added to an extent for the extent of an axis: 1 for `1 + N`."""

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
        asked_of = _demands(graph)
        dividing = [demand.size for demand in asked_of if demand.relation == "!="]
        positive = frozenset(name for solve in graph.solves for name in _divided_by(solve.value)) | _factors(dividing)
        conditions = [Condition.of(constraint, bound) for constraint in graph.constraints]
        conditions += [
            Condition.between(demand.size.subs(bound), demand.relation, sympy.Integer(demand.limit))
            for demand in asked_of
        ]
        for each, value in bound.items():
            conditions += asked(value, divisors.get(each.name, 1), int(each.name in positive))
        return cls(
            tuple(name for name in found if symbol(name) not in bound),
            {each.name: Formula.of(value) for each, value in bound.items()},
            divisors,
            positive,
            Conditions(tuple(condition for condition in conditions if condition.names), divisors),
            tuple(tuple(Formula.of(product_extent(dim).subs(bound)) for dim in dims) for dims in stored),
            frozenset(_inner(graph, stored)),
            (Lead(),) in [dim for dims in stored for dim in dims],
            _added(axes),
        )

    @cached_property
    def least(self) -> Mapping[str, int]:
        """The smallest extents that are no edge case: of at least 1 where the conditions allow that."""
        found: dict[str, int] = {}
        for name in self.free:
            wanted = [number for number in self.conditions.first(name, found, MOST) if number] or [0]
            tried = (number for number in wanted[:TRIED] if self.conditions.are_open({**found, name: number}, MOST))
            found[name] = next(tried, wanted[0])
        return found

    def nearest(self, name: str, wanted: int, known: Mapping[str, int]) -> int:
        """What `name` can be beside `known` extents that is closest to what is `wanted`; that itself if nothing can."""
        if not self.conditions.concern(name):
            return -(-wanted // self.divisors[name]) * self.divisors[name]
        near = self.conditions.solutions(name, known, 2 * wanted)
        solutions = near if any(near) else self.conditions.first(name, known, MOST)
        place = bisect_left(solutions, wanted)
        around = solutions[max(place - TRIED, 0) : place + TRIED]
        closest = sorted(around, key=lambda number: abs(number - wanted))
        tried = (number for number in closest if self.conditions.are_open({**known, name: number}, MOST))
        return next(tried, closest[0] if closest else wanted)

    def elements(self, extents: Mapping[str, int]) -> int:
        """The elements of the largest tensor; extents not chosen yet, and empty ones, count as 1."""
        return max((prod(max(dim(extents), 1) for dim in dims) for dims in self.tensors), default=1)

    def rows(self, extents: Mapping[str, int]) -> int:
        """The positions of all free axes that are not inner together."""
        bound_or_inner = self.inner | self.bound.keys()
        return prod(max(extent, 1) for name, extent in extents.items() if name not in bound_or_inner)


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


def _demands(graph: Graph) -> list[Demand]:
    """What is asked of sizes that are divided or shifted by, where a call may have something to divide or to shift."""
    found = {
        (demand.size, demand.relation): demand
        for demand in demands(graph)
        if demand.relation != "!="
        or not {*sympy.Mul.make_args(demand.size)} <= {*sympy.Mul.make_args(product_extent(demand.axes))}
    }
    return list(found.values())


def _factors(sizes: list[sympy.Expr]) -> frozenset[str]:
    """The extents that are positive where these sizes are, whatever the others are."""
    factors = [factor for size in sizes for factor in sympy.Mul.make_args(size)]
    alone = [factor.free_symbols for factor in factors if factor.subs(dict.fromkeys(factor.free_symbols, 0)) == 0]
    return frozenset(each.name for found in alone if len(found) == 1 for each in found)


def names(axis: Axis) -> list[str]:
    """The named axes that an axis is made of."""
    match axis:
        case Named(name):
            return [name]
        case Quotient(of, _):
            return [of.name]
        case Sum(parts):
            return [name for part in parts for each in part for name in names(each)]
        case Twin(of):
            return names(of)
        case Fixed() | Lead():
            return []


def _quotients(axis: Axis) -> list[Quotient]:
    match axis:
        case Quotient():
            return [axis]
        case Sum(parts):
            return [found for part in parts for each in part for found in _quotients(each)]
        case Twin(of):
            return _quotients(of)
        case Named() | Fixed() | Lead():
            return []


def _added(axes: list[Axis]) -> dict[str, frozenset[int]]:
    found: dict[str, frozenset[int]] = {}
    for parts in {axis.parts for axis in axes if isinstance(axis, Sum)}:
        numbers = [product_extent(part) for part in parts if all(isinstance(axis, Fixed) for axis in part)]
        others = [part for part in parts if not all(isinstance(axis, Fixed) for axis in part)]
        match others:
            case [(Named(name),)]:
                found[name] = found.get(name, frozenset()) | {int(sum(numbers))}
            case _:
                pass
    return found


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
