"""Compares a computed result with its interval, as a ratio of error and bound."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from fusec.ir.types import DTYPES
from fusec.numerics.interval import Interval
from fusec.reference.rounding import TORCH_DTYPES, spacing, widen

_DTYPE_OF = {torch_dtype: DTYPES[name] for name, torch_dtype in TORCH_DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The worst ratio of error and bound over all elements, and the element that has it.

    A ratio of at most 1 passes; `violations` counts the elements above. `place` is the index of the worst element, None
    for a tensor without elements; `value`, `low`, `high` and `actual` are what stands there.
    """

    ratio: float
    violations: int
    place: tuple[int, ...] | None
    value: float
    low: float
    high: float
    actual: float

    @property
    def passes(self) -> bool:
        return self.violations == 0

    def __str__(self) -> str:
        if self.place is None:
            return "no elements"
        return (
            f"error / bound = {self.ratio:.3g} at {list(self.place)}: got {self.actual!r}, expected {self.value!r}"
            f" within [{self.low!r}, {self.high!r}]; {self.violations} elements outside"
        )


def check(interval: Interval, actual: Tensor) -> Verdict:
    """The worst of |actual - value| / bound, where the bound is the distance to the end of the interval on that side.

    `actual` is the stored result, in its own dtype. The bound is at least half the distance between neighbouring
    numbers of that dtype: outside of an interval of no width, every number further away adds 2 to the ratio. Where the
    exact value is NaN or infinite anything else is infinitely wrong; where the interval says nothing all is right.
    Raises `ValueError` for a result of another shape.
    """
    if actual.shape != interval.value.shape:
        raise ValueError(f"the result has shape {list(actual.shape)}, its interval {list(interval.value.shape)}")
    interval = interval.nearest(widen(actual))
    ratios = _ratios(interval, actual)
    if not ratios.numel():
        return Verdict(0.0, 0, None, 0.0, 0.0, 0.0, 0.0)
    place = tuple(int(i) for i in torch.unravel_index(ratios.argmax(), ratios.shape))
    at = (tensor[place].item() for tensor in (interval.value, interval.low, interval.high, actual))
    value, low, high, got = at
    return Verdict(ratios[place].item(), int((ratios > 1).sum()), place, value, low, high, got)


def _ratios(interval: Interval, actual: Tensor) -> Tensor:
    if actual.dtype == torch.bool:
        inside = (actual | ~interval.low) & (~actual | interval.high)
        return torch.where(actual == interval.value, 0.0, torch.where(inside, 1.0, inf)).to(torch.float64)
    got, value, low, high = (
        widen(tensor).to(torch.float64) for tensor in (actual, interval.value, interval.low, interval.high)
    )
    inside = (low <= got) & (got <= high) | interval.unknown | (value.isnan() & got.isnan())
    half_step = spacing(value.nan_to_num(), _DTYPE_OF[actual.dtype]) / 2
    bound = torch.where(got > value, high - value, value - low).maximum(half_step)
    ratio = ((got - value).abs() / bound).nan_to_num(nan=inf, posinf=inf)
    ratio = torch.where(inside, ratio.clamp(max=1.0), ratio.clamp(min=1.0 + torch.finfo(torch.float64).eps))
    return torch.where(interval.unknown | (got == value) | (value.isnan() & got.isnan()), 0.0, ratio)
