"""Contractions: projections, what is fused before and behind them, several of them, batches, two storage types."""

from __future__ import annotations

import torch
from torch.nn import functional

from .table import rounded, spec


@spec("""
op linear(x: T[M, K], weight w: T[N, K], weight bias: T[N] = 0) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = dot(x, w, over=K) + bias
""")
def linear(x, w, bias):
    return functional.linear(x, w, bias)


def in_tf32(value):
    """Without the last 13 bits of the fraction of f32."""
    return (value.float().view(torch.int32) & -(2**13)).view(torch.float32).double()


@spec("""
op linear_in_tf32(x: T[M, K], weight w: T[N, K], weight bias: T[N] = 0) -> y: T[M, N]
where T in {bf16, f32}:
    y = dot(x, w, over=K, precision=tf32) + bias
""")
def linear_in_tf32(x, w, bias):
    return functional.linear(in_tf32(x), in_tf32(w), bias)


@spec("""
op normed_in_tf32(x: T[..., K], gain: T[K], weight w: f8e4m3[N, K], scale: f32[N], eps: f32 = 1e-6) -> y: T[..., N]
where T in {f16, f32}:
    y = dot(rmsnorm(x, gain, eps, over=K), cast(w, f32) * scale, over=K, precision=tf32)
""")
def normed_in_tf32(x, gain, w, scale, eps):
    normed = functional.rms_norm(x, gain.shape, gain, eps) if gain.numel() else x
    return in_tf32(normed) @ in_tf32(w * scale[:, None]).mT


@spec("""
op gated_in_tf32(x: f32[M, K], weight gate: f32[N, K], weight up: f32[N, K]) -> y: f32[M, N]:
    y = silu(dot(x, gate, over=K, precision=tf32)) * dot(x, up, over=K)
""")
def gated_in_tf32(x, gate, up):
    return functional.silu(in_tf32(x) @ in_tf32(gate).mT) * (x @ up.mT)


@spec("""
op rmsnorm_linear(x: T[..., K], weight gain: T[K], weight proj: T[N, K], eps: f32 = 1e-6) -> y: T[..., N]
where T in {f16, bf16}:
    y = dot(rmsnorm(x, gain, eps, over=K), proj, over=K)
""")
def rmsnorm_linear(x, gain, proj, eps):
    return functional.rms_norm(x, gain.shape, gain, eps) @ proj.mT if gain.numel() else x @ proj.mT


@spec("""
op rounded_norm_linear(x: bf16[M, K], gain: bf16[K], w: bf16[N, K], eps: f32 = 1e-6) -> y: bf16[M, N]:
    y = dot(cast(rmsnorm(x, gain, eps, over=K), bf16), w, over=K)
""")
def rounded_norm_linear(x, gain, w, eps):
    normed = x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * gain
    return rounded(normed, torch.bfloat16) @ w.mT


@spec("""
op gated_mlp(
    x: T[..., K], weight gate_weight: T[N, K], weight up_weight: T[N, K], activation: {silu, gelu, relu} = silu
) -> y: T[..., N]
where T in {f16, bf16, f32}:
    gate = dot(x, gate_weight, over=K)
    up = dot(x, up_weight, over=K)
    y = activation(gate) * up
""")
def gated_mlp(x, gate_weight, up_weight, activation):
    return getattr(functional, activation)(x @ gate_weight.mT) * (x @ up_weight.mT)


@spec("""
op projected_swiglu(x: T[M, K], weight w: T[F, K]) -> y: T[M, F/2]
where T in {f16, bf16}, F % 2 == 0:
    gate, up = halves(dot(x, w, over=K), over=F)
    y = silu(gate) * up
""")
def projected_swiglu(x, w):
    gate, up = (x @ w.mT).chunk(2, -1)
    return functional.silu(gate) * up


@spec("""
op batched(a: T[B, M, K], b: T[B, K, N]) -> y: T[B, M, N]
where T in {f16, bf16, f32}:
    y = dot(a, b, over=K)
""")
def batched(a, b):
    return a @ b


