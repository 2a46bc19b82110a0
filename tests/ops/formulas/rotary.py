"""Rotary embedding in the forms that models use."""

from __future__ import annotations

import torch

from .table import spec


def turned(x, cos, sin):
    """Complex multiplication: the pairs of `x` are (i, i + D/2)."""
    z = torch.complex(*x.chunk(2, -1)) * torch.complex(cos, sin)
    return torch.cat((z.real, z.imag), -1)


def turned_pairs(x, cos, sin):
    """Complex multiplication: the pairs of `x` are (2i, 2i + 1)."""
    z = torch.complex(x[..., 0::2], x[..., 1::2]) * torch.complex(cos, sin)
    return torch.view_as_real(z).flatten(-2)


def looked_up(table, at):
    """Rows of a table, NaN for one that is not there."""
    padded = torch.cat((table, table.new_full((1, *table.shape[1:]), torch.nan)))
    return padded[at.where((at >= 0) & (at < len(table)), len(table))]


@spec("""
op rope_at(x: T[B, S, H, D], freqs: F[P, D], at: i32[B, S]) -> y: T[B, S, H, D]
where T in {f16, bf16, f32}, F in {f32, bf16}, D % 2 == 0:
    cos, sin = pairs(freqs[at], over=D)
    y = rope_interleaved(x, cos, sin, over=D)
""")
def rope_at(x, freqs, at):
    rows = looked_up(freqs, at)[:, :, None]
    return turned_pairs(x, rows[..., 0::2], rows[..., 1::2])


@spec("""
op rope_heads_first(x: T[B, H, S, D], cos: f32[P, D/2], sin: f32[P, D/2], offset: i32 = 0) -> y: T[B, H, S, D]
where T in {f16, bf16, f32}:
    y = rope_half(x, cos[index(S) + offset], sin[index(S) + offset], over=D)
""")
def rope_heads_first(x, cos, sin, offset):
    at = torch.arange(x.shape[2]) + offset
    return turned(x, looked_up(cos, at), looked_up(sin, at))


@spec("""
op partial_rope(x: T[B, S, H, R + P], cos: T[S, R], sin: T[S, R]) -> y: T[B, S, H, R + P]
where T in {f16, bf16, f32}, R % 2 == 0:
    rotated, rest = split(x, R, P)
    y = concat(rope(rotated, cos, sin, over=R), rest)
""")
def partial_rope(x, cos, sin):
    size = cos.shape[1]
    a, b = x[..., :size].chunk(2, -1)
    turn = torch.cat((-b, a), -1)
    return torch.cat((x[..., :size] * cos[:, None] + turn * sin[:, None], x[..., size:]), -1)


@spec("""
op axial_rope(x: T[B, S, H, Y + X], cos_y: f32[S, Y/2], sin_y: f32[S, Y/2], cos_x: f32[S, X/2], sin_x: f32[S, X/2])
  -> y: T[B, S, H, Y + X]
where T in {bf16, f32}, Y % 2 == 0, X % 2 == 0:
    rows, columns = split(x, Y, X)
    y = concat(rope_half(rows, cos_y, sin_y, over=Y), rope_half(columns, cos_x, sin_x, over=X))
""")
def axial_rope(x, cos_y, sin_y, cos_x, sin_x):
    rows, columns = x.split((2 * cos_y.shape[1], 2 * cos_x.shape[1]), -1)
    tables = [table[:, None] for table in (cos_y, sin_y, cos_x, sin_x)]
    return torch.cat((turned(rows, *tables[:2]), turned(columns, *tables[2:])), -1)


@spec("""
op packed_qk_norm_rope(qkv: T[M, Q*D + K*D + K*D], weight q_gain: T[D], weight k_gain: T[D], cos: f32[M, D/2],
                       sin: f32[M, D/2], kv_heads: dim(K), eps: f32 = 1e-6)
  -> (q: T[M, Q, D], k: T[M, K, D], v: T[M, K, D])
where T in {f16, bf16, f32}, D % 2 == 0:
    q0, k0, v = split(qkv, Q*D, K*D, K*D)
    q = rope_half(rmsnorm(q0, q_gain, eps, over=D), cos, sin, over=D)
    k = rope_half(rmsnorm(k0, k_gain, eps, over=D), cos, sin, over=D)
""")
def packed_qk_norm_rope(qkv, q_gain, k_gain, cos, sin, kv_heads, eps):
    size = q_gain.shape[0]
    rows = qkv.reshape(len(qkv), qkv.shape[1] // size if size else 0, size)
    heads = rows.shape[1] - 2 * kv_heads
    normed = rows / (rows.square().mean(-1, keepdim=True) + eps).sqrt()
    q, k = normed[:, :heads] * q_gain, normed[:, heads : heads + kv_heads] * k_gain
    return turned(q, cos[:, None], sin[:, None]), turned(k, cos[:, None], sin[:, None]), rows[:, heads + kv_heads :]


@spec("""
op rope_of_frequencies(x: T[B, S, H, D], inverse: f32[D/2], at: i32[B, S]) -> y: T[B, S, H, D]
where T in {f16, bf16, f32}:
    angle = at * inverse
    y = rope_half(x, cos(angle), sin(angle), over=D)
""")
def rope_of_frequencies(x, inverse, at):
    angle = (at[..., None] * inverse)[:, :, None]
    return turned(x, angle.cos(), angle.sin())


@spec("""
op rope_backward(grad: T[B, S, H, D], cos: f32[S, D], sin: f32[S, D]) -> dx: T[B, S, H, D]
where T in {f16, bf16, f32}, D % 2 == 0:
    a, b = halves(grad, over=D)
    ca, cb = halves(cos, over=D)
    sa, sb = halves(sin, over=D)
    dx = join(a * ca + b * sb, b * cb - a * sa, over=D)
""")
def rope_backward(grad, cos, sin):
    x = torch.zeros_like(grad, requires_grad=True)
    a, b = x.chunk(2, -1)
    y = x * cos[:, None] + torch.cat((-b, a), -1) * sin[:, None]
    return torch.autograd.grad(y, x, grad)[0]


@spec("""
op two_tables(x: T[B, S, D], local: f32[P, D], far: f32[P, D], at: i64[S] = index(S), kind: bool = false)
  -> y: T[B, S, D]
where T in {f16, f32}:
    y = x + where(kind, local[at], far[at])
""")
def two_tables(x, local, far, at, kind):
    at = torch.arange(x.shape[1]) if at is None else at
    return x + looked_up(local if kind else far, at)


@spec("""
op nope_and_rope(q: T[N, H, R], kv: T[N, L + R], freqs: F[P, R], at: i32[N], weight gain: T[L], eps: f32 = 1e-6)
  -> (rotated: T[N, H, R], row: T[N, L + R])
where T in {f16, bf16, f32}, F in {f32, bf16}, R % 2 == 0:
    cos, sin = pairs(freqs[at], over=R)
    latent, key = split(kv, L, R)
    rotated = rope_interleaved(q, cos, sin, over=R)
    row = concat(rmsnorm(latent, gain, eps, over=L), rope_interleaved(key, cos, sin, over=R))
""")
def nope_and_rope(q, kv, freqs, at, gain, eps):
    rows = looked_up(freqs, at)
    cos, sin = rows[:, 0::2], rows[:, 1::2]
    latent, key = kv.split((gain.shape[0], q.shape[-1]), -1)
    normed = latent / (latent.square().mean(-1, keepdim=True) + eps).sqrt() * gain
    return turned_pairs(q, cos[:, None], sin[:, None]), torch.cat((normed, turned_pairs(key, cos, sin)), -1)
