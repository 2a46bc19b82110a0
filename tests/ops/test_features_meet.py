"""Specs in which two features meet: each has shown a wrong result of a compiler with one line changed.

Random specs come by most of them, at some seed; these do at every run, under each shape of plan that has kernels of its
own for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from fusec.diagnostics import Source
from fusec.lang.load import load
from fusec.passes.explain.op import explain
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.pipeline import compile_graph
from fusec.testing.random_run import hold_text

ROWS = ("rows", "resident", "row_loop", "split_rows")
OPEN = ("rows", "row_loop", "split_rows", "library", "swap_ab")
DOTS = (*OPEN, "tma")

MEETING: Mapping[str, tuple[tuple[str, ...], str]] = {
    "a look-up, summed over the axis of its index": (
        ROWS,
        """op f(t: T[R, N], at: i32[K]) -> (y: T[N], z: f32[])
where T in {f16, bf16, f32}:
    y = sum(t[at], over=K)
    z = amax(t[at] * t[at], over=(K, N))
""",
    ),
    "a look-up, summed with what it is multiplied by": (
        ROWS,
        """op f(t: T[R, N], at: i32[M, K], x: T[M, K]) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = sum(t[at] * x, over=K)
""",
    ),
    "operands that are not 0 where nothing is loaded": (
        DOTS,
        """op f(x: T[M, K], w: T[N, K]) -> y: f32[M, N]
where T in {f16, bf16, f32}, K == 19:
    y = dot(exp(x), 1 + abs(w), over=K)
""",
    ),
    "a statistic of the first axis beside one of all axes": (
        ROWS,
        """op f(x: T[M, N], z: T[M, N]) -> (a: T[M, N], b: T[M, N])
where T in {f16, bf16, f32}:
    a = x - mean(x, over=M)
    b = z + amax(x, over=(M, N))
""",
    ),
    "statistics of each axis": (
        ROWS,
        """op f(x: T[M, N]) -> (a: f32[N], b: f32[M], c: T[M, N])
where T in {f16, bf16, f32}:
    a = sum(x, over=M)
    b = amin(x, over=N)
    c = x * tanh(a) + b
""",
    ),
    "a product along one more axis": (
        OPEN,
        """op f(x: T[M, K], weight w: T[N, K], e: T[E]) -> (y: T[M, N, E], z: f32[M, N])
where T in {f16, bf16, f32}:
    p = dot(x, w, over=K)
    y = p + 0 * e
    z = p
""",
    ),
    "a product broadcast along an axis of the call": (
        ("rows", "row_loop", "split_rows", "library"),
        """op f(x: T[M, K], weight w: T[N, K], count: dim(E)) -> y: T[M, N, E]
where T in {f16, bf16, f32}:
    y = dot(x, w, over=K)
""",
    ),
    "an operand of a product beside outputs with no row in common": (
        DOTS,
        """op f(x: T[K, M], at: i32[K]) -> (a: T[M, P], b: f64[M, K])
where T in {f16, bf16, f32}:
    v = where(at > 1, x, 1)
    a = dot(rename(v, M -> P), x, over=K)
    b = softmax(v, over=K)
""",
    ),
    "outputs of a product with no row in common": (
        ("rows", "row_loop", "split_rows", "library"),
        """op f(x: T[M, K], w: T[N, K]) -> (a: T[M, N], b: T[N, P])
where T in {f16, bf16, f32}:
    p = dot(x, w, over=K)
    a = p + 1
    b = rename(p, M -> P) * 3
""",
    ),
    "a product of f32, rounded and doubled": (
        DOTS,
        """op f(x: T[M, K], weight w: T[N, K]) -> y: f32[M, N]
where T in {f32, bf16}:
    y = cast(dot(x, w, over=K), bf16) * 2
""",
    ),
    "a gain in f64 behind a product": (
        ("rows", "row_loop", "split_rows", "library"),
        """op f(x: T[M, K], weight w: T[N, K], weight gain: f64[N]) -> (y: f64[M, N], z: T[M])
where T in {f16, bf16, f32}:
    p = dot(x, w, over=K)
    y = p * gain
    z = sum(p / 8, over=N)
""",
    ),
    "a softmax that overflows without its maximum": (
        ROWS,
        """op f(v: T[M, N]) -> (y: T[M, N], z: f32[M])
where T in {f16, bf16, f32}:
    y = softmax(v * 100, over=N)
    z = logsumexp(v * 100, over=N)
""",
    ),
    "a softmax of a product, behind another product": (
        DOTS,
        """op f(q: T[M, K], k: T[U, K], v: T[U, N]) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = dot(cast(softmax(dot(q, k, over=K), over=U), T), v, over=U)
""",
    ),
    "halves under another name": (
        ROWS,
        """op f(x: T[M, D], t: T[M, D/2]) -> (y: T[M, E], z: f32[M, D, E])
where T in {f16, bf16, f32}, E == D:
    turned = rename(x * join(t, -t, over=D), D -> E)
    y = turned
    z = turned + x
""",
    ),
    "an axis of the weight that the rows have too": (
        DOTS,
        """op f(x: T[B, M, K], weight w: T[B, N, K], weight bias: T[B, N] = 0) -> y: T[B, M, N]
where T in {f16, bf16, f32}:
    y = dot(x, w, over=K) + bias
""",
    ),
}


@pytest.mark.parametrize(
    ("feature", "shape"), [(name, shape) for name, (shapes, _) in MEETING.items() for shape in shapes]
)
def test_features_meet(feature: str, shape: str, tmp_path: Path, device: torch.device) -> None:
    ran = hold_text(MEETING[feature][1], 1, tmp_path, device, calls=2, shape=shape)
    assert ran == 1


@pytest.mark.parametrize("feature", MEETING)
def test_every_feature_is_explained(feature: str) -> None:
    (graph,) = elaborate(load(Source("f.fuse", MEETING[feature][1]), None))
    program = compile_graph(graph)
    found = explain(graph, program)
    assert {plan.plan.name for plan in found.plans} >= {plan.name for plan in program.whole.plans}
