"""Shipped ops take what callers of other libraries pass: gains and weights in f32, tables of several shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from fusec.runtime import ShapeMismatchError, UnsupportedDtypeError
from generated import (
    FP8Linear,
    FusedGatedMLP,
    FusedRMSNormRoPE,
    RMSNormLinear,
    add_rmsnorm,
    add_rmsnorm_linear,
    dequantize_fp8,
    fp8_linear,
    fp8_linear_quantized,
    fused_gated_mlp,
    fused_rmsnorm_rope,
    int8_linear,
    layernorm,
    linear,
    linear_activation,
    linear_add_rmsnorm,
    linear_residual,
    qk_norm_rope,
    qkv_rope,
    quantize_fp8,
    quantize_fp8_rows,
    quantize_int8_rows,
    rmsnorm,
    rmsnorm_fp8_linear,
    rmsnorm_gated_mlp,
    rmsnorm_linear,
    rmsnorm_quantize,
    rmsnorm_rounded,
    rope,
    rope_heads_first,
    rope_qk,
    rope_qk_half,
    rope_qk_heads_first,
    rope_qk_interleaved,
    rope_qk_interleaved_full,
    rope_qk_partial,
)

MIXED = [(torch.bfloat16, torch.float32), (torch.float16, torch.float32), (torch.float32, torch.bfloat16)]


def drawn(*shape: int, dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> torch.Tensor:
    return torch.randn(shape, device=device).to(dtype)


def close(got: torch.Tensor, wanted: torch.Tensor) -> None:
    """Within the roundings of sums of 24 terms, each of 1 or as large as the largest result at most."""
    eps, largest = torch.finfo(got.dtype).eps, float(wanted.abs().max()) if wanted.numel() else 0.0
    torch.testing.assert_close(got.double(), wanted.double(), rtol=2 * eps, atol=24 * eps * max(largest, 1.0))


@pytest.mark.parametrize(("dtype", "other"), MIXED, ids=str)
@torch.no_grad()
def test_a_gain_may_be_of_another_dtype(dtype: torch.dtype, other: torch.dtype, device: torch.device) -> None:
    x, gain, bias = drawn(5, 24, dtype=dtype, device=device), drawn(24, dtype=other), drawn(24, dtype=other)
    gain, bias = gain.to(device), bias.to(device)
    normed = functional.rms_norm(x.double(), (24,), gain.double(), 1e-6)
    close(rmsnorm(x, gain), normed)
    close(layernorm(x, gain, bias), functional.layer_norm(x.double(), (24,), gain.double(), bias.double()))
    total, y = add_rmsnorm(x, x, gain)
    assert torch.equal(total, x + x)
    close(y, functional.rms_norm(total.double(), (24,), gain.double(), 1e-6))
    unit = functional.rms_norm(x.double(), (24,), None, 1e-6).to(dtype)
    torch.testing.assert_close(
        rmsnorm_rounded(x, gain).double(), (unit * gain).to(dtype).double(), rtol=0.02, atol=0.02
    )
    q, scale = rmsnorm_quantize(x, gain)
    torch.testing.assert_close(q.double() * scale[:, None], normed, rtol=2**-4, atol=float(scale.max()) / 64)


@pytest.mark.parametrize("rows", [1, 5, 40])
@pytest.mark.parametrize(("dtype", "other"), MIXED, ids=str)
@torch.no_grad()
def test_a_weight_of_another_dtype_is_rounded_to_that_of_x(
    dtype: torch.dtype, other: torch.dtype, rows: int, device: torch.device
) -> None:
    x, gain = drawn(rows, 24, dtype=dtype, device=device), drawn(24, device=device)
    weight, up, bias = (drawn(*shape, dtype=other, device=device) for shape in ((16, 24), (16, 24), (16,)))
    cast = weight.to(dtype)
    cast_bias, residual, own = bias.to(dtype), drawn(rows, 16, dtype=dtype, device=device), drawn(16, device=device)
    product = functional.linear(x.double(), cast.double(), cast_bias.double())
    close(linear(x, weight, bias), product)
    close(linear_activation(x, weight, bias, "relu"), product.relu())
    close(linear_residual(x, weight, residual, bias), product + residual)
    for op, before, weights, behind in (
        (linear, (x,), (weight,), ()),
        (linear_activation, (x,), (weight, bias), ("silu",)),
        (linear_residual, (x,), (weight,), (residual,)),
        (fused_gated_mlp, (x,), (weight, up), ()),
        (rmsnorm_linear, (x, gain), (weight, bias), ()),
        (rmsnorm_gated_mlp, (x, gain), (weight, up), ("gelu",)),
        (linear_add_rmsnorm, (x,), (weight,), (residual, own, None)),
        (linear_add_rmsnorm, (x,), (weight,), (residual, own, bias)),
        (add_rmsnorm_linear, (x, x, gain), (weight, bias), ()),
        (qkv_rope, (x[None], gain), (weight,), (x.new_ones(rows, 4), x.new_zeros(rows, 4), 1)),
        (qkv_rope, (x[None], gain), (weight,), (x.new_ones(rows, 4), x.new_zeros(rows, 4), 1, None, bias)),
    ):
        rounded = [each.to(dtype) for each in weights]
        last = [each.to(dtype) if each is bias else each for each in behind]
        results, wanted = op(*before, *weights, *behind), op(*before, *rounded, *last)
        for got, want in zip(*(r if isinstance(r, tuple) else (r,) for r in (results, wanted)), strict=True):
            assert torch.equal(got, want)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_modules_as_constructed_take_16_bits(dtype: torch.dtype, device: torch.device) -> None:
    x = drawn(2, 3, 24, dtype=dtype, device=device)
    cos, sin = (drawn(3, 8, dtype=dtype, device=device) for _ in range(2))
    for module, given in (
        (FusedGatedMLP(24, 16), (x,)),
        (RMSNormLinear(24, 16), (x,)),
        (FusedRMSNormRoPE(24, 8), (x, cos, sin)),
    ):
        made = module.to(device)
        y, before = made(*given), {name: weight.dtype for name, weight in made.named_parameters()}
        assert y.dtype == dtype
        assert {*before.values()} == {torch.float32}
        close(made.to(dtype)(*given), y)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_quantised_linears_take_weights_gains_and_biases_of_any_dtype(dtype: torch.dtype, device: torch.device) -> None:
    x, gain, bias = drawn(3, 32, dtype=dtype, device=device), drawn(32, device=device), drawn(16, device=device)
    module, cast = FP8Linear(32, 16, device=device), bias.to(dtype)
    module.bias.copy_(bias)
    wanted = functional.linear(x.double(), module.weight.double(), bias.double())
    torch.testing.assert_close(module(x).double(), wanted, rtol=0.1, atol=0.1)
    assert torch.equal(module(x), fp8_linear(x, module.weight, bias))
    weight, scale = quantize_fp8_rows(module.weight)
    assert torch.equal(fp8_linear_quantized(x, weight, scale, bias), fp8_linear_quantized(x, weight, scale, cast))
    codes, steps = quantize_int8_rows(module.weight)
    assert torch.equal(int8_linear(x, codes, steps, bias), int8_linear(x, codes, steps, cast))
    normed = functional.rms_norm(x.double(), (32,), gain.double(), 1e-6)
    y = rmsnorm_fp8_linear(x, gain, weight, scale, bias=bias)
    wanted = functional.linear(normed, module.weight.double(), bias.double())
    torch.testing.assert_close(y.double(), wanted, rtol=0.1, atol=0.15)


def rotated(normed: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = normed.chunk(2, -1)
    return normed * cos.unsqueeze(-2) + torch.cat((-second, first), -1) * sin.unsqueeze(-2)


@pytest.mark.parametrize("heads", [1, 3])
@torch.no_grad()
def test_tables_of_the_fused_norm_and_rope(heads: int, device: torch.device) -> None:
    x, weight = drawn(2, 5, heads * 8, device=device), drawn(heads * 8, device=device)
    normed = functional.rms_norm(x.double(), x.shape[-1:], weight.double(), 1e-6).unflatten(-1, (heads, 8))
    angles = torch.rand(2, 5, 4, device=device) * 6
    full = torch.cat((angles, angles), -1)
    for table in (full[0], full[:1], full[0][None, :, None]):
        shared = rotated(normed, full[0].cos().double(), full[0].sin().double()).flatten(-2)
        close(fused_rmsnorm_rope(x, weight, table.cos(), table.sin()), shared)
        close(fused_rmsnorm_rope(x, weight, table.cos(), table.sin(), num_heads=heads), shared)
    for table in (angles[0], angles[:1], angles[0][None, :, None]):
        close(fused_rmsnorm_rope(x, weight, table.cos(), table.sin(), num_heads=heads), shared)
    for table in (full, full[:, :, None], full[:, None]):
        own = rotated(normed, full.cos().double(), full.sin().double()).flatten(-2)
        close(fused_rmsnorm_rope(x, weight, table.cos(), table.sin()), own)
    module = FusedRMSNormRoPE(heads * 8, 8, device=device)
    module.weight.copy_(weight)
    close(module(x, angles[0].cos(), angles[0].sin()), shared)


D = 8
ROTATIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "rope_qk": (rope_qk, D),
    "rope_qk_half": (rope_qk_half, D // 2),
    "rope_qk_interleaved": (rope_qk_interleaved, D // 2),
    "rope_qk_interleaved_full": (rope_qk_interleaved_full, D),
    "qk_norm_rope": (lambda q, k, *given: qk_norm_rope(q, k, q.new_ones(D), k.new_ones(D), *given), D),
    "qkv_rope": (
        lambda q, k, *given: qkv_rope(q[:, :, 0], q.new_ones(D), k.new_ones(4 * D, D), *given[:2], 1, *given[2:]),
        D,
    ),
}


@pytest.mark.parametrize("name", ROTATIONS)
@torch.no_grad()
def test_position_ids_of_every_form(name: str, device: torch.device) -> None:
    rotate, width = ROTATIONS[name]
    shapes = ((3, 5, 2, D), (3, 5, 2, D), (7, width), (7, width))
    q, k, cos, sin = (torch.randn(shape, device=device) for shape in shapes)
    ids = torch.randint(0, 7, (3, 5), device=device)
    wanted = rotate(q, k, cos, sin, ids)
    assert all(map(torch.equal, rotate(q, k, cos, sin, ids.int()), wanted))
    assert all(map(torch.equal, rotate(q, k, cos, sin, ids[None]), wanted))
    shared = rotate(q, k, cos, sin, ids[1].expand(3, 5))
    for form in (ids[1], ids[1][None], ids[1].int(), ids[1, None].int(), ids[1].expand(1, 1, 5)):
        assert all(map(torch.equal, rotate(q, k, cos, sin, form), shared))
    for wrong in (ids[:2], ids[:, :4], ids[:, :1], ids[0, :4], ids.flatten(), ids[:, 0]):
        with pytest.raises(ShapeMismatchError, match="`position_ids` should have"):
            rotate(q, k, cos, sin, wrong)
    with pytest.raises(UnsupportedDtypeError, match="`position_ids` should be int64 or int32"):
        rotate(q, k, cos, sin, ids.float())


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)], ids=str)
def test_a_scalar_may_have_dimensions_of_one(shape: tuple[int, ...], device: torch.device) -> None:
    q = torch.randn(3, 8, device=device).to(torch.float8_e4m3fn)
    scale = torch.tensor(0.5, device=device)
    assert torch.equal(dequantize_fp8(q, scale.view(shape)), dequantize_fp8(q, scale))
    with pytest.raises(ShapeMismatchError, match="`scale` should have 0 dimensions"):
        dequantize_fp8(q, scale.expand(2))


def test_weights_may_have_dimensions_of_one(device: torch.device) -> None:
    x, weight, bias = (torch.randn(shape, device=device) for shape in ((3, 8), (8,), (8,)))
    assert torch.equal(layernorm(x, weight[None], bias[None, None]), layernorm(x, weight, bias))


VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "every other": lambda x: x[::2, ::2, ::2],
    "permuted": lambda x: x.permute(2, 0, 1, 3)[:, ::2],
    "cut": lambda x: x[:3, :4, :5],
    "cut columns": lambda x: x[:3, 1:4, ::2, 1:],
    "expanded": lambda x: x[:, :1, ::3].expand(-1, 5, -1, -1)[::2],
    "empty": lambda x: x[:, ::2, :0],
}


@pytest.mark.parametrize("view", VIEWS)
@torch.no_grad()
def test_one_scale_for_a_view_whose_leading_axes_do_not_join(view: str, device: torch.device) -> None:
    for times in range(3):
        x = VIEWS[view](torch.randn(6, 5, 7, 12, device=device) * (times + 1))
        before = x.clone()
        q, scale = quantize_fp8(x)
        wanted, wanted_scale = quantize_fp8(x.contiguous())
        assert torch.equal(scale, wanted_scale)
        assert torch.equal(q.view(torch.uint8), wanted.view(torch.uint8))
        assert q.shape == x.shape
        assert torch.equal(x, before)


def rotary(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """The first columns of x, as many as the tables have, rotated in halves."""
    turned, left = x.double().split([cos.shape[-1], x.shape[-1] - cos.shape[-1]], -1)
    first, second = turned.chunk(2, -1)
    turned = turned * cos.double() + torch.cat((-second, first), -1) * sin.double()
    return torch.cat((turned, left), -1)


@pytest.mark.parametrize("given", [False, True], ids=["tokens", "ids"])
@torch.no_grad()
def test_rotations_of_other_layouts(given: bool, device: torch.device) -> None:
    q, k = (drawn(3, 5, heads, D, device=device) for heads in (4, 2))
    cos, sin = drawn(5, D, device=device), drawn(5, D, device=device)
    ids = torch.randint(0, 5, (3, 5), device=device) if given else None
    rows = torch.arange(5, device=device).expand(3, 5) if ids is None else ids
    c, s = cos[rows][:, :, None], sin[rows][:, :, None]
    for x in (q, k):
        close(rope(x, cos, sin, ids), rotary(x, c, s))
        close(rope_heads_first(x.transpose(1, 2), cos, sin, ids), rotary(x, c, s).transpose(1, 2))
    heads_first = q.transpose(1, 2), k.transpose(1, 2)
    for y, x in zip(rope_qk_heads_first(*heads_first, cos, sin, ids), (q, k), strict=True):
        close(y, rotary(x, c, s).transpose(1, 2))
    for width in (2, 4, D):
        part = rope_qk_partial(q, k, cos[:, :width], sin[:, :width], ids)
        for y, x in zip(part, (q, k), strict=True):
            close(y, rotary(x, c[..., :width], s[..., :width]))
    own = [drawn(3, 5, D, device=device) for _ in range(2)]
    at = torch.arange(3, device=device)[:, None]
    for tables in (own, [table[:, :, None] for table in own]):
        wanted = [rotary(x, *(table[at, rows][:, :, None] for table in own)) for x in (q, k)]
        for y, want in zip(rope_qk(q, k, *tables, ids), wanted, strict=True):
            close(y, want)
        for y, want in zip(rope_qk_heads_first(*heads_first, *tables, ids), wanted, strict=True):
            close(y, want.transpose(1, 2))
