"""What comes apart and together: axes, shapes, layouts, look-ups, reductions over any axes."""

from __future__ import annotations

import torch

from .rotary import looked_up
from .table import spec


@spec("""
op concatenate(a: T[M, P], b: U[M, Q], bias: f32[P + Q]) -> y: T[M, P + Q]
where T in {f16, bf16, f32}, U in {f16, f32}:
    y = concat(a, b) + bias
""")
def concatenate(a, b, bias):
    return torch.cat((a, b), 1) + bias


@spec("""
op unpack_heads(qkv: T[B, S, H*D + K*D + K*D], heads: dim(H), kv_heads: dim(K), width: dim(D))
  -> (q: T[B, H, S, D], k: T[B, K, S, D], v: T[B, K, D, S])
where T in {f16, f32}:
    q, k, v = split(qkv, H*D, K*D, K*D)
""")
def unpack_heads(qkv, heads, kv_heads, width):
    q, k, v = qkv.split((heads * width, kv_heads * width, kv_heads * width), -1)
    cut = lambda x, count: x.reshape(*x.shape[:2], count, width)  # noqa: E731
    return cut(q, heads).transpose(1, 2), cut(k, kv_heads).transpose(1, 2), cut(v, kv_heads).permute(0, 2, 3, 1)


@spec("""
op transposed_norm(x: T[M, N], eps: f32 = 1e-6) -> (y: T[N, M], peak: f32[N])
where T in {f16, f32}:
    y = x * rsqrt(mean(x * x, over=N) + eps)
    peak = amax(abs(x), over=M)
""")
def transposed_norm(x, eps):
    peak = x.abs().amax(0) if len(x) else torch.full(x.shape[1:], -torch.inf)
    return (x / (x.square().mean(1, keepdim=True) + eps).sqrt()).T, peak


@spec("""
op outer_sum(a: T[M], b: T[N], scale: f32[]) -> (y: T[M, N], t: T[N, M], s: f32[])
where T in {f16, f32}:
    y = (a + b) * scale
    t = a - b
    s = sum(a, over=M) * sum(b, over=N)
""")
def outer_sum(a, b, scale):
    return (a[:, None] + b) * scale, (a[:, None] - b).T, a.sum() * b.sum()


@spec("""
op pooled(x: T[B, S, D], mask: bool[B, S]) -> (average: T[B, D], peak: f32[B, D], count: i32[B])
where T in {f16, bf16, f32}:
    count = sum(where(mask, 1, 0), over=S)
    average = sum(where(mask, x, 0), over=S) / maximum(count, 1)
    peak = amax(where(mask, x, -inf), over=S)
""")
def pooled(x, mask):
    kept, count = x.masked_fill(~mask[..., None], 0), mask.sum(1)
    lost = x.masked_fill(~mask[..., None], -torch.inf)
    peak = lost.amax(1) if x.shape[1] else torch.full((x.shape[0], x.shape[2]), -torch.inf)
    return kept.sum(1) / count.clamp_min(1)[:, None], peak, count


