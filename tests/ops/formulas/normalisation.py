"""Normalisation: over channels, groups, heads, batches; by length, by a bounded function; modulated and scaled."""

from __future__ import annotations

import torch
from torch.nn import functional

from .table import spec


@spec("""
op group_norm(x: T[B, G*C, S], weight weight: T[G*C], weight bias: T[G*C], groups: dim(G), eps: f32 = 1e-5)
  -> y: T[B, G*C, S]
where T in {f16, bf16, f32}:
    centred = x - mean(x, over=(C, S))
    y = centred * rsqrt(mean(centred * centred, over=(C, S)) + eps) * weight + bias
""")
def group_norm(x, weight, bias, groups, eps):
    batch, channels, length = x.shape
    if not x.numel():
        return x
    parts = x.reshape(batch, groups, -1)
    parts = (parts - parts.mean(-1, keepdim=True)) / (parts.var(-1, correction=0, keepdim=True) + eps).sqrt()
    return parts.reshape(batch, channels, length) * weight[:, None] + bias[:, None]


@spec("""
op rms_per_head(x: T[..., H*D], heads: dim(H), weight gain: T[D] = 1, eps: f32 = 1e-6) -> y: T[..., H*D]
where T in {f16, bf16, f32}:
    y = rmsnorm(x, gain, eps, over=D)
""")
def rms_per_head(x, heads, gain, eps):
    parts = x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads if heads else 0)
    parts = parts / (parts.square().mean(-1, keepdim=True) + eps).sqrt() * (1 if gain is None else gain)
    return parts.reshape(x.shape)


@spec("""
op l2_normalize(x: T[..., N], eps: f32 = 1e-12) -> (y: T[..., N], length: f32[...])
where T in {f16, bf16, f32, f64}:
    length = sqrt(sum(x * x, over=N))
    y = x / maximum(length, eps)
""")
def l2_normalize(x, eps):
    return functional.normalize(x, dim=-1, eps=eps), x.norm(dim=-1)


@spec("""
op l1_normalize(x: T[M, N]) -> y: T[M, N]
where T in {f16, f32}:
    y = x / (sum(abs(x), over=N) + tiny)
""")
def l1_normalize(x):
    return x / (x.abs().sum(1, keepdim=True) + 2.0**-96)


@spec("""
op dynamic_tanh(x: T[..., C], alpha: f32[], weight: T[C], bias: T[C] = 0) -> y: T[..., C]
where T in {f16, bf16, f32}:
    y = tanh(alpha * x) * weight + bias
""")
def dynamic_tanh(x, alpha, weight, bias):
    y = torch.tanh(alpha * x) * weight
    return y if bias is None else y + bias


@spec("""
op moments(x: T[B, C, H, W], correction: i32 = 1) -> (average: f32[B, C], variance: f32[B, C], deviation: T[B, C])
where T in {bf16, f32, f64}:
    average = mean(x, over=(H, W))
    variance = sum((x - average) * (x - average), over=(H, W)) / (H * W - correction)
    deviation = sqrt(variance)
""")
def moments(x, correction):
    average = x.mean((2, 3))
    squares = (x - average[..., None, None]).square().sum((2, 3))
    variance = squares / torch.tensor(float(x.shape[2] * x.shape[3] - correction)).double()
    return average, variance, variance.sqrt()


@spec("""
op batch_norm_inference(x: T[B, C, H, W], running_mean: f32[C], running_var: f32[C], weight weight: T[C],
                        weight bias: T[C], eps: f32 = 1e-5) -> y: T[B, C, H, W]
where T in {f16, f32}:
    y = (x - running_mean) * rsqrt(abs(running_var) + eps) * weight + bias
""")
def batch_norm_inference(x, running_mean, running_var, weight, bias, eps):
    average, deviation, weight, bias = (
        each[:, None, None] for each in (running_mean, (running_var.abs() + eps).sqrt(), weight, bias)
    )
    return (x - average) / deviation * weight + bias


