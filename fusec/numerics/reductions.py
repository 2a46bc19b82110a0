"""Reductions and dots on intervals: each term passes through a known number of additions, each of which rounds."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from fusec.ir.types import Axis
from fusec.numerics.interval import Interval, together
from fusec.numerics.precision import F32, F64, Error, Precision, rounded
from fusec.reference.axes import Array
from fusec.reference.evaluate import dot as exact_dot
from fusec.reference.meaning import reduction

MEAN = Error(2.0)
"""The division by the count at the end of a mean: div.full (2 ulp), or a product with the reciprocal (1 ulp)."""

_UNITS = {"exact": 2.0**-23, "f16": 2.0**-10, "fast": 2.0**-13}
"""Relative error of one addition of a matrix unit, by `accum`.

Matrix units cut off instead of rounding to nearest, which doubles the error of f32 and f16 accumulation. FP8 units add
with about 14 bits (DeepSeek-V3 technical report, arXiv 2412.19437, section 3.3.2)."""


def reduce_interval(op: str, terms: Interval, dims: list[int], additions: int, precision: Precision) -> Interval:
    """`op` of `terms` over the dimensions `dims`, where no term passes through more than `additions` additions."""
    if not dims:
        return terms
    value = reduction(op, terms.value, dims)
    if op in ("amax", "amin"):
        if terms.is_exact:
            return Interval.exact(value)
        result = Interval(value, reduction(op, terms.low, dims), reduction(op, terms.high, dims))
        return result.forget(terms.unknown.any(dims))
    if not terms.value.is_floating_point():
        return _integer_sum(terms, value, dims)
    total = _sum(terms, dims, additions, precision)
    if op == "sum":
        return Interval(value, total.low, total.high)
    count = _count(terms.value, dims)
    return rounded(Interval(value, total.low / count, total.high / count), MEAN, precision)


@dataclass(frozen=True, slots=True)
class DotError:
    """Error of a dot: relative to the sizes of its products, and absolute; beyond `largest` it may overflow."""

    relative: float
    absolute: float
    largest: float


EXACT_DOT = DotError(0.0, 0.0, inf)
"""That of integers."""


def dot_error(count: int, additions: int, accum: str, precision: Precision) -> DotError:
    """The error of a dot of `count` products, none of which passes through more than `additions` additions.

    Every product rounds too, and may lose what is below the least number. In f64 the reference is as inexact itself.
    """
    if precision is F32:
        relative = _gamma(additions + 1, _UNITS[accum])
    else:
        relative = _gamma(additions + count + 1, 2 * precision.unit)
    return DotError(relative, count * precision.least, precision.largest)


def dot_interval(
    a: tuple[Interval, tuple[Axis, ...]], b: tuple[Interval, tuple[Axis, ...]], over: tuple[Axis, ...], error: DotError
) -> Interval:
    """Sum over the axes `over` of the product of two real operands with named axes.

    With the operands at most r and s off their values, the exact sum is off by at most the sum of r|b| + |a|s + rs.
    Where operands are infinite or NaN the result is settled, unless the rest may overflow.
    """
    (left, left_axes), (right, right_axes) = a, b

    def dot(x: Tensor, y: Tensor) -> Tensor:
        return exact_dot(Array(x, left_axes), Array(y, right_axes), over).tensor

    value = dot(left.value, right.value)
    exact = left.is_exact and right.is_exact
    if exact and error == EXACT_DOT:
        return Interval.exact(value)
    size = dot(left.value.abs() + _radius(left), right.value.abs() + _radius(right))
    off = error.relative * size + error.absolute
    if not exact:
        off += dot(_radius(left), right.value.abs() + _radius(right)) + dot(left.value.abs(), _radius(right))
    off = off.nan_to_num(nan=inf)
    rest = dot(*(operand.value.abs().nan_to_num(nan=0.0, posinf=0.0) for operand in (left, right)))
    settled = (value.isnan() | (value.isinf() & (rest <= error.largest))) & exact
    low, high = torch.where(settled, value, value - off), torch.where(settled, value, value + off)
    return Interval(value, low, high).forget(~settled & (off.isinf() | (size > error.largest)))


def _sum(terms: Interval, dims: list[int], additions: int, precision: Precision) -> Interval:
    """The sum of intervals in any order with at most `additions` additions in a row.

    What is computed is the exact sum of terms each off by a factor within 1 - gamma and 1 + gamma (Higham, Accuracy and
    Stability of Numerical Algorithms, section 4.2). A partial sum may overflow towards one side where all terms of that
    side together do. The f64 reference has added up its own terms too.
    """
    own = _count(terms.value, dims) if precision is F64 else 0
    gamma = _gamma(additions + own, precision.unit)
    low = torch.where(terms.low.isinf(), terms.low, terms.low - gamma * terms.low.abs())
    high = torch.where(terms.high.isinf(), terms.high, terms.high + gamma * terms.high.abs())
    total = Interval(terms.value.sum(dims), low.sum(dims), high.sum(dims))
    some = total.low.isnan() | total.high.isnan()
    certain = total.low.isnan() & total.high.isnan() & total.value.isnan()
    total = total.forget((some & ~certain) | terms.unknown.any(dims))
    fallen = torch.where(low.clamp(max=0.0).sum(dims) < -precision.largest, -inf, total.low)
    risen = torch.where(high.clamp(min=0.0).sum(dims) > precision.largest, inf, total.high)
    return Interval(total.value, fallen, risen)


def added_interval(held: Interval, places: Tensor, terms: Interval, precision: Precision) -> Interval:
    """What `held`, of one dimension, is when each of `terms` is added at its place, in any order.

    The number at a place and its terms pass through as many additions as there are terms at most. A partial sum may
    overflow where all terms of one side do.
    """

    def total(first: Tensor, rest: Tensor) -> Tensor:
        return first.index_add(0, places, rest)

    if not held.value.is_floating_point():
        return together((held, terms), total).forget(_anywhere(held, places, terms.unknown))
    count = int(torch.bincount(places, minlength=1).max())
    gamma = _gamma(count * (2 if precision is F64 else 1), precision.unit)

    def widened(ends: Tensor, side: float) -> Tensor:
        return torch.where(ends.isinf(), ends, ends + side * gamma * ends.abs())

    low = total(widened(held.low, -1.0), widened(terms.low, -1.0))
    high = total(widened(held.high, 1.0), widened(terms.high, 1.0))
    result = Interval(total(held.value, terms.value), low, high)
    certain = low.isnan() & high.isnan() & result.value.isnan()
    result = result.forget(((low.isnan() | high.isnan()) & ~certain) | _anywhere(held, places, terms.unknown))
    fallen = total(held.low.clamp(max=0.0), terms.low.clamp(max=0.0)) < -precision.largest
    risen = total(held.high.clamp(min=0.0), terms.high.clamp(min=0.0)) > precision.largest
    return Interval(result.value, torch.where(fallen, -inf, result.low), torch.where(risen, inf, result.high))


def _anywhere(held: Interval, places: Tensor, terms: Tensor) -> Tensor:
    """The places with one of the `terms` that say so."""
    return torch.zeros(held.value.shape, dtype=torch.int64).index_add(0, places, terms.to(torch.int64)) > 0


def _integer_sum(terms: Interval, value: Tensor, dims: list[int]) -> Interval:
    if terms.is_exact:
        return Interval.exact(value)
    return Interval(value, terms.low.sum(dims), terms.high.sum(dims)).forget(terms.unknown.any(dims))


def _gamma(additions: int, unit: float) -> float:
    """(1 + unit)**additions - 1, from above."""
    return additions * unit / (1 - additions * unit) if additions * unit < 1 else inf


def _count(values: Tensor, dims: list[int]) -> int:
    count = 1
    for dim in dims:
        count *= values.shape[dim]
    return count


def _radius(interval: Interval) -> Tensor:
    if interval.is_exact:
        return torch.zeros_like(interval.value)
    return torch.maximum(interval.value - interval.low, interval.high - interval.value)
