"""Products of tiles in registers, of which few are summed: a compiler may take them for dots of a tensor core.

Interpreted kernels have no compiler; on a GPU sums of 1, 2 and 4 products were 8, 4 and 2 times too large.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.forcing import CHIPS, on_chip
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

TEXT = """
op nested(x: T[M, K], w: T[K, N], v: T[N, R]) -> y: f32[M, R]
where T in {f16, f32}:
    y = dot(dot(x, w, over=K), v, over=N)

op centred(x: T[M, N], w: T[N, R]) -> (y: f32[M, R], z: f32[M, N], s: f32[M, N, R])
where T in {f16, f32}:
    p = x * w
    y = sum(p, over=N)
    z = sum(p, over=R)
    s = p - sum(p, over=(M, N, R))
"""


@pytest.mark.parametrize("few", [1, 2, 4, 8, 17])
@pytest.mark.parametrize("dtype", ["f16", "f32"])
def test_every_product_is_added_once_and_as_it_is(few: int, dtype: str, tmp_path: Path, device: torch.device) -> None:
    for op in compiled(TEXT, tmp_path):
        extents = {"M": 16, "R": 20, "K": 3, "N": few}
        case = Case(
            op=op.name, seed=few, extents=extents, dtypes={"T": dtype}, values={"x": "positive", "w": "positive"}
        )
        for shape in ("rows", "resident"):
            with on_chip(op.module, CHIPS[shape]):
                run_and_compare(op.call, op.program.forms, case, device=device)
