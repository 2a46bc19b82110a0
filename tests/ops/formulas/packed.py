"""Numbers of four bits, two to a byte: formulas take and give the bytes."""

from __future__ import annotations

import torch

from .table import rounded, spec


def unpacked(byte, signed=True):
    """The first number of a byte is in its low digits."""
    numbers = torch.stack((byte % 16, byte // 16), -1).flatten(-2)
    return torch.where(numbers > 7, numbers - 16, numbers) if signed else numbers


def packed(x, low=-8, high=7):
    """The bytes of whole numbers, which saturate."""
    numbers = x.round().nan_to_num(0, high, low).clamp(low, high).long() % 16
    return numbers[..., ::2] + 16 * numbers[..., 1::2]


@spec("""
op unpack_rows(w: i4[..., N], scale: f16[...]) -> y: f16[..., N]:
    y = dequantize(w, scale)
""")
def unpack_rows(w, scale):
    return unpacked(w) * scale[..., None]


@spec("""
op unpack_groups(w: u4[M, G*L], scale: T[M, G], zero: u4[M, G] = 8) -> y: T[M, G*L]
where L == 16, T in {f16, bf16}:
    y = (w - zero) * scale
""")
def unpack_groups(w, scale, zero):
    zero = 8 if zero is None else unpacked(zero, signed=False)[..., None]
    groups = unpacked(w, signed=False).unflatten(-1, (-1, 16)) if w.numel() else w.new_zeros(*scale.shape, 16)
    return ((groups - zero) * scale[..., None]).flatten(-2)


@spec("""
op pack_groups(x: T[M, G*L]) -> (q: i4[M, G*L], scale: f32[M, G])
where L == 16, T in {f16, bf16, f32}:
    q, scale = quantize(x, i4, over=L)
""")
def pack_groups(x):
    groups = x.reshape(len(x), x.shape[1] // 16, 16)
    scale = groups.abs().amax(2).clamp_min(2.0**-96) / 7
    return packed((groups / scale[..., None]).flatten(1)), scale


@spec("""
op pack_columns(x: T[M, N]) -> (q: u4[N, M], scale: f32[N], zero: i32[N])
where T in {f16, bf16, f32}, M > 0:
    q, scale, z = quantize_asymmetric(x, u4, over=M)
    zero = z
""")
def pack_columns(x):
    low, high = x.amin(0).clamp(max=0), x.amax(0).clamp(min=0)
    scale = (high - low).clamp_min(2.0**-96) / 15
    zero = (-low / scale).round().clamp(0, 15)
    return packed(((x / scale).round() + zero).T, 0, 15), scale, zero


@spec("""
op reduce_packed(w: i4[M, N], x: T[N]) -> (dot: f32[M], top: i32[M], least: i64[N], same: i4[M, N])
where T in {f16, bf16, f32}, M > 0, N > 0:
    dot = sum(w * x, over=N)
    top = amax(w, over=N)
    least = amin(w, over=M)
    same = w
""")
def reduce_packed(w, x):
    numbers = unpacked(w)
    return (numbers * x).sum(1), numbers.amax(1), numbers.amin(0), w


@spec("""
op look_up_packed(w: i4[V, N], rows: i32[M], columns: i64[M]) -> (y: bf16[M, N], z: i32[M], copy: i4[M, N]):
    y = w[rows] * 0.5
    z = w[rows, columns]
    copy = w[rows]
""")
def look_up_packed(w, rows, columns):
    numbers = unpacked(w)
    there = (rows >= 0) & (rows < len(w))
    inside = there & (columns >= 0) & (columns < numbers.shape[1])
    picked = numbers.new_zeros(len(rows), numbers.shape[1])
    picked[there] = numbers[rows[there]]
    single = torch.zeros_like(rows)
    single[inside] = numbers[rows[inside], columns[inside]]
    return picked * 0.5, single, packed(picked.double())


@spec("""
op halves_packed(w: u4[..., N], bias: i8[...]) -> (y: f16[..., N], q: u4[..., N])
where N % 4 == 0:
    a, b = halves(w, over=N)
    turned = join(a + b, a - b + bias, over=N)
    y = turned
    q = turned
""")
def halves_packed(w, bias):
    a, b = unpacked(w, signed=False).chunk(2, -1)
    turned = torch.cat((a + b, a - b + bias[..., None]), -1)
    return turned, packed(turned.double(), 0, 15)


@spec("""
op store_packed(mut cache: i4[K, N], slots: i32[M], x: T[M, N], w: i8[M]) -> (flat: i4[M, N])
where T in {f16, bf16, f32}:
    flat = w
    cache[slots] = cast(x, i4)
""")
def store_packed(cache, slots, x, w):
    cache = cache.clone()
    for row, slot in enumerate(slots.tolist()):
        if 0 <= slot < len(cache):
            cache[slot] = packed(x[row])
    return packed(w[:, None].double().expand(len(w), x.shape[1])), cache


@spec("""
op matmul_packed(x: T[M, K], w: i4[N, K]) -> y: T[M, N]
where T in {f16, bf16}:
    y = dot(x, w, over=K, precision=T)
""")
def matmul_packed(x, w):
    return x @ unpacked(w).double().T


@spec("""
op matmul_packed_groups(x: T[M, G*L], w: u4[N, G*L], scale: T[N, G], zero: u4[N, G] = 8) -> y: T[M, N]
where T in {f16, bf16}, L == 16:
    y = dot(x, cast((w - zero) * scale, T), over=(G, L))
""")
def matmul_packed_groups(x, w, scale, zero, T):
    return x @ rounded(unpack_groups(w, scale, zero), T).T


@spec("""
op matmul_packed_columns(x: T[M, K], w: i4[K, N], scale: T[N]) -> y: T[M, N]
where T in {f16, bf16}:
    y = dot(x, w, over=K, precision=T) * scale
""")
def matmul_packed_columns(x, w, scale):
    return x @ unpacked(w).double() * scale
