"""Shipped ops that quantise, as their users know them: against PyTorch's arithmetic, and what scales they keep to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from generated import (
    add_rmsnorm_quantize,
    add_rmsnorm_quantize_groups,
    add_rmsnorm_quantize_static,
    dequantize_fp8,
    gated_activation_quantize,
    gated_activation_quantize_groups,
    quantize_fp8,
    quantize_fp8_blocks,
    quantize_fp8_groups,
    quantize_fp8_rows,
    quantize_fp8_with_overflow_handling,
    quantize_int8,
    quantize_int8_asymmetric,
    quantize_int8_rows,
    rmsnorm_quantize,
    rmsnorm_quantize_groups,
    rmsnorm_quantize_static,
)

ROWS, COLUMNS = 3, 256
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
MOST = {E4M3: 448.0, E5M2: 57344.0, torch.int8: 127.0}


@pytest.fixture
def x(device: torch.device) -> Tensor:
    drawn = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(5)) * 3
    drawn[1] = 0
    return drawn.to(torch.bfloat16).to(device)


@pytest.fixture
def w(device: torch.device) -> Tensor:
    return torch.rand(COLUMNS, generator=torch.Generator().manual_seed(6)).to(device)


def groups(values: Tensor) -> Tensor:
    return values.reshape(*values.shape[:-1], -1, 128)


def normed(x: Tensor, w: Tensor) -> Tensor:
    return functional.rms_norm(x.float(), (COLUMNS,), None, 1e-6) * w


def assert_quantised(q: Tensor, scale: Tensor, exact: Tensor, own: Tensor | None = None) -> None:
    """`q * scale` is `exact` as near as the format has it; a scale of the op's is max|x| over the largest number."""
    most = MOST[q.dtype]
    least = -128 if q.dtype == torch.int8 else -most
    quotient = exact.float().reshape(q.shape) / scale
    if q.dtype == torch.int8:
        room = torch.full_like(quotient, 0.5)
    else:
        # Half a step of the format, and a part in 2^20 of it for arithmetic.
        step = 2.0 ** (quotient.abs().clamp(min=2.0 ** (-6 if q.dtype == E4M3 else -14)).log2().floor())
        room = step * torch.finfo(q.dtype).eps / 2
    off = (q.float() - quotient.clamp(least, most)).abs()
    assert bool((off <= room * (1 + 2.0**-10) + 2.0**-16).all())
    if own is not None:
        torch.testing.assert_close(scale.reshape(own.shape), own.clamp(min=2.0**-96) / most, rtol=2.0**-20, atol=0.0)


ROW_OPS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]] = {
    "quantize_fp8_rows": lambda x, w: (*quantize_fp8_rows(x), x),
    "quantize_fp8_rows e5m2": lambda x, w: (*quantize_fp8_rows(x, dtype=E5M2), x),
    "quantize_int8_rows": lambda x, w: (*quantize_int8_rows(x), x),
    "rmsnorm_quantize": lambda x, w: (*rmsnorm_quantize(x, w), normed(x, w)),
    "add_rmsnorm_quantize": lambda x, w: (*add_rmsnorm_quantize(x, x, w)[1:], normed(x + x, w)),
    "gated_activation_quantize": lambda x, w: (
        *gated_activation_quantize(x, x.flip(1)),
        functional.silu(x.float()) * x.flip(1).float(),
    ),
}


@pytest.mark.parametrize("name", ROW_OPS)
def test_a_scale_for_each_row(name: str, x: Tensor, w: Tensor) -> None:
    q, scale, exact = ROW_OPS[name](x, w)
    assert_quantised(q, scale[:, None], exact, exact.float().abs().amax(1, keepdim=True))
    assert not q[1].float().any()


GROUP_OPS: dict[str, Callable[[Tensor, Tensor, str], tuple[Tensor, Tensor, Tensor]]] = {
    "quantize_fp8_groups": lambda x, w, scales: (*quantize_fp8_groups(x, scales), x),
    "rmsnorm_quantize_groups": lambda x, w, scales: (*rmsnorm_quantize_groups(x, w, scales=scales), normed(x, w)),
    "add_rmsnorm_quantize_groups": lambda x, w, scales: (
        *add_rmsnorm_quantize_groups(x, x, w, scales=scales)[1:],
        normed(x + x, w),
    ),
    "gated_activation_quantize_groups": lambda x, w, scales: (
        *gated_activation_quantize_groups(x, x.flip(1), scales=scales),
        functional.silu(x.float()) * x.flip(1).float(),
    ),
}


