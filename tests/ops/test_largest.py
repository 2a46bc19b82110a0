"""`max_of` a type variable is the largest number of the type that a call has."""

from __future__ import annotations

import pytest
import torch
from catalogue import Op
from compiled import compiled

from fusec.forcing import CHIPS, on_chip

INTEGERS = (torch.int8, torch.uint8, torch.int32, torch.int64)
REALS = (torch.float8_e4m3fn, torch.float8_e5m2, torch.float16, torch.bfloat16, torch.float32, torch.float64)

SPEC = """
op of_integers(x: f32[M, N], t: U[M]) -> (y: f32[M, N], s: f32[M], z: U[M])
where U in {i8, u8, i32, i64}:
    y = x / max_of(U)
    s = sum(x, over=N) / max_of(U)
    z = t

op of_reals(x: f32[M, N], t: V[M]) -> (y: f32[M, N], s: f32[M], z: V[M])
where V in {f8e4m3, f8e5m2, f16, bf16, f32, f64}:
    y = x / max_of(V)
    s = sum(x, over=N) / max_of(V)
    z = t
"""


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> tuple[Op, ...]:
    return compiled(SPEC, tmp_path_factory.mktemp("largest"))


@pytest.mark.parametrize("shape", ["rows", "row_loop"])
@pytest.mark.parametrize("dtype", [*INTEGERS, *REALS], ids=str)
def test_the_largest_number(ops: tuple[Op, ...], dtype: torch.dtype, shape: str, device: torch.device) -> None:
    op = ops[dtype in REALS]
    largest = float((torch.finfo if dtype in REALS else torch.iinfo)(dtype).max)
    x, t = torch.full((2, 40), 3.0, device=device), torch.ones(2, device=device).to(dtype)
    with on_chip(op.module, CHIPS[shape]):
        y, s, z = op.call(x, t)
    torch.testing.assert_close(y.double(), x.double() / largest, rtol=1e-6, atol=2e-45)
    torch.testing.assert_close(s.double(), x.double().sum(1) / largest, rtol=1e-6, atol=2e-45)
    assert torch.equal(z.float(), t.float())
