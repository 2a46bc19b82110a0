"""Rows are split over programs where that pays: not along an axis of a matrix that the op multiplies anyway."""

from __future__ import annotations

import pytest

from fusec.diagnostics import Source
from fusec.ir.host.schedules import SplitRows
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.pipeline import compile_graph
from fusec.runtime.select.names import every_plan

TYPES = "where T in {f16, bf16, f32}:"
OPS = {
    "norm": ("op f(x: T[M, K]) -> y: T[M, K]", TYPES, "y = rmsnorm(x, 1.0, 1e-6, over=K)", {"y"}),
    "product": ("op f(x: T[M, K], w: T[N, K]) -> y: T[M, N]", TYPES, "y = dot(x, w, over=K)", set[str]()),
    "norm before a product": (
        "op f(x: T[M, K], w: T[N, K]) -> y: T[M, N]",
        TYPES,
        "y = dot(cast(rmsnorm(x, 1.0, 1e-6, over=K), T), w, over=K)",
        set[str](),
    ),
    "maximum before a product": (
        "op f(x: T[M, K], w: T[N, K]) -> y: T[M, N]",
        TYPES,
        "y = dot(cast(x / amax(abs(x), over=K), T), w, over=K)",
        set[str](),
    ),
    "norm behind a product": (
        "op f(x: T[M, K], w: T[N, K]) -> y: T[M, N]",
        TYPES,
        "y = rmsnorm(cast(dot(x, w, over=K), T), 1.0, 1e-6, over=N)",
        set[str](),
    ),
    "vector by matrix": ("op f(x: T[K], w: T[N, K]) -> y: T[N]", TYPES, "y = dot(x, w, over=K)", {"y"}),
    "vector by vector": ("op f(x: T[M, K], w: T[M, K]) -> y: T[M]", TYPES, "y = dot(x, w, over=K)", {"y"}),
    "another sum": (
        "op f(x: T[M, K], w: T[N, K], z: T[B, L]) -> (y: T[M, N], s: T[B])",
        TYPES,
        "y = dot(x, w, over=K)\n    s = sum(z, over=L)",
        {"s"},
    ),
    "in f64": (
        "op f(x: T[M, K], w: T[N, K]) -> y: T[M, N]",
        "where T in {f32, f64}:",
        "y = dot(x, w, over=K)",
        {"y"},
    ),
}


@pytest.mark.parametrize("name", OPS)
def test_rows_are_split_where_no_matrix_is_read(name: str) -> None:
    signature, types, body, split = OPS[name]
    (graph,) = elaborate(load(Source("f.fuse", f"{signature}\n{types}\n    {body}\n"), None))
    table = compile_graph(graph).table
    assert table is not None
    found = {
        output
        for step, plan in every_plan(table.plans)
        if isinstance(plan, SplitRows)
        for output in step.writes.split()
    }
    assert found == split