@pytest.mark.parametrize("scales", ["exact", "pow2"])
@pytest.mark.parametrize("name", GROUP_OPS)
def test_a_scale_for_each_group(name: str, scales: str, x: Tensor, w: Tensor) -> None:
    q, scale, exact = GROUP_OPS[name](x, w, scales)
    assert scale.shape == (ROWS, COLUMNS // 128)
    top = groups(exact.float()).abs().amax(-1, keepdim=True)
    assert_quantised(groups(q), scale[..., None], groups(exact), top if scales == "exact" else None)
    if scales == "pow2":
        least = top.clamp(min=2.0**-96) / 448
        assert bool((scale.log2() == scale.log2().round()).all())
        assert bool(((scale[..., None] >= least * (1 - 2.0**-20)) & (scale[..., None] < 2.001 * least)).all())


def test_a_scale_for_each_block(device: torch.device) -> None:
    x = torch.randn(256, 384, device=device)
    q, scale = quantize_fp8_blocks(x)
    blocks = x.reshape(2, 128, 3, 128)
    top = blocks.abs().amax((1, 3), keepdim=True)
    assert_quantised(q.reshape(blocks.shape), scale.reshape(top.shape), blocks, top)


def test_one_scale_for_all(x: Tensor) -> None:
    for q, used in (quantize_fp8(x), quantize_fp8(x, dtype=E5M2), quantize_int8(x)):
        assert_quantised(q, used, x, x.float().abs().max())


@pytest.mark.parametrize("quantise", [quantize_fp8, quantize_int8])
def test_a_given_scale_is_kept_and_nothing_is_looked_for(quantise: Callable[..., tuple[Tensor, Tensor]]) -> None:
    wide = torch.empty(4096, 8192, device="meta")
    plan = quantise.plan(wide, torch.empty((), device="meta"))  # type: ignore[attr-defined]
    assert str(plan).count("programs of") == 1
    assert str(quantise.plan(wide)).count("programs of") == 2  # type: ignore[attr-defined]


def test_a_given_scale(x: Tensor, w: Tensor) -> None:
    scale = torch.tensor(2.0**-7, device=x.device)
    for q, used in (quantize_fp8(x, scale), quantize_int8(x, scale)):
        assert used == scale
        assert_quantised(q, scale, x)
    assert_quantised(rmsnorm_quantize_static(x, w, scale), scale, normed(x, w))
    total, q = add_rmsnorm_quantize_static(x, x, w, scale)
    assert torch.equal(total, x + x)
    assert_quantised(q, scale, normed(x + x, w))


def test_a_bound_on_what_a_scale_is_made_of(x: Tensor) -> None:
    q, scale = quantize_fp8_rows(x, 2.0)
    assert bool((scale <= 2.0 / 448 * (1 + 2.0**-20)).all())
    assert_quantised(q, scale[:, None], x)


def test_zero_points(x: Tensor) -> None:
    above = x.abs() + 1
    for given in (x, above, -above):
        q, scale, zero = quantize_int8_asymmetric(given)
        back = (q - zero[:, None]).float() * scale[:, None]
        assert bool(((back - given.float()).abs() <= scale[:, None] * 1.001).all())
        assert zero.dtype == torch.int32


@pytest.mark.parametrize("output", [torch.float16, torch.bfloat16, torch.float32])
def test_back(output: torch.dtype, x: Tensor) -> None:
    q, used = quantize_fp8(x)
    assert torch.equal(dequantize_fp8(q, used, output), (q.float() * used).to(output))
    assert dequantize_fp8(q, used).dtype == torch.float16


@pytest.mark.parametrize("doublings", [-3, 0, 1, 3, 4])
def test_a_scale_that_is_too_small_is_doubled(doublings: int, x: Tensor) -> None:
    """As often as it takes and is allowed; else it is told."""
    top = x.float().abs().max()
    scale = top / 448 * (1 + 2.0**-10) * 2.0**-doublings
    q, used, overflow = quantize_fp8_with_overflow_handling(x, scale)
    assert used == scale * 2.0 ** min(max(doublings, 0), 3)
    assert bool(overflow) == (doublings > 3)
    assert_quantised(q, used, x)


def test_what_no_scale_helps(x: Tensor) -> None:
    x[0, 7] = torch.nan
    assert bool(quantize_fp8_with_overflow_handling(x)[2])
    assert not bool(quantize_fp8_with_overflow_handling(torch.zeros_like(x))[2])
