"""Quotients by what a row shares, which may be products with its reciprocal, are right for all magnitudes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.interpreter import interpreting

pytestmark = pytest.mark.skipif(not interpreting(), reason="a GPU's quotients of subnormal numbers are its own affair")

QUOTIENTS = {
    "any number": ("s", lambda s: s),
    "one that is 1 or more": ("(abs(s) + 1)", lambda s: s.abs() + 1),
    "one far from 0": ("maximum(abs(s), 1e-30)", lambda s: s.abs().clamp(min=1e-30)),
    "one near 0": ("maximum(abs(s), 1e-38)", lambda s: s.abs().clamp(min=1e-38)),
    "a small one": ("(1e-3 * sigmoid(s))", lambda s: 1e-3 * s.sigmoid()),
    "a large one": ("minimum(1 + abs(s), 3e38)", lambda s: (1 + s.abs()).clamp(max=3e38)),
}

MAGNITUDES = (1e-45, 2.0**-140, 2.0**-127, 2.0**-126, 1e-30, 1e-3, 1.0, 3.0, 1e30, 2.0**126, 2.0**127, 3.4e38)


@pytest.mark.parametrize("divisor", QUOTIENTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_quotient_by_what_a_row_shares(
    divisor: str, dtype: torch.dtype, tmp_path: Path, device: torch.device
) -> None:
    text, meaning = QUOTIENTS[divisor]
    spec = f"op f(x: T[M, N], s: T[M]) -> y: T[M, N]\nwhere T in {{f32, f64}}:\n    y = x / {text}\n"
    (op,) = compiled(spec, tmp_path)
    numbers = torch.tensor(MAGNITUDES, dtype=dtype, device=device)
    x = torch.cat((numbers, -numbers)).expand(len(numbers), -1).contiguous()
    y = op.call(x, numbers).double()
    wanted = x.double() / meaning(numbers.double())[:, None]
    ordinary = wanted.abs() <= torch.finfo(dtype).max / 2
    error = (y - wanted).abs() - 2.0**-148
    assert (error <= 8 * torch.finfo(dtype).eps * wanted.abs())[ordinary].all()


def test_integers_that_a_row_shares_divide_as_integers(tmp_path: Path, device: torch.device) -> None:
    spec = "op f(x: i32[M, N], s: i32[M]) -> (y: i32[M, N], z: f32[M, N]):\n    y = x // s\n    z = x / s\n"
    (op,) = compiled(spec, tmp_path)
    x = torch.arange(-20, 20, dtype=torch.int32, device=device).expand(4, -1).contiguous()
    s = torch.tensor([1, -3, 7, 100], dtype=torch.int32, device=device)
    y, z = op.call(x, s)
    assert torch.equal(y, x // s[:, None])
    assert torch.allclose(z, x / s[:, None], rtol=1e-6, atol=0)