@spec("""
op attention_scores(q: T[B, Sq, Hk*R, D], k: T[B, Sk, Hk, D], scale: f32 = 0.125) -> s: f32[B, Hk*R, Sq, Sk]
where T in {f16, bf16}, R == 2:
    s = where(index(Sk) <= index(Sq), dot(q, k, over=D) * scale, -inf)
""")
def attention_scores(q, k, scale):
    scores = torch.einsum("bshd,bthd->bhst", q, k.repeat_interleave(2, 2)) * scale
    later = torch.arange(k.shape[1], device=q.device) > torch.arange(q.shape[1], device=q.device)[:, None]
    return scores.masked_fill(later, float("-inf"))


@spec("""
op out_projection(x: T[B, S, H, D], weight w: T[N, H*D], residual: T[B, S, N]) -> (y: T[B, S, N], raw: f32[B, S, N])
where T in {f16, bf16}:
    raw = dot(x, w, over=(H, D))
    y = raw + residual
""")
def out_projection(x, w, residual):
    raw = x.flatten(2) @ w.mT
    return raw + residual, raw


@spec("""
op project_and_rotate(
    x: T[B, S, K], weight gain: T[K], weight w: T[H*D, K], cos: T[S, D], sin: T[S, D], eps: f32 = 1e-6
) -> q: T[B, S, H, D]
where T in {f16, bf16}, D % 2 == 0:
    q = rope(dot(rmsnorm(x, gain, eps, over=K), w, over=K), cos, sin, over=D)
""")
def project_and_rotate(x, gain, w, cos, sin, eps):
    normed = x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * gain if x.shape[-1] else x
    heads = w.shape[0] // cos.shape[1] if cos.shape[1] else 0
    q = (normed @ w.mT).reshape(*x.shape[:2], heads, cos.shape[1])
    a, b = q.chunk(2, -1)
    return q * cos[:, None] + torch.cat((-b, a), -1) * sin[:, None]


@spec("""
op qkv(x: T[M, K], weight wq: T[Nq, K], weight wk: T[Nk, K], weight wv: T[Nk, K])
  -> (q: T[M, Nq], k: T[M, Nk], v: T[M, Nk])
where T in {f16, bf16}:
    q = dot(x, wq, over=K)
    k = dot(x, wk, over=K)
    v = dot(x, wv, over=K)
""")
def qkv(x, wq, wk, wv):
    return x @ wq.mT, x @ wk.mT, x @ wv.mT


@spec("""
op fp8_linear(x: T[M, K], weight w: T[N, K]) -> y: T[M, N]
where T in {f16, bf16}:
    xq, xs = quantize(x, f8e4m3, over=K)
    wq, ws = quantize(w, f8e4m3, over=K)
    y = dot(xq, wq, over=K) * xs * ws
""")
def fp8_linear(x, w):
    xs, ws = (
        (t.abs().amax(1, keepdim=True) if t.shape[1] else t.sum(1, keepdim=True)).clamp_min(2.0**-96) / 448
        for t in (x, w)
    )
    product = rounded(x / xs, torch.float8_e4m3fn) @ rounded(w / ws, torch.float8_e4m3fn).mT
    return product * xs * ws.mT


@spec("""
op mixed(x: f32[M, K], w: bf16[N, K]) -> y: f32[M, N]:
    y = dot(x, w, over=K)
""")
def mixed(x, w):
    return x @ w.mT


@spec("""
op matrix_vector(w: T[N, K], x: T[K], b: f32[N]) -> y: f32[N]
where T in {f16, bf16, f32}:
    y = dot(w, x, over=K) + b
""")
def matrix_vector(w, x, b):
    return w @ x + b


@spec("""
op projected_norm(x: T[M, K], w: T[N, K], gain: T[N], eps: f32 = 1e-6) -> y: T[M, N]
where T in {f16, bf16}:
    y = rmsnorm(dot(x, w, over=K), gain, eps, over=N)
""")
def projected_norm(x, w, gain, eps):
    z = x @ w.mT
    return z / (z.square().mean(-1, keepdim=True) + eps).sqrt() * gain if z.shape[-1] else z
