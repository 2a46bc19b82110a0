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

IN_PLACE = {
    "a sum": """
op added(mut x: T[..., N], y: T[..., N])
where T in {f16, f32}:
    x[...] = x + y
""",
    "a norm": """
op normed(mut x: T[M, N], g: T[N]) -> peak: f32[M]
where T in {f16, f32}:
    peak = amax(abs(x), over=N)
    x[...] = rmsnorm(x, g, 1e-6, over=N)
""",
    "a residual stream and its norm": """
op residual(mut x: T[..., N], mut stream: T[..., N], g: T[N])
where T in {f16, f32}:
    s = cast(x + stream, T)
    stream[...] = s
    x[...] = rmsnorm(s, g, 1e-6, over=N)
""",
    "one tensor before what waits for its sum": """
op early(mut x: T[M, N]) -> y: T[M, N]
where T in {f32}:
    y = x / (1 + sum(abs(x), over=N))
    x[...] = x * 2
""",
    "halves swapped": """
op swapped(mut x: T[M, N])
where T in {f16, f32}:
    a, b = halves(x, over=N)
    x[...] = join(-b, a, over=N)
""",
    "pairs rotated": """
op rotated(mut x: T[M, N], c: f32[N/2])
where T in {f16, f32}:
    a, b = pairs(x, over=N)
    x[...] = interleave(a * c - b, b * c + a, over=N)
""",
    "heads of a stored dimension": """
op heads(mut x: T[B, H*D], cos: f32[D], sin: f32[D], num_heads: dim(H) = infer)
where T in {f16, f32}, D % 2 == 0:
    x[...] = rope(x, cos, sin, over=D)
""",
    "an optimiser": """
op momentum(mut param: T[M, N], grad: T[M, N], mut momentum: f32[M, N], mu: f32 = 0.875)
where T in {bf16, f32}:
    ahead = mu * momentum + grad
    momentum[index(M), index(N)] = ahead
    param[...] = param - ahead / 8
""",
    "a number without axes": """
op counter(mut count: i32[], mut total: f32[], x: f32[N])
where N > 0:
    total[...] = total + sum(x, over=N)
    count[...] += 1
""",
    "a product added to its residual": """
op projected(mut x: T[M, N], h: T[M, K], w: T[N, K])
where T in {f16, f32}:
    x[...] += dot(h, w, over=K)
""",
    "rows less their mean column": """
op centred(mut x: T[M, N]) -> s: f32[N]
where T in {f32}, M > 0:
    s = mean(x, over=M)
    x[...] = x - s
""",
    "a product with what is replaced": """
op squared(mut x: T[M, N], w: T[N, K]) -> y: f32[M, K]
where T in {f16, f32}:
    y = dot(x, w, over=N)
    x[...] = x + 1
""",
    "distinct rows": """
op doubled(mut c: T[P, D], distinct at: i32[L], x: T[L, D])
where T in {f16, f32}:
    c[at] = c[at] * 2 + x
""",
    "a distinct sum of pages": """
op paged(mut c: T[P, Page, D], distinct slot: i64[L], x: T[L, D])
where T in {f16, f32}:
    c[slot // Page, slot % Page] += x * x
""",
    "distinct elements over two axes": """
op spread(mut c: f32[P], distinct at: i64[M, N], x: T[M, N]) -> y: T[M, N]
where T in {f16, f32}:
    y = x
    c[at] += x
""",
    "distinct rows over two axes": """
op stacked(mut c: T[P, D], distinct at: i32[M, 6], x: T[M, 6, D]) -> y: f32[M]
where T in {f16, f32}:
    y = sum(x, over=(6, D))
    c[at] = c[at] * 2 + x
""",
    "distinct elements less their sum": """
op reduced(mut c: f32[P], distinct at: i64[N], x: f32[N]) -> y: f32[]:
    y = sum(x, over=N)
    c[at] = c[at] * y
""",
}
"""What is read where it is written, by the same programs: one step, whatever the plan."""

