"""Values in few bits and their scales: per tensor, token, group and block, with zero points, and back."""

from __future__ import annotations

import torch
from torch.nn import functional

from .table import rounded, spec

TINY = 2.0**-96


def parts(x, size):
    """`x` with its last dimension in groups of `size`."""
    return x.reshape(*x.shape[:-1], x.shape[-1] // size, size)


def peak(x, dim, keepdim=False):
    """The largest |x| along `dim`, -inf of none."""
    dims = (dim,) if isinstance(dim, int) else dim
    if all(x.shape[each] for each in dims):
        return x.abs().amax(dims, keepdim=keepdim)
    shape = [1 if each in [d % x.ndim for d in dims] else size for each, size in enumerate(x.shape)]
    found = torch.full(shape, -torch.inf, dtype=x.dtype)
    return found if keepdim else found.squeeze(dims)


@spec("""
op dequantize_groups(q: i8[..., G*L], scale: f16[..., G]) -> y: bf16[..., G*L]
where L == 32:
    y = dequantize(q, scale)
""")
def dequantize_groups(q, scale):
    return q * scale.repeat_interleave(32, -1)


@spec("""
op dequantize_with_zeros(q: u8[..., G*L], scale: f16[..., G], zero: u8[..., G]) -> y: bf16[..., G*L]
where L == 16:
    y = (q - zero) * scale
""")
def dequantize_with_zeros(q, scale, zero):
    return (q - zero.repeat_interleave(16, -1)) * scale.repeat_interleave(16, -1)


@spec("""
op quantize_tokens(x: T[..., N]) -> (q: i8[..., N], scale: f32[...])
where T in {f16, bf16, f32}:
    q, scale = quantize(x, i8, over=N)
""")
def quantize_tokens(x):
    scale = peak(x, x.ndim - 1, keepdim=True).clamp_min(TINY) / 127
    return x / scale, scale.squeeze(-1)


@spec("""
op quantize_with_zeros(x: T[M, N]) -> (q: u8[M, N], scale: f32[M], zero: f32[M])
where T in {f16, bf16, f32}:
    low = minimum(amin(x, over=N), 0)
    high = maximum(amax(x, over=N), 0)
    scale = maximum(high - low, 1e-6) / 255
    zero = round(-low / scale)
    q = cast(round(x / scale) + zero, u8)
""")
def quantize_with_zeros(x):
    edge = x.new_zeros(len(x), 1)
    low, high = torch.cat((x, edge), 1).amin(1), torch.cat((x, edge), 1).amax(1)
    scale = (high - low).clamp_min(1e-6) / 255
    zero = (-low / scale).round()
    return (x / scale[:, None]).round() + zero[:, None], scale, zero


@spec("""
op quantize_power_of_two(x: T[M, G*L]) -> (q: f8e4m3[M, G*L], exponent: i8[M, G])
where T in {bf16, f32}, L == 32:
    top = maximum(amax(abs(x), over=L), tiny)
    power = floor(log(top) / log(2)) - 8
    q = cast(x * exp2(-power), f8e4m3)
    exponent = cast(power, i8)
""")
def quantize_power_of_two(x):
    groups = parts(x, 32)
    power = peak(groups, 2, keepdim=True).clamp_min(TINY).log2().floor() - 8
    return (groups / 2**power).flatten(1), power.squeeze(2)


@spec("""
op quantize_groups_wide(x: T[..., G*L]) -> (q: f8e5m2[..., G*L], scale: f32[..., G])
where T in {f16, bf16, f32}, L == 128:
    q, scale = quantize(x, f8e5m2, over=L)
""")
def quantize_groups_wide(x):
    groups = parts(x, 128)
    scale = peak(groups, groups.ndim - 1, keepdim=True).clamp_min(TINY) / 57344
    return (groups / scale).flatten(-2), scale.squeeze(-1)


@spec("""
op tensor_peak(x: T[..., N]) -> (peak: f32[], least: f32[], mass: f32[])
where T in {f16, bf16, f32}:
    peak = amax(abs(x), over=(..., N))
    least = amin(x, over=(..., N))
    mass = sum(x * x, over=(..., N))
""")
def tensor_peak(x):
    if not x.numel():
        return torch.tensor(-torch.inf), torch.tensor(torch.inf), torch.tensor(0.0)
    return x.abs().max(), x.min(), x.square().sum()


@spec("""
op quantize_static(x: T[..., N], scale: f32[], smooth: f32[N] = 1) -> q: f8e4m3[..., N]
where T in {f16, bf16, f32}:
    q = quantize_by(x / smooth, scale, f8e4m3)
""")
def quantize_static(x, scale, smooth):
    return (x if smooth is None else x / smooth) / scale


@spec("""
op quantize_bounded(x: T[M, N], bound: f32 = 2.5, unit: i32 = 1) -> (q: f8e4m3[M, N], scale: f32[M])
where T in {f16, bf16, f32}:
    scale = maximum(minimum(amax(abs(x), over=N), bound) / max_of(f8e4m3), unit / (max_of(f8e4m3) * 512))
    q = quantize_by(x, scale, f8e4m3)
""")
def quantize_bounded(x, bound, unit):
    scale = (peak(x, 1).clamp_max(bound) / 448).clamp_min(unit / (448 * 512))
    return x / scale[:, None], scale


@spec("""
op swiglu_quantize(x: T[M, F + F]) -> (q: f8e4m3[M, F], scale: f32[M])
where T in {f16, bf16, f32}:
    gate, up = split(x, F, F)
    q, scale = quantize(silu(gate) * up, f8e4m3, over=F)
""")
def swiglu_quantize(x):
    gate, up = x.chunk(2, 1)
    y = functional.silu(gate) * up
    scale = peak(y, 1).clamp_min(TINY) / 448
    return y / scale[:, None], scale


@spec("""
op swiglu_quantize_groups(gate: T[M, G*L], up: T[M, G*L]) -> (q: f8e4m3[M, G*L], scale: f32[G, M])
where T in {bf16, f32}, L == 128:
    q, scale = quantize(silu(gate) * up, f8e4m3, over=L)
""")
def swiglu_quantize_groups(gate, up):
    groups = parts(functional.silu(gate) * up, 128)
    scale = peak(groups, 2).clamp_min(TINY) / 448
    return (groups / scale[..., None]).flatten(1), scale.T


@spec("""
op norm_quantize_groups(x: T[M, G*L], residual: T[M, G*L] = 0, weight gain: T[G*L] = 1, eps: f32 = 1e-6)
  -> (total: T[M, G*L], q: f8e4m3[M, G*L], scale: f32[M, G])
where T in {f16, bf16, f32}, L == 128:
    total = cast(x + residual, T)
    q, scale = quantize(rmsnorm(total, gain, eps, over=(G, L)), f8e4m3, over=L)
""")
def norm_quantize_groups(x, residual, gain, eps, T):
    total = x if residual is None else rounded(x + residual, T)
    normed = total / (total.square().mean(1, keepdim=True) + eps).sqrt() * (1 if gain is None else gain)
    groups = parts(normed, 128)
    scale = peak(groups, 2).clamp_min(TINY) / 448
    return total, (groups / scale[..., None]).flatten(1), scale


@spec("""
op fake_quantize(x: T[..., N]) -> y: T[..., N]
where T in {f16, bf16, f32}:
    q, scale = quantize(x, i8, over=N)
    y = dequantize(q, scale)
""")
def fake_quantize(x):
    scale = peak(x, x.ndim - 1, keepdim=True).clamp_min(TINY) / 127
    return rounded(x / scale, torch.int8) * scale


@spec("""
op quantize_blocks(w: T[P*Q, G*L]) -> (q: f8e4m3[P*Q, G*L], scale: f32[P, G])
where T in {bf16, f32}, Q == 8, L == 16:
    q, scale = quantize(w, f8e4m3, over=(Q, L))
""")
def quantize_blocks(w):
    rows, columns = w.shape[0] // 8, w.shape[1] // 16
    blocks = w.reshape(rows, 8, columns, 16)
    scale = peak(blocks, (1, 3)).clamp_min(TINY) / 448
    return (blocks / scale[:, None, :, None]).reshape(w.shape), scale


@spec("""
op scales_of_scales(x: T[M, G*L]) -> (q: f8e4m3[M, G*L], inner: f8e4m3[M, G], outer: f32[M])
where T in {bf16, f32}, L == 16:
    q, scale = quantize(x, f8e4m3, over=L)
    inner, outer = quantize(scale, f8e4m3, over=G)
""")
def scales_of_scales(x):
    groups = parts(x, 16)
    scale = peak(groups, 2).clamp_min(TINY) / 448
    outer = peak(scale, 1).clamp_min(TINY) / 448
    return (groups / scale[..., None]).flatten(1), scale / outer[:, None], outer


@spec("""
op dequantize_add(q: i8[M, N], row: f32[M], column: f32[N], residual: T[M, N]) -> y: T[M, N]
where T in {f16, bf16}:
    y = q * row * column + residual
""")
def dequantize_add(q, row, column, residual):
    return q * row[:, None] * column + residual


@spec("""
op int_products(a: i8[M, N], b: i8[N], u: u8[M, N]) -> (dots: i32[M], squares: i32[N], spread: i32[M]):
    dots = sum(a * b, over=N)
    squares = sum(a * a, over=M)
    spread = amax(u - a, over=N) - amin(u - a, over=N)
""")
def int_products(a, b, u):
    spread = (u - a).amax(1) - (u - a).amin(1) if a.shape[1] else torch.full((len(a),), -1)
    return (a * b).sum(1), (a * a).sum(0), spread
