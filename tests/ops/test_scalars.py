"""Numbers of a call are rounded to the type they are declared in, before anything is computed with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.forcing import CHIPS, on_chip
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

TEXT = """
op f(x: T[M, N], b: bf16 = 0.001, h: f16 = 0.001, s: f32 = 0.001, e: f8e5m2 = 0.7, d: f64 = 0.1)
  -> (y: f32[M, N], z: f16[M, N], w: f32[M], v: f32[M])
where T in {f16, f32}:
    y = x * b + h + s * e
    z = x * b
    w = sum(x + h, over=N) * b
    v = sum((x + d) * d, over=N)
"""


@pytest.mark.parametrize("shape", ["rows", "resident", "row_loop", "split_rows"])
def test_a_number_is_rounded_to_its_type(shape: str, tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(TEXT, tmp_path)
    case = Case(
        op="f",
        seed=1,
        extents={"M": 3, "N": 5},
        dtypes={"T": "f16"},
        scalars={"b": 0.001, "h": 0.3, "s": 0.1, "e": 0.7, "d": 0.1},
    )
    with on_chip(op.module, CHIPS[shape]):
        run_and_compare(op.call, op.program.forms, case, device=device)
