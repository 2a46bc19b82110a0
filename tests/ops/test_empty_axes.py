"""An axis without elements: every output that lacks it is written all the same, in every plan, and nothing else is."""

from __future__ import annotations

import pytest
import torch
from catalogue import Op
from compiled import compiled

from fusec.forcing import CHIPS, on_chip, reaches
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

FORMS = {
    "elements and rows": ("x: f32[M, N], w: f32[M]", "y: f32[M, N], z: f32[M]", "y = x * w\n    z = w * 2"),
    "elements and columns": ("x: f32[M, N], v: f32[N]", "y: f32[M, N], z: f32[N]", "y = x * v\n    z = v * 2"),
    "elements and all": ("x: f32[M, N], a: f32[]", "y: f32[M, N], z: f32[]", "y = x * a\n    z = a * 2"),
    "rows of two axes": ("x: f32[M, B, N], s: f32[B]", "y: f32[M, B, N], z: f32[B]", "y = x * s\n    z = s * 2"),
    "sums of rows of two axes": (
        "x: f32[M, B, N], s: f32[B], v: f32[M]",
        "y: f32[M, B], z: f32[B], u: f32[M]",
        "y = sum(x, over=N) * s\n    z = s * 2\n    u = v + 1",
    ),
    "sums of rows": ("x: f32[M, N], w: f32[M]", "y: f32[M], z: f32[M, N]", "y = sum(x, over=N) + w\n    z = x * y"),
    "sums of columns": ("x: f32[M, N], v: f32[N]", "y: f32[N], z: f32[M, N]", "y = sum(x, over=M) + v\n    z = x * y"),
    "sums of columns, and rows": (
        "x: f32[M, N], w: f32[M]",
        "y: f32[N], z: f32[M]",
        "y = sum(x * w, over=M)\n    z = w * 2",
    ),
    "sums of columns, and of rows": (
        "x: f32[M, N], w: f32[M]",
        "y: f32[N], z: f32[M], u: f32[M, N]",
        "y = sum(x * w, over=M)\n    z = sum(x, over=N) + w\n    u = x * z",
    ),
    "sums of a middle axis": (
        "x: f32[M, K, N], w: f32[M, K]",
        "y: f32[M, N], z: f32[M]",
        "y = sum(x * w, over=K)\n    z = sum(w, over=K)",
    ),
    "sums of all": ("x: f32[M, N], a: f32[]", "y: f32[], z: f32[M, N]", "y = sum(x, over=(M, N)) + a\n    z = x * a"),
    "a product and rows": (
        "x: f32[M, K], u: f32[N, K], w: f32[M]",
        "y: f32[M, N], z: f32[M]",
        "y = dot(x, u, over=K) * w\n    z = w * 2",
    ),
}


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Op]:
    texts = [f"op form{place}({given}) -> ({made}):\n    {body}\n" for place, (given, made, body) in
             enumerate(FORMS.values())]  # fmt: skip
    return dict(zip(FORMS, compiled("\n".join(texts), tmp_path_factory.mktemp("empty")), strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_what_lacks_an_empty_axis_is_written(ops: dict[str, Op], form: str, device: torch.device) -> None:
    op = ops[form]
    axes = [solve.name for solve in op.program.graph.solves]
    for shape in CHIPS:
        if not reaches(shape, op.program):
            continue
        for empty in (*axes, None):
            extents = {axis: 0 if axis == empty else 5 if axis == "B" else 37 for axis in axes}
            with on_chip(op.module, CHIPS[shape]):
                run_and_compare(op.call, op.program.forms, Case(op=op.name, seed=1, extents=extents), device=device)
