"""Outside: what values are in the lanes outside of the extents, from what loads read there.

The ranges of values, as anywhere, with one number for a load. A kernel computes these lanes, so what is near 0 counts
as what may be 0. A NaN is no fault where some lane inside is NaN too, which is so for whatever has none of the axes: it
is the same in every lane, and what is computed from it is NaN, unless something is chosen by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isinf

from fusec.ir.bottom_up import BottomUp
from fusec.ir.expressions import Cast, Choose, Const, Elementwise, Load, Lookup, NodeId, Reduce, operands
from fusec.ir.flow import Flow
from fusec.ir.ops import ELEMENTWISE, REDUCTIONS, range_of
from fusec.ir.ranges import Range, hull, point
from fusec.ir.types import Axis, Kind
from fusec.ir.value_ranges import ValueRanges

_NORMAL = 2.0**-126


@dataclass(frozen=True, slots=True)
class _Lane:
    """What a value may be, and whether it may be NaN besides, where it is NaN in some lane inside."""

    range: Range
    excused: bool = False


class Outside:
    """What each value is outside of the extents of any of `axes`.

    A load that has all of these axes is its `fill` there. Other leaves are what they may be `inside`.
    """

    def __init__(self, flow: Flow, axes: frozenset[Axis], fill: Callable[[NodeId], float], inside: ValueRanges) -> None:
        self._nodes = flow.nodes
        self._axes = axes
        self._fill = fill
        self._inside = inside
        self._known = BottomUp(self._needs, self._lane)

    def value(self, number: NodeId) -> Range:
        """The numbers that a value may be."""
        return self._known(number).range

    def is_only(self, number: NodeId, value: float) -> bool:
        """Whether a value is one number, or NaN where it is in a lane inside."""
        found = self.value(number)
        return found.is_only(value) and not found.nan

    def excuses(self, number: NodeId) -> bool:
        """Whether a value may be NaN where it is in a lane inside."""
        return self._known(number).excused

    def _needs(self, number: NodeId) -> tuple[NodeId, ...]:
        expr = self._nodes[number].expr
        return operands(expr) if isinstance(expr, Elementwise | Cast | Choose) else ()

    def _lane(self, number: NodeId) -> _Lane:
        found = self._computed(number, [self._known(need) for need in self._needs(number)])
        low, high = found.range.low, found.range.high
        if isinstance(low, int):
            return found
        low, high = (0.0 if 0 < low < _NORMAL else low), (0.0 if -_NORMAL < high < 0 else high)
        return replace(found, range=replace(found.range, low=low, high=high, nonzero=low > 0 or high < 0))

    def _computed(self, number: NodeId, args: list[_Lane]) -> _Lane:
        excused = any(arg.excused for arg in args)
        match self._nodes[number].expr:
            case Const(value):
                return _Lane(point(value))
            case Elementwise() as expr if (end := self._beside_extreme(expr, args)) is not None:
                return _Lane(point(end), excused=True)
            case Elementwise(op):
                found = range_of(op, [arg.range for arg in args])
                chosen = excused and not ELEMENTWISE[op].strict
                return _Lane(replace(found, nan=True) if chosen else found, excused)
            case Cast(dtype=dtype):
                lost = excused and dtype.kind is not Kind.REAL
                arg = replace(args[0].range, nan=True) if lost else args[0].range
                return _Lane(self._inside.rounded(arg, dtype), excused)
            case Choose():
                return _Lane(hull(arg.range for arg in args), excused)
            case _:
                return self._leaf(number)

    def _leaf(self, number: NodeId) -> _Lane:
        node, found = self._nodes[number], self._inside(number)
        is_load = isinstance(node.expr, Load) and not any(isinstance(p, Lookup) for p in node.expr.positions)
        if is_load and self._axes.issubset(node.type.axes):
            return _Lane(point(self._fill(number) if node.type.kind is Kind.REAL else 0))
        # A load that has some of the axes is outside of one of these, or the same as in a lane inside.
        is_same = is_load or self._axes.isdisjoint(node.type.axes)
        return _Lane(replace(found, nan=False), found.nan) if is_same else _Lane(found)

    def _beside_extreme(self, expr: Elementwise, args: list[_Lane]) -> float | None:
        """What `a - amax(a)` over the axes is where `a` is -inf, and with a minimum where it is inf; else None.

        If the maximum is infinite as well this is NaN, and so it is in every lane inside.
        """
        if ELEMENTWISE[expr.op].linear != (1, -1):
            return None
        reduce = self._nodes[expr.args[1]].expr
        if not isinstance(reduce, Reduce) or reduce.arg != expr.args[0] or set(reduce.axes) != self._axes:
            return None
        end, own = REDUCTIONS[reduce.op].identity, args[0].range
        return end if isinf(end) and own.is_only(end) and not own.nan else None
