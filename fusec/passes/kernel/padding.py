"""Padding: what lanes outside of the extents hold, chosen so that reductions need not mask them.

Before: `tl.sum(tl.where(n_mask, x * x, 0))`; after: `tl.sum(x * x)`, because a masked load of `x` reads zero there. A
load that feeds a maximum and the exponentials below it reads minus infinity instead, which suits both.
Relies on every load being masked along its own axes with the fill chosen here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from math import inf

from fusec.ir.expressions import Load, Lookup, NodeId, Reduce
from fusec.ir.flow import Flow
from fusec.ir.ops import REDUCTIONS
from fusec.ir.types import Axis
from fusec.ir.value_ranges import ValueRanges
from fusec.passes.kernel.outside import Outside


@dataclass(frozen=True, slots=True)
class Padding:
    """What loads read outside of the extents: minus infinity for those in `low`, zero for all others.

    Values `inside` are in their ranges.
    """

    flow: Flow
    inside: ValueRanges
    low: frozenset[NodeId] = frozenset()
    _known: dict[frozenset[Axis], Outside] = field(default_factory=dict, compare=False)

    def fill(self, load: NodeId) -> float:
        """What a load reads outside."""
        return -inf if load in self.low else 0.0

    def suits(self, reduce: Reduce) -> bool:
        """Whether lanes outside leave a reduction over at least one element alone."""
        own, outside = REDUCTIONS[reduce.op], self._outside(reduce.axes)
        if outside.is_only(reduce.arg, own.identity):
            return True
        found = outside.value(reduce.arg)
        return not found.nan and own.is_beaten_by(found, self.inside(reduce.arg))

    def suits_empty(self, reduce: Reduce) -> bool:
        """The same for a reduction over no element, where lanes outside are all there is: whether they are neutral."""
        outside = self._outside(reduce.axes)
        return outside.is_only(reduce.arg, REDUCTIONS[reduce.op].identity) and not outside.excuses(reduce.arg)

    def is_zero(self, number: NodeId, axes: tuple[Axis, ...]) -> bool:
        """Whether node `number` is proved zero in every lane outside of the extents of any of `axes`.

        It may also be NaN there, where it is NaN in some lane inside.
        """
        return self._outside(axes).is_only(number, 0.0)

    def _outside(self, axes: tuple[Axis, ...]) -> Outside:
        key = frozenset(axes)
        if key not in self._known:
            self._known[key] = Outside(self.flow, key, self.fill, self.inside)
        return self._known[key]


def choose_padding(flow: Flow, live: Iterable[NodeId], may_be_low: Callable[[str], bool]) -> Padding:
    """The padding that suits most reductions. `may_be_low` says which tensors have a type with an infinity."""
    numbers = sorted(live)
    reductions = [expr for n in numbers if isinstance(expr := flow.nodes[n].expr, Reduce)]
    best = Padding(flow, ValueRanges(flow.nodes))
    for access, loads in _accesses(flow, numbers).items():
        if may_be_low(access.param) and not any(isinstance(p, Lookup) for p in access.positions):
            other = Padding(flow, best.inside, best.low | loads)
            if sum(map(other.suits, reductions)) > sum(map(best.suits, reductions)):
                best = other
    return best


def _accesses(flow: Flow, numbers: list[NodeId]) -> dict[Load, frozenset[NodeId]]:
    """The loads by the access that makes them. One makes both neighbours of a pair, which it fills alike."""
    found: dict[Load, frozenset[NodeId]] = {}
    for number in numbers:
        expr = flow.nodes[number].expr
        if isinstance(expr, Load):
            access = replace(expr, pair=expr.pair and replace(expr.pair, index=0))
            found[access] = found.get(access, frozenset()) | {number}
    return found
