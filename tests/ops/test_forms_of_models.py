"""Shipped ops beside the layers of models that they stand for: the same roundings, bit for bit where they say so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from generated import rmsnorm_add, rmsnorm_add_rmsnorm


def drawn(*size: int, seed: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed)).to(dtype)


def unit(x: Tensor) -> Tensor:
    wide = x.float()
    return wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)


NORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "plain": lambda x, w: (w.float() * unit(x)).to(x.dtype),  # Olmo2RMSNorm
    "unit_offset": lambda x, w: (unit(x) * (1.0 + w.float())).to(x.dtype),  # Gemma2RMSNorm, Gemma3RMSNorm
    "rounded": lambda x, w: w * unit(x).to(x.dtype),  # Glm4RMSNorm
}


@pytest.mark.parametrize("norm", NORMS)
def test_a_norm_behind_a_block_rounds_as_the_layers_of_hugging_face(norm: str, device: torch.device) -> None:
    # Whole numbers: their squares have one sum, in whatever order they are added.
    x = (drawn(5, 64, seed=1) * 8).round()
    residual, weight, behind = drawn(5, 64, seed=2) * 30, drawn(64, seed=3), drawn(64, seed=4)
    total = residual + NORMS[norm](x, weight)
    y = NORMS[norm](total, behind)
    arguments = [each.to(device) for each in (x, residual, weight, behind)]
    assert torch.equal(rmsnorm_add(*arguments[:3], norm=norm).cpu(), total)
    found = rmsnorm_add_rmsnorm(*arguments, norm=norm)
    assert torch.equal(found[0].cpu(), total)
    torch.testing.assert_close(found[1].cpu(), y, rtol=2**-7, atol=0)
