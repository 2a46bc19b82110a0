"""Specs for the tests of fusec.testing, each with another kind of parameter, axis or condition."""

from __future__ import annotations

from fusec.diagnostics import Source
from fusec.ir.graph import Graph
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate

TEXTS = {
    "normed": """
op normed(x: T[..., N], weight: T[N], eps: f32 = 1e-6) -> y: T[..., N]
where T in {f16, bf16, f32}:
    y = rmsnorm(x, weight, eps, over=N)
""",
    "rotated": """
op rotated(x: T[B, S, H*D], cos: C[S, D], sin: C[S, D], num_heads: dim(H) = infer) -> y: T[B, S, H*D]
where T in {f16, bf16}, C in {f32, bf16}, D % 2 == 0:
    y = rope(x, cos, sin, over=D)
""",
    "looked_up": """
op looked_up(x: T[B, S, D], table: f32[P, D], at: i64[B, S] = index(S)) -> y: T[B, S, D]
where T in {f16, f32}:
    y = x * table[at]
""",
    "grouped": """
op grouped(x: T[M, G*L], kind: {relu, silu} = relu) -> (q: f8e4m3[M, G*L], scale: f32[M, G])
where T in {bf16, f32}, L == 128:
    q, scale = quantize(kind(x), f8e4m3, over=L)
""",
    "divided": """
op divided(q: T[B, Hq, D], k: T[B, Hk, D], bias: T[D] = 0) -> (y: T[B, Hq, D], z: T[B, Hk, D])
where T in {f16, bf16}, Hq % Hk == 0:
    y = q + bias
    z = k - bias
""",
    "packed": """
op packed(x: f32[N, H*D + K], gain: f32[H, D], mask: bool[N], shift: i32[N]) -> y: f32[N, H*D]
where K == 2*D:
    a, b = split(x, H*D, K)
    y = where(mask, a, a * gain + shift)
""",
    "turned_norm": """
op turned_norm(x: T[M, D], gain: T[D], cos: f32[M, D/2], sin: f32[M, D/2], eps: f32 = 1e-6) -> (y: T[M, D], top: f32[M])
where T in {f16, bf16, f32}, D % 2 == 0:
    y = rope_half(rmsnorm(x, gain, eps, over=D), cos, sin, over=D)
    top = amax(abs(x), over=D)
""",
    "softened": """
op softened(x: T[M, N], bias: T[N] = 0) -> (p: T[M, N], q: f8e4m3[M, N])
where T in {f16, bf16, f32}:
    p = softmax(x + bias, over=N)
    q = (x + bias) * 16
""",
    "wrapped": """
op wrapped(x: T[M, N], table: f32[U, V, M], at: i32[N]) -> (y: T[M, N], z: i32[N], w: i64[M])
where T in {f16, f32}:
    y = x + table[at // (U * V) % U, at % V]
    z = at % (U + V)
    w = index(M) // M
""",
    "sized": """
op sized(at: i32[N], x: f32[M], table: f32[U]) -> (y: i32[N], z: i32[N]):
    y = at // (M - 2)
    z = at % (U // 2)
""",
    "segmented": """
op segmented(x: f32[N, D], offsets: i32[B + 1], gain: f32[B, D]) -> y: f32[N, D]:
    y = x * gain[segment(offsets, N)]
""",
}


def graph(text: str) -> Graph:
    """The graph of a spec of one op."""
    (only,) = elaborate(load(Source("specimen.fuse", text), None))
    return only


GRAPHS = {name: graph(text) for name, text in TEXTS.items()}