@spec("""
op window_means(x: T[B, S*L, D], window: dim(L)) -> (y: T[B, S, D], most: T[B, S])
where T in {f16, f32}:
    y = mean(x, over=L)
    most = amax(x, over=(L, D))
""")
def window_means(x, window):
    parts = x.reshape(x.shape[0], x.shape[1] // window if window else 0, window, x.shape[2])
    if not parts.numel():
        filler = torch.full(parts.shape[:2], -torch.inf)
        return torch.full((*parts.shape[:2], x.shape[2]), torch.nan), filler
    return parts.mean(2), parts.amax((2, 3))


@spec("""
op combine_experts(x: T[M, K, D], share: f32[M, K], shared: T[M, D] = 0) -> y: T[M, D]
where T in {f16, bf16, f32}:
    y = sum(x * share, over=K) + shared
""")
def combine_experts(x, share, shared):
    return torch.einsum("mkd,mk->md", x, share) + (0 if shared is None else shared)


@spec("""
op embed(ids: i64[B, S], table: T[V, D], places: T[P, D], weight: T[D], bias: T[D], eps: f32 = 1e-5)
  -> (y: T[B, S, D], raw: T[B, S, D])
where T in {f16, bf16, f32}:
    raw = table[ids] * sqrt(D) + places[index(S)]
    y = layernorm(raw, weight, bias, eps, over=D)
""")
def embed(ids, table, places, weight, bias, eps):
    raw = looked_up(table, ids) * table.shape[1] ** 0.5 + looked_up(places, torch.arange(ids.shape[1]))
    centred = raw - raw.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt() * weight + bias, raw


@spec("""
op token_shift(x: T[B, S, D], mix: T[D]) -> y: T[B, S, D]
where T in {f16, bf16, f32}:
    before = where(index(S) == 0, 0, x[index(B), index(S) - 1])
    y = x + (before - x) * mix
""")
def token_shift(x, mix):
    return x.lerp(torch.nn.functional.pad(x, (0, 0, 1, 0))[:, :-1], mix.expand(x.shape)) if x.shape[1] else x


@spec("""
op paged_read(cache: C[Pages, Page, D], block_table: i32[B, P], at: i32[B, Q], scale: f32 = 1) -> y: f32[B, Q, D]
where C in {f16, f8e4m3}:
    y = cache[block_table[index(B), at // Page], at % Page] * scale
""")
def paged_read(cache, block_table, at, scale):
    pages, page, size = cache.shape
    y = torch.full((*at.shape, size), torch.nan, dtype=torch.float64)
    for b, q in torch.cartesian_prod(*map(torch.arange, at.shape)) if at.numel() else ():
        slot = int(at[b, q]) // page if page else 0
        number = int(block_table[b, slot]) if 0 <= slot < block_table.shape[1] else 0
        if page and 0 <= number < pages:
            y[b, q] = cache[number, int(at[b, q]) % page] * scale
    return y


@spec("""
op butterfly(x: T[..., N]) -> y: T[..., N]
where T in {f16, bf16, f32}, N % 4 == 0:
    a, b = halves(x, over=N)
    z = join(a + b, a - b, over=N)
    c, d = pairs(z, over=N)
    y = interleave(c + d, c - d, over=N) * 0.5
""")
def butterfly(x):
    a, b = x.chunk(2, -1)
    z = torch.cat((a + b, a - b), -1)
    c, d = z[..., 0::2], z[..., 1::2]
    return torch.stack((c + d, c - d), -1).flatten(-2) * 0.5


@spec("""
op every_extreme(x: T[A, B, C]) -> (a: T[B], b: T[A, C], c: f32[C], d: T[A, B, C])
where T in {f16, f32}:
    a = amax(x, over=(A, C))
    b = amin(x, over=B)
    c = mean(x, over=(A, B))
    d = x - amax(x, over=C) + amin(x, over=A)
""")
def every_extreme(x):
    most = lambda x, dims: -least(-x, dims)  # noqa: E731
    return most(x, (0, 2)), least(x, (1,)), x.mean((0, 1)), x - most(x, (2,))[..., None] + least(x, (0,))


def least(x, dims):
    """The smallest along `dims`, inf of none."""
    edge = torch.full([1 if dim in dims else size for dim, size in enumerate(x.shape)], torch.inf, dtype=x.dtype)
    for dim in dims:
        x = torch.cat((x, edge.expand(*x.shape[:dim], 1, *x.shape[dim + 1 :])), dim).amin(dim, keepdim=True)
    return x.squeeze(dims)


@spec("""
op lead_and_tail(x: T[..., M, N], row: T[M], every: T[...] = 0) -> (y: T[..., N, M], z: T[..., N], top: T[M, N])
where T in {bf16, f32}:
    y = x * row + every
    z = sum(x * row, over=M)
    top = amax(x, over=...)
""")
def lead_and_tail(x, row, every):
    scaled = x * row[:, None]
    y = scaled if every is None else scaled + every[..., None, None]
    lead = x.reshape(-1, *x.shape[-2:]) if x.numel() else x.new_empty(0, *x.shape[-2:])
    return y.transpose(-1, -2), scaled.sum(-2), least(-lead, (0,)).neg()


@spec("""
op first_positive(x: T[M, N]) -> (first: i64[M], last: i32[M], any_nan: bool[M], share: f32[M])
where T in {f16, f32}:
    first = amin(where(x > 0, index(N), N), over=N)
    last = amax(where(x > 0, index(N), -1), over=N)
    any_nan = amax(where(x == x, 0, 1), over=N) > 0
    share = mean(where(x > 0, 1.0, 0.0), over=N)
""")
def first_positive(x):
    size = x.shape[1]
    if not size:
        limits = torch.iinfo(torch.int64)
        ends = torch.full((len(x),), limits.max), torch.full((len(x),), limits.min)
        return *ends, torch.zeros(len(x), dtype=torch.bool), torch.full((len(x),), torch.nan)
    at = torch.arange(size).expand(x.shape)
    return at.where(x > 0, size).amin(1), at.where(x > 0, -1).amax(1), x.isnan().any(1), (x > 0).double().mean(1)


@spec("""
op three_parts(x: T[M, A*B + 2 + A], gain: T[B], rows: dim(A)) -> (y: T[M, A, B], z: T[M, 2], s: f32[M])
where T in {f16, f32}:
    grid, two, last = split(x, A*B, 2, A)
    y = grid * gain + last
    z = two * mean(grid, over=(A, B))
    s = sum(last, over=A) + amax(two, over=2)
""")
def three_parts(x, gain, rows):
    grid, two, last = x.split((rows * len(gain), 2, rows), 1)
    grid = grid.reshape(len(x), rows, len(gain))
    average = grid.mean((1, 2))[:, None] if grid.numel() else torch.full((len(x), 1), torch.nan)
    return grid * gain + last[..., None], two * average, last.sum(1) + two.amax(1)


@spec("""
op pairwise_distances(x: T[S, D]) -> y: f32[S, U]
where T in {f16, f32}, U == S:
    difference = x - rename(x, S -> U)
    y = sqrt(sum(difference * difference, over=D))
""")
def pairwise_distances(x):
    return (x[:, None] - x).square().sum(2).sqrt()


@spec("""
op take_along(x: T[M, N], at: i32[M, K]) -> y: T[M, K]
where T in {f16, f32}:
    y = x[index(M), at]
""")
def take_along(x, at):
    there = (at >= 0) & (at < x.shape[1])
    found = x.gather(1, at.where(there, 0)) if x.shape[1] else torch.zeros(at.shape, dtype=x.dtype)
    return found.where(there, torch.nan)