READ_BEFORE = {
    "a sum over other axes than it is written with": """
op read_by_others(mut c: f32[N], x: f32[M, N], w: f32[N]) -> (z: f32[N], y: f32[M]):
    z = c * w
    y = sum(x * c, over=N)
    c[...] = c + w
""",
    "rows that move": """
op moved(mut c: T[P, D], src: i32[L], dst: i32[L]) -> y: T[L, D]
where T in {f16, f32}:
    y = c[src]
    c[dst] = y
""",
    "the neighbour before": """
op shifted(mut x: T[M, N])
where T in {f16, f32}:
    x[index(M), index(N)] = x[index(M), index(N) - 1]
""",
    "a row copied": """
op copied(mut c: T[P, D], src: i32[L], dst: i32[L])
where T in {f32}:
    c[dst] = c[src]
""",
    "a table that all rows read": """
op biased(x: T[..., N], mut b: T[N]) -> y: T[..., N]
where T in {f16, f32}:
    y = x * b
    b[...] = b + 1
""",
    "a sum of all rows": """
op statistics(x: f32[M, N], mut mean_of: f32[N]) -> y: f32[M, N]
where M > 0:
    y = x - mean_of
    mean_of[...] = 0.5 * mean_of + mean(x, over=M)
""",
    "the other axis": """
op turned(mut x: T[M, N])
where T in {f32}, M == N:
    x[...] = rename(rename(rename(x, M -> K), N -> M), K -> N)
""",
    "a product that replaces its operand": """
op replaced(mut x: T[M, N], w: T[N, K])
where T in {f16, f32}, N == K:
    x[...] = dot(rename(x, N -> K), w, over=K)
""",
    "an index that is written": """
op renumbered(mut at: i32[L], c: T[P, D], n: i32) -> y: T[L, D]
where T in {f32}:
    y = c[at]
    at[...] = (at + n) % P
""",
    "two tensors that change places": """
op exchanged(mut a: T[M, N], mut b: T[M, N], i: i32[M])
where T in {f16, f32}:
    before = a
    a[i] = b
    b[...] = before
""",
    "rows of one's own and of others": """
op mixed(mut c: T[P, D], at: i32[L]) -> y: f32[P]
where T in {f32}:
    y = sum(c, over=D)
    c[at] = c[at] * 2
""",
    "one row twice over": """
op overlapping(mut c: T[P, D], at: i32[L], x: T[P, D])
where T in {f32}:
    c[...] = c + x
    c[at] = 0
""",
}
"""What is read elsewhere than it is written: the writes wait for a step of their own."""

SUMS = {
    "rows": """
op rows(mut c: T[P, D], slot: i32[L], x: T[L, D])
where T in {f16, f32}:
    c[slot] += x
""",
    "sums of fewer axes beside those of rows": """
op counted(mut counts: i32[P], mut c: T[P, D], slot: i32[L], x: T[L, D])
where T in {f16, f32}:
    counts[slot] += 1
    c[slot] += x
""",
    "a computed value": """
op weighted(mut c: f32[P, D], slot: i64[L], x: T[L, D], w: f32[L]) -> y: f32[L]
where T in {f16, f32}:
    y = sum(x, over=D)
    c[slot] += x * w / (1 + abs(y))
""",
    "a histogram": """
op histogram(mut counts: i32[P], bin: i32[L]):
    counts[bin] += 1
""",
    "single elements": """
op elements(mut c: T[P], slot: i32[L], x: T[L])
where T in {bf16, f32}:
    c[slot] += x
""",
    "two indices over two axes": """
op crossed(mut c: f32[P, Q, D], i: i32[A, B], j: i32[A], x: f32[A, D], z: f32[B]):
    c[i, j] += x * z
""",
    "a product": """
op experts(mut c: T[P, N], token: i32[M], x: T[M, K], w: T[N, K])
where T in {f16, f32}:
    c[token] += dot(x, w, over=K)
""",
    "an axis of a fixed size": """
op fixed(mut c: f32[P, D], slot: i32[6], x: f32[6, D]):
    c[slot] += x
""",
    "what is read beside it": """
op beside(mut c: f32[P, D], slot: i32[L], src: i32[L], x: f32[L, D]) -> y: f32[L, D]:
    y = c[src]
    c[slot] += x - y
""",
    "eight bits": """
op bytes(mut c: i8[P], mut q: f8e4m3[P], slot: i32[L], k: i8[L], x: f32[L]):
    c[slot] += k
    q[slot] += x
""",
    "halves of the axis of places": """
op halved(mut c: f32[P], mut z: f32[12], slot: i32[12], at: i32[12], x: f32[12]) -> y: f32[12]:
    a, b = halves(x, over=12)
    y = z[at]
    z[...] = join(b, a, over=12)
    c[slot] += join(a - b, b, over=12)
""",
    "parts of values and of places": """
op parted(mut c: f32[P], i: i32[A], j: i32[B], x: f32[A], z: f32[B]):
    c[concat(i, j)] += concat(x * 2, z)
""",
    "pairs in both axes": """
op paired(mut c: f32[P, D], slot: i32[L], x: f32[L, D])
where L % 2 == 0, D % 2 == 0:
    a, b = halves(x, over=D)
    e, f = pairs(join(a - b, b, over=D), over=L)
    c[slot] += interleave(e, f - e, over=L)
""",
}
"""What several values may be added to at one place."""
