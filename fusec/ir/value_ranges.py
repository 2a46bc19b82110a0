"""Value ranges: between which numbers each value of a graph or of a flow is proved to lie.

One analysis for both: what an operation makes of ranges is `ops.range_of`, and what a leaf may be (a tensor, a number
of the call) follows from its type. Nothing is said of what reduces no elements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil, floor, inf
from typing import TypeAlias

from fusec.ir.bottom_up import BottomUp
from fusec.ir.expressions import (
    Cast,
    Choose,
    Const,
    Elementwise,
    Extent,
    Index,
    MaxOf,
    Merge,
    Neighbours,
    NodeId,
    Part,
    Reduce,
    Rename,
    Size,
)
from fusec.ir.formats import has_infinity, largest_of, least_of, limits, saturates
from fusec.ir.graph import Nodes
from fusec.ir.ops import ELEMENTWISE, REDUCTIONS, range_of
from fusec.ir.ranges import (
    COUNT,
    INTEGER,
    LARGEST_F32,
    TRUTH,
    Range,
    anything,
    hull,
    point,
    real,
    total,
    whole,
)
from fusec.ir.types import Axis, Computed, DType, Element, Kind, Storage

Leaf: TypeAlias = Callable[[NodeId], Range | None]
"""What is known of a node otherwise; None where it follows from the operands."""


class ValueRanges:
    """The range of every node, found when it is asked for. Reals are computed in a type with this `largest` number."""

    def __init__(self, nodes: Nodes, leaf: Leaf = lambda number: None, largest: float = LARGEST_F32) -> None:
        self._nodes = nodes
        self._leaf = leaf
        self.largest = largest
        self._known = BottomUp(self._needs, self._rule)

    def __call__(self, number: NodeId) -> Range:
        return self._known(number)

    def _needs(self, number: NodeId) -> tuple[NodeId, ...]:
        if self._leaf(number) is not None:
            return ()
        match self._nodes[number].expr:
            case Elementwise(args=args) | Merge(args=args) | Neighbours(args=args):
                return args
            case Cast(arg=arg) | Reduce(arg=arg) | Part(arg=arg) | Rename(arg=arg):
                return (arg,)
            case Choose(cases=cases):
                return tuple(value for _, value in cases)
            case _:
                return ()

    def _rule(self, number: NodeId) -> Range:
        known = self._leaf(number)
        if known is not None:
            return known
        node = self._nodes[number]
        args = [self._known(need) for need in self._needs(number)]
        match node.expr:
            case Const(value):
                return point(value)
            case Elementwise(op):
                return self._operation(node.expr, range_of(op, args, self.largest))
            case Reduce():
                return self._reduced(node.expr, args[0])
            case Cast(dtype=dtype):
                return self.rounded(args[0], dtype)
            case Choose() | Merge() | Neighbours():
                same = {isinstance(arg.low, int) for arg in args}
                return hull(args if len(same) == 1 else [arg.as_real() for arg in args])
            case Part() | Rename():
                return args[0]
            case MaxOf(dtype=dtype):
                return hull(point(largest_of(option)) for option in dtype.options)
            case Index() | Extent():
                return COUNT
            case Size(value):
                return COUNT if value.is_nonnegative else INTEGER
            case _:
                return self.stored(node.type.element)

    def stored(self, element: Element) -> Range:
        """All numbers of an element, and of a tensor that is looked up beside its end: NaN of reals, 0 of integers."""
        if isinstance(element, Computed):
            kinds = {Kind.REAL: anything(self.largest), Kind.INT: INTEGER, Kind.BOOL: TRUTH}
            return kinds[element.kind]
        return hull(map(self._option, element.options))

    def _option(self, dtype: DType) -> Range:
        match dtype.kind:
            case Kind.BOOL:
                return TRUTH
            case Kind.INT:
                return whole(*limits(dtype))
            case _:
                largest, infinite = min(float(largest_of(dtype)), self.largest), has_infinity(dtype)
                return Range(-largest, largest, infinite, infinite, True)

    def _operation(self, expr: Elementwise, found: Range) -> Range:
        """The range with what follows from operands that are the same, or one the extreme of the other."""
        op = ELEMENTWISE[expr.op]
        if op.multiplies and expr.args[0] == expr.args[1]:
            return replace(found, low=max(found.low, type(found.low)(0)), below=False)
        side = self._beside_extreme(expr)
        if side:
            low, high = (max(found.low, 0.0), found.high) if side > 0 else (found.low, min(found.high, 0.0))
            return replace(found, low=low, high=high, below=found.below and side < 0, above=found.above and side > 0)
        return found

    def _beside_extreme(self, expr: Elementwise) -> int:
        """-1 for a value less its maximum or a minimum less what it is of, 1 for the others, 0 for no such thing."""
        if ELEMENTWISE[expr.op].linear != (1, -1):
            return 0
        first, second = expr.args
        for value, extreme, sign in ((first, second, 1), (second, first, -1)):
            reduce = self._nodes[extreme].expr
            if isinstance(reduce, Reduce) and reduce.arg == value and REDUCTIONS[reduce.op].picks:
                return sign if REDUCTIONS[reduce.op].identity > 0 else -sign
        return 0

    def _reduced(self, reduce: Reduce, arg: Range) -> Range:
        own = REDUCTIONS[reduce.op]
        if own.picks:
            return arg
        if own.averages:
            return replace(arg.as_real(), nan=arg.nan or (arg.below and arg.above))
        found = total(arg, self.largest)
        peak = peaks_at(self._nodes, reduce.arg, reduce.axes)
        return replace(found, low=max(found.low, peak), nonzero=True) if peak is not None else found

    def rounded(self, arg: Range, dtype: Storage) -> Range:
        """A value rounded to a storage type, whichever a caller chooses."""
        return hull(self._rounded(arg, option) for option in dtype.options)

    def _rounded(self, arg: Range, dtype: DType) -> Range:
        """A value rounded to a type. What is beyond it becomes infinite, or its largest number."""
        stored = self._option(dtype)
        if dtype.kind is Kind.BOOL or (dtype.kind is Kind.INT and arg.nan):
            return stored
        low = -inf if arg.below else float(arg.low)
        high = inf if arg.above else float(arg.high)
        if dtype.kind is Kind.INT:
            # The ends of 64 bits are no numbers of a double less one: one that is cut off is compared as it is.
            ends = (low, high) if isinstance(arg.low, float) else (arg.low, arg.high)
            return whole(_cut(ends[0], stored, floor), _cut(ends[1], stored, ceil))
        low, high = _moved(low, -1, dtype), _moved(high, 1, dtype)
        if saturates(dtype):
            low, high = (min(max(end, float(stored.low)), float(stored.high)) for end in (low, high))
            return Range(low, high, nan=arg.nan, nonzero=low > 0 or high < 0)
        found = real(low, high, nan=arg.nan, largest=float(stored.high))
        return found if arg.has_finite else Range(inf, -inf, arg.below, arg.above, arg.nan)


def _cut(end: float | int, stored: Range, whole_of: Callable[[float], int]) -> int:
    """An end of integers, or of reals that are rounded to integers, within a type."""
    if end <= stored.low:
        return int(stored.low)
    return int(stored.high) if end >= stored.high else whole_of(end)


def _moved(end: float, side: int, dtype: DType) -> float:
    """An end moved to its side, -1 or 1, by as much as rounding to a type may: a number keeps its sign."""
    if end == 0 or abs(end) == inf:
        return end
    moved = end + side * max(2.0**-dtype.mantissa * abs(end), least_of(dtype))
    return max(moved, 0.0) if end > 0 else min(moved, 0.0)


def peaks_at(nodes: Nodes, value: NodeId, axes: tuple[Axis, ...]) -> float | None:
    """The number that `value` is at the largest `a`, for f(a - amax(a)) over `axes` with f above 0; else None.

    So `exp(a - amax(a))` is 1 there, and a number from 0 to 1 elsewhere.
    """
    expr = nodes[value].expr
    if not isinstance(expr, Elementwise) or len(expr.args) != 1 or not ELEMENTWISE[expr.op].positive:
        return None
    difference = nodes[expr.args[0]].expr
    if not isinstance(difference, Elementwise) or ELEMENTWISE[difference.op].linear != (1, -1):
        return None
    peak, at = nodes[difference.args[1]].expr, ELEMENTWISE[expr.op].at
    if not isinstance(peak, Reduce) or peak.arg != difference.args[0] or peak.axes != axes or at is None:
        return None
    return float(at(0.0)) if REDUCTIONS[peak.op].identity == -inf else None
