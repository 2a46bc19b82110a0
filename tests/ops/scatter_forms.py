"""Writes into `mut` tensors in every form the language has, each a spec of its own, by what it is about."""

from __future__ import annotations

SCATTERS = {
    "rows": """
op rows(mut cache: T[P, D], slot: i32[L], x: T[L, D]) -> y: T[L, D]
where T in {f16, f32}:
    y = x * 2
    cache[slot] = y
""",
    "single elements": """
op elements(mut cache: T[P], slot: i32[L], x: T[L]) -> y: T[L]
where T in {f16, f32}:
    y = x * 2
    cache[slot] = y
""",
    "rows with no other output": """
op alone(mut cache: f32[P, D], slot: i64[L], x: f32[L, D]):
    cache[slot] = x + 1
""",
    "two indices": """
op paged(mut cache: T[P, Page, D], at: i32[L], place: i32[L], x: T[L, D]) -> y: f32[L]
where T in {bf16, f32}:
    y = sum(x, over=D)
    cache[at, place] = x
""",
    "indices over two axes": """
op crossed(mut cache: T[P, Q], i: i32[A], j: i32[B], x: T[A, B]) -> y: T[A, B]
where T in {f32}:
    y = -x
    cache[i, j] = exp(x)
""",
    "one index over two axes": """
op boxes(mut cache: T[P, D], slot: i32[A, B], x: T[A, B, D]) -> y: f32[A]
where T in {f32}:
    y = amax(x, over=(B, D))
    cache[slot] = x
""",
    "computed indices": """
op computed(mut cache: T[P, Page, D], slot: i32[L], x: T[L, D], shift: i32 = 1)
where T in {f16, f32}:
    cache[(slot - shift) // Page, (slot - shift) % Page] = x * 3
""",
    "an index looked up in a table": """
op tabled(mut cache: T[P, Page, D], table: i32[B, Q], lengths: i32[B], x: T[B, D])
where T in {f32}:
    cache[table[index(B), lengths // Page], lengths % Page] = x
""",
    "an index below leading axes": """
op leading(mut cache: T[P, D], slot: i32[...], x: T[..., D]) -> y: T[..., D]
where T in {f16, f32}:
    y = x
    cache[slot] = x
""",
    "a value with fewer axes than its place": """
op fewer(mut cache: T[P, D], slot: i32[L], x: T[D], z: T[L]) -> y: T[L]
where T in {f32}:
    y = z
    cache[slot] = x
""",
    "a value for every row": """
op column(mut cache: T[P, D], slot: i32[L], z: T[L])
where T in {f32}:
    cache[slot] = z
""",
    "a number": """
op number(mut cache: T[P, D], slot: i32[L])
where T in {f16, f32}:
    cache[slot] = 7
""",
    "a place told by no axis": """
op fixed(mut cache: T[P, D], slot: i32[], x: T[D]) -> y: T[D]
where T in {f32}:
    y = x
    cache[slot] = x
""",
    "a literal index": """
op literal(mut cache: T[P, D], x: T[D])
where T in {f32}:
    cache[2] = x
""",
    "a value from reductions": """
op normed(mut cache: T[P, D], slot: i32[L], x: T[L, D], g: T[D]) -> y: T[L, D]
where T in {f16, f32}:
    y = rmsnorm(x, g, 1e-6, over=D)
    cache[slot] = softmax(x, over=D)
""",
    "a sum of every row": """
op sums(mut cache: f32[P], slot: i32[L], x: T[L, D]) -> y: f32[L]
where T in {f16, f32}:
    y = amax(x, over=D)
    cache[slot] = sum(x, over=D)
""",
    "a sum over the outer axis": """
op columns(mut cache: f32[P], slot: i32[L], x: T[D, L])
where T in {f32}:
    cache[slot] = sum(x, over=D)
""",
    "an index that is reduced too": """
op counted(mut cache: i32[P], slot: i32[L], k: i32[L]) -> most: i64[]
where P > 0:
    most = amax(k, over=L)
    cache[slot] = k
""",
    "a product": """
op projected(mut cache: T[P, N], slot: i32[M], x: T[M, K], w: T[N, K]) -> y: T[M, N]
where T in {f16, f32}:
    y = dot(x, w, over=K)
    cache[slot] = y
""",
    "a product alone": """
op product(mut cache: T[P, N], slot: i32[M], x: T[M, K], w: T[N, K])
where T in {f16, f32}:
    cache[slot] = dot(x, w, over=K)
""",
    "a product of columns that go to places": """
op scattered_columns(mut cache: T[M, N], at: i32[N], x: T[M, K], w: T[N, K])
where T in {f16, f32}:
    cache[index(M), at] = dot(x, w, over=K)
""",
    "a normalised product behind a cast": """
op chained(mut cache: T[P, N], slot: i32[M], x: T[M, K], w: T[N, K], g: T[N]) -> y: T[M, N]
where T in {f16}:
    y = cast(dot(x, w, over=K), T)
    cache[slot] = rmsnorm(y, g, 1e-6, over=N)
""",
    "halves": """
op halved(mut cache: T[P, D], slot: i32[L], x: T[L, D]) -> y: T[L, D]
where T in {f16, f32}:
    a, b = halves(x, over=D)
    y = x
    cache[slot] = join(-b, a, over=D)
""",
    "pairs": """
op paired(mut cache: T[P, D], slot: i32[L], x: T[L, D], c: T[L, D/2])
where T in {f16, f32}:
    a, b = pairs(x, over=D)
    cache[slot] = interleave(a * c, b + a, over=D)
""",
    "parts": """
op parted(mut cache: T[P, A + B], slot: i32[L], x: T[L, A], z: T[L, B]) -> y: T[L, A]
where T in {f16, f32}:
    y = x
    cache[slot] = concat(x / (1 + amax(abs(x), over=A)), z)
""",
    "two statements": """
op twice(mut cache: T[P, D], mut other: T[P, D], slot: i32[L], at: i32[L], x: T[L, D])
where T in {f32}:
    cache[slot] = x
    cache[at] = -x
    other[slot] = x * x
""",
    "outputs of other axes beside it": """
op beside(mut cache: T[P, D], slot: i32[L], x: T[L, D], w: T[M, D]) -> (y: T[M, D], s: f32[M])
where T in {f32}:
    y = w * 2
    s = sum(w, over=D)
    cache[slot] = x
""",
    "rounding to eight bits": """
op quantised(mut cache: f8e4m3[P, D], mut scales: f32[P], slot: i32[L], x: T[L, D])
where T in {f16, f32}:
    q, s = quantize(x, f8e4m3, over=D)
    cache[slot] = q
    scales[slot] = s
""",
    "truth values and integers": """
op marks(mut seen: bool[P], mut last: i8[P], slot: i32[L], x: T[L])
where T in {f32}:
    seen[slot] = x > 0
    last[slot] = cast(x, i8)
""",
    "distinct places": """
op distinct_places(mut cache: T[P, Page, D], distinct slot: i64[L], x: T[L, D]) -> y: T[L, D]
where T in {f16, f32}:
    y = x + 1
    cache[slot // Page, slot % Page] = y
""",
}
