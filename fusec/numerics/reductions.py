"""Reductions and dots on intervals: sums in any order, and sharper ones of terms that were drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, prod

import torch
from torch import Tensor

from fusec.ir.ops import REDUCTIONS
from fusec.ir.types import Axis, union, without
from fusec.numerics.accumulation import THREADS, Adder, grown, is_long
from fusec.numerics.interval import Interval, together
from fusec.numerics.precision import F32, F64, Error, Precision, rounded
from fusec.reference.axes import Array
from fusec.reference.evaluate import dot as exact_dot
from fusec.reference.meaning import reduction

MEAN = Error(2.0)
"""The division by the count at the end of a mean: div.full (2 ulp), or a product with the reciprocal (1 ulp)."""


def reduce_interval(op: str, terms: Interval, dims: list[int], precision: Precision, random: bool) -> Interval:
    """`op` of `terms` over the dimensions `dims`, in any order; `random` says that they were drawn so."""
    if not dims:
        return terms
    value = reduction(op, terms.value, dims)
    own = REDUCTIONS[op]
    if own.picks:
        if terms.is_exact:
            return Interval.exact(value)
        result = Interval(value, reduction(op, terms.low, dims), reduction(op, terms.high, dims))
        return result.forget(terms.unknown.any(dims))
    if not terms.value.is_floating_point():
        return _integer_sum(terms, value, dims)
    total = _sum(terms, dims, precision)
    if random and precision is F32:
        total = _random_sum(total, terms, dims)
    if not own.averages:
        return Interval(value, total.low, total.high)
    count = _count(terms.value, dims)
    return rounded(Interval(value, total.low / count, total.high / count), MEAN, precision)


@dataclass(frozen=True, slots=True)
class DotError:
    """Error of a dot: relative to the sizes of its products, and absolute; beyond `largest` it may overflow.

    `adder` is what adds up in f32.
    """

    relative: float
    absolute: float
    largest: float
    adder: Adder = THREADS


EXACT_DOT = DotError(0.0, 0.0, inf)
"""That of integers."""


def dot_error(count: int, precision: Precision, adder: Adder = THREADS) -> DotError:
    """The error of a dot of `count` products, in any order.

    Every product rounds, and may lose what is below the least number. In f64 the reference is as inexact itself.
    """
    relative = adder.relative(count) if precision is F32 else grown(count, 4 * precision.unit)
    return DotError(relative, count * precision.least, precision.largest, adder)


@dataclass(frozen=True, slots=True)
class _Product:
    """The product of two real operands with named axes, to be summed over the axes `over`."""

    left: tuple[Interval, tuple[Axis, ...]]
    right: tuple[Interval, tuple[Axis, ...]]
    over: tuple[Axis, ...]

    def sum(self, left: Tensor, right: Tensor) -> Tensor:
        """The sum with other values in the places of the operands'."""
        return exact_dot(Array(left, self.left[1]), Array(right, self.right[1]), self.over).tensor

    def terms(self) -> Tensor | None:
        """All products, those of one sum along the last dimension, where these are long sums."""
        kept = without(union(self.left[1], self.right[1]), self.over)
        both = [Array(each.value, axes).along((*kept, *self.over)) for each, axes in (self.left, self.right)]
        sizes = [max(each) for each in zip(*(each.shape for each in both), strict=True)]
        if not is_long(prod(sizes[len(kept) :]), prod(sizes)):
            return None
        return torch.mul(*both).flatten(len(kept))


