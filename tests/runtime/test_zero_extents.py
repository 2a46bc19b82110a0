"""A division of integers by an extent is told where the extent is 0 and there is something to divide."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import fusec


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusec.driver.load.default_folder", lambda: tmp_path)


@pytest.mark.parametrize("operator", ["//", "%"])
def test_a_division_by_an_extent_of_0(operator: str, device: torch.device) -> None:
    op = fusec.load(f"op f(x: i32[N], z: f32[M]) -> y: i32[N]:\n    y = cast(x {operator} M, i32)\n")
    x = torch.arange(7, dtype=torch.int32, device=device)
    expected = x // 3 if operator == "//" else x % 3
    assert torch.equal(op(x, torch.ones(3, device=device)), expected)
    with pytest.raises(ValueError, match="M != 0"):
        op(x, torch.ones(0, device=device))
    assert op(x[:0], torch.ones(0, device=device)).shape == (0,)


SIZES = {"minimum": min, "maximum": max, "clamp": lambda size, low, high: min(max(size, low), high)}
OTHERS = {
    "where": lambda condition, one, other: one if condition else other,
    "sign": lambda size: (size > 0) - (size < 0),
    "cast": lambda size, dtype: int(size),
    "floor": int,
    **dict.fromkeys(("i8", "i32")),
}

ZERO_AT_3 = {
    "M - 3": "M - 3",
    "3 - M": "3 - M",
    "(M - 3) * 2": "2 \\* M - 6",
    "(M // 4)": "M // 4",
    "(M % 3)": "M % 3",
    "(-M + 3)": "3 - M",
    "(M - M)": "0",
    "minimum(M, 4) - 3": "min\\(M, 4\\) - 3",
    "maximum(M, 3) - 3": "max\\(M, 3\\) - 3",
    "clamp(M - 3, 0, 9)": "min\\(max\\(M - 3, 0\\), 9\\)",
    "abs(M - 3)": "abs\\(M - 3\\)",
    "(M - 3) << 1": "2 \\* M - 6",
    "M >> 2": "M // 4",
    "where(M > 3, M, 0)": "\\(M if \\(M > 3\\) else 0\\)",
    "where(M >= 4 and not (M == 9) or M < 2, 2, M - 3)": "\\(2 if \\(\\(\\(M >= 4\\) and .* or .* else \\(M - 3\\)\\)",
    "(where(M != 3, M, 6) % 6)": "\\(M if \\(M != 3\\) else 6\\) % 6",
    "(M & 4)": "\\(M & 4\\)",
    "((M ^ 3) | 0)": "\\(\\(M \\^ 3\\) \\| 0\\)",
    "(~M + 4)": "3 - M",
    "sign(M - 3)": "\\(\\(\\(M - 3\\) > 0\\) - \\(\\(M - 3\\) < 0\\)\\)",
    "cast(M - 3, i8)": "min\\(M - 3, 127\\)",
    "cast(M > 3, i32)": "\\(M > 3\\)",
    "floor(M - 3)": "M - 3",
}


@pytest.mark.parametrize("divisor", ZERO_AT_3)
def test_a_division_by_what_is_computed_of_extents(divisor: str, device: torch.device) -> None:
    op = fusec.load(f"op f(x: i32[N], z: f32[M]) -> y: i32[N]:\n    y = cast(x // ({divisor}), i32)\n")
    x = torch.arange(7, dtype=torch.int32, device=device)
    told = "but M = 3$" if "M" in ZERO_AT_3[divisor] else "which no extents make true$"
    with pytest.raises(ValueError, match=f"needs {ZERO_AT_3[divisor]} != 0, {told}"):
        op(x, torch.ones(3, device=device))
    assert op(x[:0], torch.ones(3, device=device)).shape == (0,)
    if "M - M" not in divisor:
        assert torch.equal(op(x, torch.ones(5, device=device)), x // eval(divisor, {"M": 5, **SIZES, **OTHERS}))


@pytest.mark.parametrize("operator", ["<<", ">>"])
def test_a_shift_by_what_is_computed_of_extents(operator: str, device: torch.device) -> None:
    op = fusec.load(f"op f(x: i64[N], z: f32[M]) -> y: i64[N]:\n    y = x {operator} (M - 4)\n")
    x = torch.arange(-3, 7, device=device)
    for size in (4, 6):
        assert torch.equal(op(x, torch.ones(size, device=device)), eval(f"x {operator} (size - 4)"))
    for size, told in ((3, "M - 4 >= 0"), (68, "M - 4 <= 63")):
        with pytest.raises(ValueError, match=f"{told}, but M = {size}"):
            op(x, torch.ones(size, device=device))
        assert op(x[:0], torch.ones(size, device=device)).shape == (0,)


def test_a_condition_that_divides_by_an_extent_of_0(device: torch.device) -> None:
    op = fusec.load("op f(x: f32[N], z: f32[M]) -> y: f32[N]\nwhere N % M == 0:\n    y = x * M\n")
    assert torch.equal(op(torch.ones(6, device=device), torch.ones(3, device=device)).cpu(), torch.full((6,), 3.0))
    with pytest.raises(ValueError, match="M != 0"):
        op(torch.ones(6, device=device), torch.ones(0, device=device))
