"""The ratio of error and bound."""

from __future__ import annotations

import math

import pytest
import torch

from fusec.numerics.check import check
from fusec.numerics.interval import Interval


def interval(value: float, low: float, high: float) -> Interval:
    return Interval(*(torch.tensor([end], dtype=torch.float64) for end in (value, low, high)))


def ratio(bounds: Interval, got: float, dtype: torch.dtype = torch.float32) -> float:
    return check(bounds, torch.tensor([got]).to(dtype)).ratio


def test_the_ratio_is_measured_on_the_side_of_the_error() -> None:
    bounds = interval(10.0, 8.0, 11.0)
    assert ratio(bounds, 10.0) == 0.0
    assert ratio(bounds, 10.5) == 0.5
    assert ratio(bounds, 9.0) == 0.5
    assert ratio(bounds, 8.0) == 1.0
    assert ratio(bounds, 12.0) == 2.0


def test_outside_of_an_interval_without_width_every_number_adds_two() -> None:
    bounds = interval(1.0, 1.0, 1.0)
    assert ratio(bounds, 1.0, torch.bfloat16) == 0.0
    assert ratio(bounds, 1 + 2.0**-7, torch.bfloat16) == 2.0
    assert ratio(bounds, 1 + 3 * 2.0**-7, torch.bfloat16) == 6.0


def test_inside_is_never_a_violation_and_outside_always_is() -> None:
    wide = interval(0.0, 0.0, 1e-12)
    assert check(wide, torch.tensor([1e-12], dtype=torch.float64)).passes
    assert not check(wide, torch.tensor([math.nextafter(1e-12, 1)], dtype=torch.float64)).passes


@pytest.mark.parametrize(
    ("bounds", "right", "wrong"),
    [
        ((math.nan,) * 3, [math.nan], [0.0, math.inf]),
        ((math.inf,) * 3, [math.inf], [-math.inf, 3e38, math.nan]),
        ((5.0, -math.inf, math.inf), [math.nan, math.inf, -1e30, 5.0], []),
        ((5.0, 4.0, math.inf), [math.inf, 4.0, 1e38], [3.9, math.nan, -math.inf]),
        ((1.0, 1.0, 1.0), [1.0], [math.nan, math.inf]),
    ],
)
def test_what_is_not_finite(bounds: tuple[float, float, float], right: list[float], wrong: list[float]) -> None:
    assert [ratio(interval(*bounds), got) <= 1 for got in right] == [True] * len(right)
    assert [ratio(interval(*bounds), got) > 1 for got in wrong] == [True] * len(wrong)


def test_integers_and_truth_values() -> None:
    whole = Interval(torch.tensor([3, 3]), torch.tensor([3, 2]), torch.tensor([3, 4]))
    assert check(whole, torch.tensor([3, 4], dtype=torch.int8)).passes
    assert check(whole, torch.tensor([4, 4], dtype=torch.int8)).ratio == 2.0
    truth = Interval(torch.tensor([True, True]), torch.tensor([True, False]), torch.tensor([True, True]))
    assert check(truth, torch.tensor([True, False])).passes
    assert check(truth, torch.tensor([False, True])).ratio == math.inf


def test_the_verdict_names_the_worst_place() -> None:
    value = torch.zeros(2, 3, dtype=torch.float64)
    bounds = Interval(value, value - 1, value + 1)
    result = torch.zeros(2, 3)
    result[1, 2], result[0, 1] = -4.0, 2.0
    verdict = check(bounds, result)
    assert (verdict.ratio, verdict.violations, verdict.place) == (4.0, 2, (1, 2))
    assert str(verdict) == (
        "error / bound = 4 at [1, 2]: got -4.0, expected 0.0 within [-1.0, 1.0]; 2 elements outside"
    )


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \[2\], its interval \[1\]"):
        check(interval(0.0, 0.0, 0.0), torch.zeros(2))