def dot_interval(
    a: tuple[Interval, tuple[Axis, ...]],
    b: tuple[Interval, tuple[Axis, ...]],
    over: tuple[Axis, ...],
    error: DotError,
    random: bool = False,
) -> Interval:
    """Sum over the axes `over` of the product of two real operands with named axes; `random`, if they were drawn so.

    With the operands at most r and s off their values, the exact sum is off by at most the sum of r|b| + |a|s + rs.
    Where operands are infinite or NaN the result is settled, unless the rest may overflow.
    """
    product, (left, right) = _Product(a, b, over), (a[0], b[0])
    dot, sizes = product.sum, error.adder.sizes
    value = dot(left.value, right.value)
    exact = left.is_exact and right.is_exact
    if exact and error == EXACT_DOT:
        return Interval.exact(value)
    wide = tuple(each.value.abs() + _radius(each) for each in (left, right))
    size = dot(*wide)
    off = error.relative * dot(*map(sizes, wide))
    terms = product.terms() if random else None
    if terms is not None:
        off = torch.fmin(off, _random_error(product, terms, error, wide))
    off = off + error.absolute
    if not exact:
        off += dot(_radius(left), wide[1]) + dot(left.value.abs(), _radius(right))
    off = off.nan_to_num(nan=inf)
    rest = dot(*(operand.value.abs().nan_to_num(nan=0.0, posinf=0.0) for operand in (left, right)))
    settled = (value.isnan() | (value.isinf() & (rest <= error.largest))) & exact
    low, high = torch.where(settled, value, value - off), torch.where(settled, value, value + off)
    return Interval(value, low, high).forget(~settled & (off.isinf() | (size > error.largest)))


def _random_error(product: _Product, terms: Tensor, error: DotError, wide: tuple[Tensor, ...]) -> Tensor:
    """What a sum of random products is off by, where the operands that are added up may be as large as `wide`."""
    (left, _), (right, _) = product.left, product.right
    adder, (first, second) = error.adder, map(error.adder.sizes, wide)
    off = adder.within(terms) + adder.beside(product.sum, first, second, terms.shape[-1])
    # How the errors of the operands change the errors of the sum is a matter of any order.
    return off + error.relative * (product.sum(*wide) - product.sum(left.value.abs(), right.value.abs())).abs()


def _random_sum(total: Interval, terms: Interval, dims: list[int]) -> Interval:
    """The part of an interval of sums in any order that those of random terms are in."""
    kept = [dim for dim in range(terms.value.dim()) if dim not in [each % terms.value.dim() for each in dims]]

    def last(values: Tensor) -> Tensor:
        return values.permute(*kept, *dims).flatten(len(kept))

    count = _count(terms.value, dims)
    off = THREADS.within(last(terms.value)) + grown(count, THREADS.unit) * (terms.high - terms.low).sum(dims)
    off = off.nan_to_num(nan=inf)
    low, high = terms.low.sum(dims) - off, terms.high.sum(dims) + off
    return Interval(total.value, torch.fmax(total.low, low), torch.fmin(total.high, high))


def _sum(terms: Interval, dims: list[int], precision: Precision) -> Interval:
    """The sum of intervals in any order.

    What is computed is the exact sum of terms each off by a factor within 1 - gamma and 1 + gamma (Higham, Accuracy and
    Stability of Numerical Algorithms, section 4.2). A partial sum may overflow towards one side where all terms of that
    side together do. The f64 reference has added up its own terms too.
    """
    count = _count(terms.value, dims)
    share = grown(max(count - 1, 0) + (count if precision is F64 else 0), precision.unit)
    low = torch.where(terms.low.isinf(), terms.low, terms.low - share * terms.low.abs())
    high = torch.where(terms.high.isinf(), terms.high, terms.high + share * terms.high.abs())
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
    share = grown(count * (2 if precision is F64 else 1), precision.unit)

    def widened(ends: Tensor, side: float) -> Tensor:
        return torch.where(ends.isinf(), ends, ends + side * share * ends.abs())

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


def _count(values: Tensor, dims: list[int]) -> int:
    count = 1
    for dim in dims:
        count *= values.shape[dim]
    return count


def _radius(interval: Interval) -> Tensor:
    if interval.is_exact:
        return torch.zeros_like(interval.value)
    return torch.maximum(interval.value - interval.low, interval.high - interval.value)
