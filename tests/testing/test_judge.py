"""A planted result is accepted where its bound allows it and nowhere else: numbers, infinities, NaN, truth values."""

from __future__ import annotations

from math import inf, nan

import pytest
import torch

from fusec.numerics.interval import Interval
from fusec.testing.compare import judge

BOUNDS = {
    "finite": (1.0, 0.5, 2.0),
    "exact": (1.0, 1.0, 1.0),
    "NaN": (nan, nan, nan),
    "infinite": (inf, inf, inf),
    "minus infinite": (-inf, -inf, -inf),
    "overflowing": (6e4, 5e4, inf),
    "overflowing below": (-6e4, -inf, -5e4),
    "anything": (1.0, -inf, inf),
}
"""Exact values and the ends of what may be computed in their place."""

PLANTED = (nan, inf, -inf, 0.0, 0.5, 1.0, -1.0, 2.0, 3.0, 5e4, -5e4, 6e4, -6e4)

ACCEPTED = {
    "finite": (0.5, 1.0, 2.0),
    "exact": (1.0,),
    "NaN": (nan,),
    "infinite": (inf,),
    "minus infinite": (-inf,),
    "overflowing": (5e4, 6e4, inf),
    "overflowing below": (-5e4, -6e4, -inf),
    "anything": PLANTED,
}


def bound_of(*ends: tuple[float, float, float]) -> Interval:
    value, low, high = (torch.tensor(each, dtype=torch.float64) for each in zip(*ends, strict=True))
    return Interval(value, low, high)


@pytest.mark.parametrize("planted", PLANTED, ids=str)
@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("place", [0, 3])
def test_a_planted_result_is_accepted_only_within_its_bound(name: str, planted: float, place: int) -> None:
    ends = [BOUNDS["finite"]] * 4
    ends[place] = BOUNDS[name]
    result = torch.full((4,), 1.0, dtype=torch.float32)
    result[place] = planted
    accepted = any(planted == each or (planted != planted and each != each) for each in ACCEPTED[name])
    if not accepted:
        with pytest.raises(AssertionError, match=rf"y\[{place}\] = .* 1 of 4 elements"):
            judge("y", result, bound_of(*ends))
        return
    assert judge("y", result, bound_of(*ends)).ratio <= 1


@pytest.mark.parametrize("name", BOUNDS)
def test_what_was_not_compared_with_numbers_does_not_count_as_bounded(name: str) -> None:
    result = torch.tensor([ACCEPTED[name][0], 1.0], dtype=torch.float64)
    outcome = judge("y", result, bound_of(BOUNDS[name], BOUNDS["finite"]))
    assert outcome.elements == 2
    assert outcome.bounded == (2 if name in ("finite", "exact") else 1)
    assert outcome.unknown == (0.5 if name == "anything" else 0)


@pytest.mark.parametrize(("low", "high"), [(False, False), (True, True), (False, True)])
@pytest.mark.parametrize("planted", [False, True])
def test_truth_values(low: bool, high: bool, planted: bool) -> None:
    bound = Interval(torch.tensor([low]), torch.tensor([low]), torch.tensor([high]))
    if low <= planted <= high:
        assert judge("y", torch.tensor([planted]), bound).bounded == (low == high)
    else:
        with pytest.raises(AssertionError, match=r"y\[0\]"):
            judge("y", torch.tensor([planted]), bound)


@pytest.mark.parametrize("planted", [-5, -4, 0, 4, 5, 2**62])
def test_integers(planted: int) -> None:
    value, low, high = (torch.tensor([each]) for each in (0, -4, 4))
    if -4 <= planted <= 4:
        assert judge("y", torch.tensor([planted]), Interval(value, low, high)).bounded == 1
    else:
        with pytest.raises(AssertionError, match=r"y\[0\]"):
            judge("y", torch.tensor([planted]), Interval(value, low, high))
