"""Intervals that hold what a kernel may compute, beside the exact value.

Three tensors of one shape: the exact `value` and the ends of the interval. An interval from -inf to inf says nothing:
the computed number may be anything, NaN included. NaN at both ends says that the result must be NaN. Integers work the
same way between the limits of i64; for truth values `low` is "certainly", `high` is "possibly".

Where several values are written to one place any of them may stay: those are the `others` of a tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from math import inf

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """The exact `value` and the ends `low` and `high` of what may be computed in its place."""

    value: Tensor
    low: Tensor
    high: Tensor
    others: Others | None = None

    @classmethod
    def exact(cls, value: Tensor) -> Interval:
        """A value without error."""
        return cls(value, value, value)

    @property
    def is_exact(self) -> bool:
        """Whether this was made by `exact`; an interval of no width may still say no."""
        return self.low is self.value and self.high is self.value

    def map(self, change: Callable[[Tensor], Tensor]) -> Interval:
        """The interval with all its tensors changed alike: a permutation, a slice, an exact rising function.

        Where there are `others`, the change leaves every element in its place.
        """
        changed = together((self,), change)
        if self.others is None:
            return changed
        return replace(changed, others=Others(self.others.places, self.others.values.map(change)))

    def nearest(self, got: Tensor) -> Interval:
        """The interval of the written value that `got` is closest to, at places where several were written."""
        if self.others is None:
            return self
        places, values = self.others.places, self.others.values
        here = got.reshape(-1)[places]
        low, value, high, here = (
            each.to(_comparable(each.dtype)) for each in (values.low, values.value, values.high, here)
        )
        fits = ((here >= low) & (here <= high)) | (here.isnan() & low.isnan()) | values.unknown
        away = torch.where(fits, (here - value).abs().double().nan_to_num(nan=0.0), inf)
        least = torch.full((got.numel(),), inf, dtype=torch.float64).scatter_reduce(0, places, away, "amin")
        best = away == least[places]

        def put(table: Tensor, rows: Tensor) -> Tensor:
            flat = table.reshape(-1).clone()
            flat[places[best]] = rows[best]
            return flat.reshape(table.shape)

        return together((replace(self, others=None), values), put)

    @property
    def unknown(self) -> Tensor:
        """Where the interval says nothing."""
        if self.value.dtype == torch.bool:
            return ~self.low & self.high
        lowest, highest = ends(self.value.dtype)
        return (self.low == lowest) & (self.high == highest)

    def forget(self, where: Tensor) -> Interval:
        """The interval that says nothing at the places `where`."""
        if not bool(where.any()):
            return self
        lowest, highest = ends(self.value.dtype)
        return Interval(self.value, torch.where(where, lowest, self.low), torch.where(where, highest, self.high))


@dataclass(frozen=True, slots=True, eq=False)
class Others:
    """The `values` written to places that several are written to, one after another, each with its place.

    Places are counted row-major; `values` has one dimension.
    """

    places: Tensor
    values: Interval


def _comparable(dtype: torch.dtype) -> torch.dtype:
    return torch.int64 if dtype == torch.bool else dtype


def together(intervals: tuple[Interval, ...], combine: Callable[..., Tensor]) -> Interval:
    """`combine` of the values, of the low ends and of the high ends: for what moves elements or rises with each."""
    value = combine(*(interval.value for interval in intervals))
    if all(interval.is_exact for interval in intervals):
        return Interval.exact(value)
    low = combine(*(interval.low for interval in intervals))
    return Interval(value, low, combine(*(interval.high for interval in intervals)))


def as_real(interval: Interval) -> Interval:
    """Integers or truth values as reals."""
    if interval.value.is_floating_point():
        return interval
    real = interval.map(lambda ends: ends.to(torch.float64))
    return real if interval.value.dtype == torch.bool else real.forget(interval.unknown)


def as_integer(interval: Interval) -> Interval:
    """Reals that are whole numbers as integers."""
    whole = interval.map(lambda ends: torch.where(ends.isfinite(), ends, 0.0).to(torch.int64))
    return whole.forget(interval.unknown)


def ends(dtype: torch.dtype) -> tuple[float | int | bool, float | int | bool]:
    """The ends of the interval of `dtype` that says nothing."""
    if dtype == torch.bool:
        return False, True
    if dtype.is_floating_point:
        return -inf, inf
    return torch.iinfo(dtype).min, torch.iinfo(dtype).max


def enclose(value: Tensor, corners: list[Tensor], operands: tuple[Interval, ...]) -> Interval:
    """The interval that spans `corners`, the results at the ends of the operands' intervals.

    Where some corners are NaN anything may happen, and so it may where an operand says nothing. Where the value and
    all corners are NaN, the result is NaN for certain.
    """
    low, high = reduce(torch.minimum, corners), reduce(torch.maximum, corners)
    certain = reduce(torch.logical_and, [corner.isnan() for corner in corners], value.isnan())
    some = reduce(torch.logical_or, [corner.isnan() for corner in corners])
    doubtful = reduce(torch.logical_or, [operand.unknown for operand in operands], some & ~certain)
    return Interval(value, low, high).forget(doubtful)


def either(value: Tensor, a: Interval, b: Interval) -> Interval:
    """What may be computed when either of `a` and `b` is."""
    return enclose(value, [a.low, a.high, b.low, b.high], (a, b))