@spec("""
op batch_norm_training(x: T[B, C, S], weight: T[C], bias: T[C], eps: f32 = 1e-5)
  -> (y: T[B, C, S], average: f32[C], variance: f32[C])
where T in {bf16, f32}:
    average = mean(x, over=(B, S))
    centred = x - average
    variance = mean(centred * centred, over=(B, S))
    y = centred * rsqrt(variance + eps) * weight + bias
""")
def batch_norm_training(x, weight, bias, eps):
    average, variance = x.mean((0, 2)), x.var((0, 2), correction=0)
    centred = (x - average[:, None]) / (variance + eps).sqrt()[:, None]
    return centred * weight[:, None] + bias[:, None], average, variance


@spec("""
op modulated_norm(x: T[B, S, D], shift: T[B, D], scale: T[B, D], eps: f32 = 1e-6) -> y: T[B, S, D]
where T in {f16, bf16, f32}:
    centred = x - mean(x, over=D)
    y = centred * rsqrt(mean(centred * centred, over=D) + eps) * (1 + scale) + shift
""")
def modulated_norm(x, shift, scale, eps):
    normed = functional.layer_norm(x, x.shape[-1:], eps=eps) if x.shape[-1] else x
    return normed * (1 + scale[:, None]) + shift[:, None]


@spec("""
op sandwich_norm(hidden: T[..., N], branch: T[..., N], weight gain: T[N], weight layer_scale: T[N] = 1,
                 alpha: f32 = 1, eps: f32 = 1e-6) -> y: T[..., N]
where T in {f16, bf16, f32}:
    y = hidden * alpha + layer_scale * rmsnorm_unit_offset(branch, gain, eps, over=N)
""")
def sandwich_norm(hidden, branch, gain, layer_scale, alpha, eps):
    normed = branch / (branch.square().mean(-1, keepdim=True) + eps).sqrt() * (1 + gain)
    return hidden * alpha + normed * (1 if layer_scale is None else layer_scale)


@spec("""
op norm_and_group_peaks(x: T[M, G*L], weight gain: T[G*L], eps: f32 = 1e-6) -> (y: T[M, G*L], peak: f32[M, G])
where T in {f16, bf16, f32}, L == 16:
    y = rmsnorm(x, gain, eps, over=(G, L))
    peak = amax(abs(y), over=L)
""")
def norm_and_group_peaks(x, gain, eps):
    y = functional.rms_norm(x, x.shape[1:], gain, eps) if x.shape[1] else x
    return y, y.abs().unflatten(1, (-1, 16)).amax(2) if x.numel() else x.new_empty(len(x), x.shape[1] // 16)


@spec("""
op gated_group_norm(x: T[..., G*C], gate: T[..., G*C], weight gain: T[G*C], eps: f32 = 1e-5) -> y: T[..., G*C]
where T in {bf16, f32}, C == 24:
    y = rmsnorm(x * silu(gate), gain, eps, over=C)
""")
def gated_group_norm(x, gate, gain, eps):
    parts = (x * functional.silu(gate)).unflatten(-1, (x.shape[-1] // 24, 24))
    return (parts / (parts.square().mean(-1, keepdim=True) + eps).sqrt()).flatten(-2) * gain


@spec("""
op column_norm(x: T[N, M], weight gain: T[N], eps: f32 = 1e-6) -> y: T[N, M]
where T in {f16, f32}:
    y = rmsnorm(x, gain, eps, over=N)
""")
def column_norm(x, gain, eps):
    return x / (x.square().mean(0) + eps).sqrt() * gain[:, None]


@spec("""
fn unit(x, over):
    return x * rsqrt(sum(x * x, over) + 1e-6)

op unit_queries_and_keys(q: T[B, S, H, D], k: T[B, S, K, D], temperature: f32[H])
  -> (a: T[B, S, H, D], b: T[B, S, K, D])
where T in {f16, bf16, f32}:
    a = unit(q, over=D) * temperature
    b = unit(k, over=D)
""")
def unit_queries_and_keys(q, k, temperature):
    a, b = (x / (x.square().sum(-1, keepdim=True) + 1e-6).sqrt() for x in (q, k))
    return a * temperature[:, None], b
