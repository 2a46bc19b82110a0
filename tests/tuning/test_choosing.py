"""What an entry of a tuned table is for: the axes of which there are as many as there are rows, and all others."""

from __future__ import annotations

import pytest

from fusec.diagnostics import Source
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.host.tuned import choosing

FORMS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "a product": ("f(x: f32[M, K], weight w: f32[N, K]) -> y: f32[M, N]: dot(x, w, over=K)", ("M",), ("K", "N")),
    "of leading axes": (
        "f(x: f32[..., K], weight w: f32[N, K]) -> y: f32[..., N]: dot(x, w, over=K)",
        ("...",),
        ("K", "N"),
    ),
    "a batch": (
        "f(x: f32[B, M, K], w: f32[B, N, K]) -> y: f32[B, M, N]: dot(x, w, over=K)",
        ("M",),
        ("B", "K", "N"),
    ),
    "a batch of weights": (
        "f(x: f32[M, B, K], weight w: f32[B, N, K]) -> y: f32[M, B, N]: dot(x, w, over=K)",
        ("M",),
        ("B", "K", "N"),
    ),
    "sums of rows": ("f(x: f32[M, N]) -> y: f32[M, N]: x - sum(x, over=N)", ("M",), ("N",)),
    "sums of columns": ("f(x: f32[M, N]) -> y: f32[M, N]: x - sum(x, over=M)", (), ("M", "N")),
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_what_differs_from_call_to_call(form: str) -> None:
    text, rows, extents = FORMS[form]
    header, _, value = text.rpartition(": ")
    (graph,) = elaborate(load(Source("f.fuse", f"op {header}:\n    y = {value}\n"), None))
    found = choosing(graph)
    assert found is not None
    assert tuple(map(str, found.rows)) == rows
    assert tuple(sorted(found.extents)) == extents
