"""How large numbers may be before a kernel that rearranged products loses them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.forcing import CHIPS, on_chip
from fusec.numerics.envelope import envelope
from fusec.testing.compare import judge

NORM_THEN_QUANTISE = """
op f(x: T[M, N], w: T[N]) -> (q: f8e4m3[M, N], scale: f32[M])
where T in {f16, f32}:
    q, scale = quantize(rmsnorm(x, w, 1e-6, over=N), f8e4m3, over=N)
"""


@pytest.mark.parametrize("shape", CHIPS)
@pytest.mark.parametrize(
    ("dtype", "x", "w", "known"),
    [
        (torch.float16, 65504.0, 65504.0, True),
        (torch.float16, 2.0**-24, 65504.0, True),
        (torch.float32, 2.0**60, 2.0**60, True),
        (torch.float32, 2.0**60, 2.0**70, False),
        (torch.float32, 1e30, 1e30, False),
    ],
)
def test_products_within_f32_are_as_good_as_in_the_order_of_the_spec(
    dtype: torch.dtype, x: float, w: float, known: bool, shape: str, tmp_path: Path, device: torch.device
) -> None:
    """The bound of the rewritten graph says nothing where a product leaves f32, and is kept to everywhere else."""
    (op,) = compiled(NORM_THEN_QUANTISE, tmp_path)
    arguments = {"x": torch.full((3, 40), x, dtype=dtype), "w": torch.full((40,), w, dtype=dtype)}
    bounds = envelope(op.program.forms[0], arguments)
    assert bool(bounds["q"].unknown.any()) is not known
    with on_chip(op.module, CHIPS[shape]):
        found = op.call(*(tensor.to(device) for tensor in arguments.values()))
    for name, result in zip(bounds, found, strict=True):
        judge(name, result, bounds[name])
        assert not known or result.float().isfinite().all()
