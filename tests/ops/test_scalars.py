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


LITERALS = """
op f(x: T[M, N], n: i32 = 1, w: i64 = 1, b: bf16 = 0.001) -> (y: f32[M, N], i: i8[M, N], c: T[M, N], d: f8e4m3[M],
  e: f16[M, N], u: u8[M, N], g: i8[M, N], h: f32[M, N])
where T in {f16, bf16, f32}:
    y = x * cast(0.1, T) + cast(0.1, bf16) + cast(300, i8) + cast(1e9, f8e4m3) + cast(3, f16)
    i = cast(-inf, i8) + cast(N, u8)
    c = cast(0.1, T)
    d = cast(N, f8e4m3)
    e = x + cast(max_of(f8e4m3), f8e5m2) + cast(max_of(i8), bf16) + minimum(max_of(T), cast(2 * max_of(i8), f16))
    u = cast(n, u8) + cast(M * N, i8)
    g = cast(n == 1, i8) + cast(w, i8)
    h = cast(n, f16) + cast(w, f8e4m3) + cast(b, f8e5m2) + exponent(max_of(T)) + exponent(max_of(i8) * 1.5)
"""


@pytest.mark.parametrize("number", [1, 200])
@pytest.mark.parametrize("dtype", ["f16", "f32"])
def test_what_is_no_tile_is_cast(dtype: str, number: int, tmp_path: Path, device: torch.device) -> None:
    """Literals, sizes and numbers of the call, of which Triton makes a constant where they are 1."""
    (op,) = compiled(LITERALS, tmp_path)
    case = Case(
        op="f",
        seed=1,
        extents={"M": 3, "N": 5},
        dtypes={"T": dtype},
        scalars={"n": number, "w": number, "b": 0.3},
    )
    run_and_compare(op.call, op.program.forms, case, device=device)
