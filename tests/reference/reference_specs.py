"""Graphs for the tests of the reference: the specs of the repository, the examples of the language, and the rest."""

from __future__ import annotations

import re
from pathlib import Path

from fusec.diagnostics import Source
from fusec.ir.graph import Graph
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate

ROOT = Path(__file__).parents[2]

CONSTRUCTS = """
op layouts(x: T[A, B*C, D], w: f32[D, A], v: T[C, B]) -> (y: T[D, A, B*C], z: f32[C, A], s: T[])
where T in {f32, f64, bf16}:
    y = x * w + v
    z = mean(x, over=(B, D)) - amin(x, over=(A, B, C, D))
    s = sum(x * v, over=(A, B, C, D))

op leading(x: T[..., M, N], row: T[M], every: T[...]) -> (y: T[..., N, M], z: T[..., N], top: T[M, N])
where T in {f32, f64}:
    y = x * row + every
    z = sum(x * row, over=M)
    top = amax(x, over=...)

op functions(x: T[N], y: T[N], n: i32 = 3) -> (a: T[N], b: T[N], c: i32[N], d: bool[N])
where T in {f32, f64, f16}:
    a = where(x < y, exp2(minimum(x, 3)), sqrt(abs(y))) + erf(x) - sigmoid(y) * tanh(x)
    b = clamp(log(abs(x) + 1), 0.25, 2.5) + sin(x) * cos(y) + x // (abs(y) + 1) + (x % 3) + floor(x) - round(y)
    c = (index(N) * n - 7) // 3 + index(N) % 4 + where(n > 2, n, 0)
    d = x <= y and not (x == y) or index(N) >= n

op casts(x: T[M, N], k: i8[M, N]) -> (a: T[M, N], b: i8[M, N], c: f8e5m2[M, N], d: u8[M, N], e: f32[M, N])
where T in {f32, bf16, f8e4m3}:
    a = cast(x * 3, T) * 2
    b = cast(x * 50, i8) - k
    c = cast(x, bf16) * cast(k, f32)
    d = abs(k)
    e = cast(cast(x, f16), f8e4m3) * (max_of(T) / max_of(f16)) + cast(x > 0, f32)

op parts(x: T[M, A*B + 2 + A], y: T[M, D], z: T[M, A]) -> (p: T[M, A, B], q: T[M, A + D], r: T[D, M], h: T[M, D])
where T in {f32, f64}, D % 2 == 0:
    first, two, last = split(x, A*B, 2, A)
    p = first * last + sum(two, over=2)
    q = concat(last + z, y)
    a, b = pairs(y, over=D)
    r = interleave(b, -a, over=D)
    lo, hi = halves(y, over=D)
    h = join(hi * 2, lo, over=D)

op renamed(x: T[S, D], m: i32[S]) -> (scores: T[S, U], own: f32[S, U])
where T in {f32, bf16}, U == S:
    scores = dot(x, rename(x, S -> U), over=D)
    own = where(index(S) >= rename(index(S), S -> U), 1.0, 0.5) * m

op looked_up(table: C[P, H*D], rows: f32[B + 1], offsets: i32[B + 1], at: i64[N, K], heads: dim(H),
             idx: i32[N] = index(N))
  -> (a: f32[N, K, H*D], b: f32[N, D], c: i32[N], d: f32[N])
where C in {f32, f16, f8e4m3}:
    a = table[at] * 2
    b = sum(table[idx], over=H)
    c = offsets[segment(offsets, N)]
    d = rows[idx]
"""

CONTRACTIONS = """
op gated_mlp(x: T[..., K], weight gate_weight: T[N, K], weight up_weight: T[N, K],
             activation: {silu, gelu, gelu_tanh, relu} = silu) -> y: T[..., N]
where T in {f16, bf16, f32}:
    gate = dot(x, gate_weight, over=K)
    up = dot(x, up_weight, over=K)
    y = activation(gate) * up

op rmsnorm_linear(x: T[..., K], weight gain: T[K], weight proj: T[N, K], weight bias: T[N] = 0,
                  eps: f32 = 1e-6) -> y: T[..., N]
where T in {f16, bf16}:
    y = dot(rmsnorm(x, gain, eps, over=K), proj, over=K) + bias

op fp8_linear(x: T[..., K], weight w: T[N, K], weight bias: T[N] = 0) -> y: T[..., N]
where T in {f16, bf16}:
    xq, xs = quantize(x, f8e4m3, over=K)
    wq, ws = quantize(w, f8e4m3, over=K)
    y = dot(xq, wq, over=K) * xs * ws + bias

op int8_linear(x: T[..., K], weight w: i8[N, K], weight ws: f32[N]) -> y: T[..., N]
where T in {f16, bf16}:
    xq, xs = quantize(x, i8, over=K)
    y = dot(xq, w, over=K) * xs * ws

op block_scaled_mm(a: f8e4m3[M, G*L], a_scale: f32[M, G],
                   b: f8e4m3[P*Q, G*L], b_scale: f32[P, G]) -> y: bf16[M, P*Q]
where Q == 4, L == 8:
    y = sum(dot(a, b, over=L) * a_scale * b_scale, over=G)

op attention(q: T[B, Sq, Hk*R, D], k: T[B, Sk, Hk, D], v: T[B, Sk, Hk, E], scale: f32) -> o: T[B, Sq, Hk*R, E]
where T in {f16, bf16}:
    p = softmax(dot(q, k, over=D) * scale, over=Sk)
    o = dot(p, v, over=Sk)
"""


def _graphs(text: str) -> tuple[Graph, ...]:
    return elaborate(load(Source("spec.fuse", text), None))


def examples() -> list[str]:
    """The example files of the language document."""
    return re.findall(r"^```fuse\n(.*?)^```", (ROOT / "docs" / "language.md").read_text(), re.DOTALL | re.MULTILINE)


def specs() -> list[str]:
    """The specs of the repository."""
    return [path.read_text() for path in sorted((ROOT / "specs").glob("*.fuse"))]


def graphs() -> dict[str, Graph]:
    """By name; where an example of the language has the name of a spec, the example is left out."""
    return {graph.name: graph for text in (*examples(), *specs(), CONSTRUCTS, CONTRACTIONS) for graph in _graphs(text)}
