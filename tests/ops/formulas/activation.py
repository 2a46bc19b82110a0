"""Activations, gates and what stands around them."""

from __future__ import annotations

import torch
from torch.nn import functional

from .table import rounded, spec


@spec("""
op packed_swiglu(x: T[..., 2*F]) -> y: T[..., F]
where T in {f16, bf16, f32}:
    y = sum(where(index(2) == 0, x * sigmoid(x), 0), over=2) * sum(where(index(2) == 1, x, 0), over=2)
""")
def packed_swiglu(x):
    gate, up = x.chunk(2, -1)
    return functional.silu(gate) * up


@spec("""
op split_swiglu(x: T[..., F + F]) -> y: T[..., F]
where T in {f16, bf16, f32}:
    gate, up = split(x, F, F)
    y = silu(gate) * up
""")
def split_swiglu(x):
    gate, up = x.chunk(2, -1)
    return functional.silu(gate) * up


@spec("""
op halved_geglu(x: T[..., N], bias: T[N] = 0, act: {gelu, gelu_tanh} = gelu) -> y: T[..., N/2]
where T in {f16, bf16, f32}, N % 2 == 0:
    up, gate = halves(x + bias, over=N)
    y = act(gate) * up
""")
def halved_geglu(x, bias, act):
    up, gate = (x if bias is None else x + bias).chunk(2, -1)
    return functional.gelu(gate, approximate="none" if act == "gelu" else "tanh") * up


@spec("""
op paired_swiglu(x: T[M, N], alpha: f32 = 1.702, limit: f32 = 7) -> y: T[M, N/2]
where T in {bf16, f32}, N % 2 == 0:
    gate, up = pairs(x, over=N)
    g = minimum(gate, limit)
    y = (clamp(up, -limit, limit) + 1) * g * sigmoid(alpha * g)
""")
def paired_swiglu(x, alpha, limit):
    gate, up = x[:, 0::2].clamp_max(limit), x[:, 1::2].clamp(-limit, limit)
    return (up + 1) * gate * torch.sigmoid(alpha * gate)


@spec("""
op squared_relu(x: T[..., N]) -> y: T[..., N]
where T in {f16, bf16, f32, f64}:
    y = relu(x) ** 2
""")
def squared_relu(x):
    return x.relu().square()


@spec("""
fn mish(x):
    return x * tanh(softplus(x))

fn quick_gelu(x):
    return x * sigmoid(1.702 * x)

fn elu(x):
    return where(x > 0, x, exp(minimum(x, 0)) - 1)

fn hard_swish(x):
    return x * clamp(x + 3, 0, 6) / 6

op biased_activation(x: T[..., N], bias: T[N], residual: T[..., N] = 0,
                     act: {mish, quick_gelu, elu, hard_swish, tanh} = mish, scale: f32 = 1) -> y: T[..., N]
where T in {f16, bf16, f32}:
    y = act(x + bias) * scale + residual
""")
def biased_activation(x, bias, residual, act, scale):
    functions = {
        "mish": functional.mish,
        "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
        "elu": functional.elu,
        "hard_swish": functional.hardswish,
        "tanh": torch.tanh,
    }
    return functions[act](x + bias) * scale + (0 if residual is None else residual)


@spec("""
op decay_gate(a: T[M, H], b: T[M, H], weight log_rate: f32[H], weight dt_bias: f32[H])
  -> (decay: f32[M, H], beta: T[M, H])
where T in {bf16, f32}:
    decay = -exp(log_rate) * softplus(a + dt_bias)
    beta = sigmoid(b)
""")
def decay_gate(a, b, log_rate, dt_bias):
    return -log_rate.exp() * torch.logaddexp(a + dt_bias, torch.zeros_like(a)), b.sigmoid()


@spec("""
op gated_residual(x: T[B, S, D], gate: T[B, D], residual: T[B, S, D]) -> (y: T[B, S, D], rounded_sum: f32[B, S, D])
where T in {f16, bf16}:
    product = cast(x * gate, T)
    y = cast(product + residual, T)
    rounded_sum = y
""")
def gated_residual(x, gate, residual, T):
    y = rounded(rounded(x * gate[:, None], T) + residual, T)
    return y, y


@spec("""
op clamped(x: T[..., N], low: f32, high: f32) -> (y: T[..., N], inside: bool[..., N], least: T[...], most: T[...])
where T in {f16, bf16, f32}:
    y = clamp(x, low, high)
    inside = low <= x and x <= high
    least = amin(y, over=N)
    most = amax(y, over=N)
""")
def clamped(x, low, high):
    y = torch.minimum(x.clamp_min(low), torch.tensor(high, dtype=x.dtype))
    if not x.shape[-1]:
        ends = (torch.full(x.shape[:-1], end) for end in (torch.inf, -torch.inf))
        return y, y.bool(), *ends
    return y, (low <= x) & (x <= high), y.amin(-1), y.amax(-1)


@spec("""
op powers(x: T[N], y: T[N]) -> (a: f32[N], b: f32[N], c: f32[N], d: i32[N])
where T in {f16, f32}:
    a = abs(x) ** y
    b = x ** -2
    c = x % 3 + x // 3
    d = index(N) * index(N) % 7
""")
def powers(x, y):
    return x.abs() ** y, 1 / x**2, x.remainder(3) + (x / 3).floor(), torch.arange(len(x)) ** 2 % 7
