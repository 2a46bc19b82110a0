"""Extents being chosen for a call: what each may still be beside the others, within limits of size."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from fusec.extents.signature import Signature

LEAD = "lead"
"""The name of the extent of `...`, the product of the axes it stands for."""

FIRST = 4
"""How many of the smallest solutions are drawn, however the numbers that one would like lie."""


@dataclass(slots=True)
class Room:
    """Extents chosen so far, and what is still allowed beside them.

    `rows` limits the positions of all free axes that are not inner together, `elements` the size of any one tensor.
    Where the conditions ask for more of either, twice the least they ask for is the limit.
    """

    signature: Signature
    rows: int
    elements: int
    extents: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        least = self.signature.least
        self.rows = _widened(self.rows, self.signature.rows(least))
        self.elements = _widened(self.elements, self.signature.elements(least))

    def allowed(self, name: str, pool: Sequence[int]) -> list[int]:
        """What `name` may still be: numbers of `pool`, and the multiples that divisibility asks for.

        For every number of the pool that breaks a condition, the next one that does not is there in its place.
        """
        step = self.signature.divisors[name]
        known = [extent * factor for extent in self.extents.values() for factor in (1, 2, 3)]
        wanted = dict.fromkeys([*(step * number for number in pool), *pool, *known])
        if self.signature.conditions.concern(name) and any(pool):
            wanted |= dict.fromkeys(self._next(name, pool))
        if name in self.signature.positive:
            wanted.pop(0, None)
        fitting = [number for number in wanted if number % step == 0 and self._fits({**self.extents, name: number})]
        conditions = self.signature.conditions
        return [number for number in fitting if conditions.are_open({**self.extents, name: number}, self.elements)]

    def settle(self) -> bool:
        """Work out the bound extents; false when they do not fit."""
        bound = {name: value(self.extents) for name, value in self.signature.bound.items()}
        self.extents.update(bound)
        whole = all(value >= 0 and value % self.signature.divisors.get(name, 1) == 0 for name, value in bound.items())
        return whole and self._fits(self.extents)

    def _next(self, name: str, pool: Sequence[int]) -> list[int]:
        """The least solution of the conditions that is not below each number of `pool`, and the first few of all."""
        solutions = self.signature.conditions.solutions(name, self.extents, self.elements)
        places = (*(bisect_left(solutions, number) for number in pool), *range(FIRST))
        return [solutions[place] for place in places if place < len(solutions)]

    def _fits(self, extents: dict[str, int]) -> bool:
        return (
            self.signature.rows(extents) <= self.rows
            and self.signature.conditions.may_hold(extents)
            and self.signature.elements(extents) <= self.elements
        )


def _widened(limit: int, least: int) -> int:
    return limit if least <= limit else 2 * least
