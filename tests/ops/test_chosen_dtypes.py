"""The dtype of an output as an argument: of a call, of a traced one, and a wrong one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from compiled import compiled
from torch.fx.experimental.proxy_tensor import make_fx

from fusec.forcing import CHIPS, on_chip
from fusec.runtime import UnsupportedDtypeError
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

SPEC = """op doubled(x: S[..., D], bias: T[D] = 0, out_dtype: dtype(T) = bf16) -> y: T[..., D]
where S in {f16, f32}, T in {f16, bf16, f32}:
    y = x * 2 + bias
"""


@pytest.fixture
def doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The op; its file can be imported, which `torch.compile` asks for."""
    (op,) = compiled(SPEC, tmp_path)
    monkeypatch.setitem(sys.modules, op.module.__name__, op.module)
    return op.call


def test_the_caller_chooses(doubled: Callable[..., Any], device: torch.device) -> None:
    x = torch.arange(12.0, device=device).view(3, 4)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        y = doubled(x, torch.ones(4, dtype=dtype, device=device), dtype)
        assert y.dtype == dtype
        assert torch.equal(y, (x * 2 + 1).to(dtype))
    assert doubled(x).dtype == torch.bfloat16


def test_a_traced_call_keeps_it(doubled: Callable[..., Any], device: torch.device) -> None:
    x = torch.ones(3, 4, device=device)
    traced = make_fx(lambda x: doubled(x, out_dtype=torch.float16))(x)
    assert traced(x).dtype == torch.float16
    run = torch.compile(lambda x: doubled(x, out_dtype=torch.float32), fullgraph=True, backend="aot_eager")
    assert torch.equal(run(x), x * 2)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float64, "f16", None])
def test_a_wrong_one_is_told(dtype: object, doubled: Callable[..., Any], device: torch.device) -> None:
    with pytest.raises(UnsupportedDtypeError, match="`out_dtype` should be float16 or bfloat16 or float32") as caught:
        doubled(torch.ones(3, 4, device=device), out_dtype=dtype)
    assert (caught.value.argument, caught.value.actual) == ("out_dtype", dtype)


def test_what_is_declared_with_it_has_it(doubled: Callable[..., Any], device: torch.device) -> None:
    with pytest.raises(UnsupportedDtypeError, match="`bias` should be bfloat16, but is float32"):
        doubled(torch.ones(3, 4, device=device), bias=torch.ones(4, device=device))


BESIDE_DOTS = (
    ("y: Z[M, N]", "y = dot(x, w, over=K)"),
    ("(y: f32[M, N], s: Z[M])", "y = dot(exp(x), w, over=K)\n    s = sum(x, over=K)"),
    ("(y: f32[M, N], s: Z[N])", "y = dot(x, w * 2, over=K, precision=f16)\n    s = amax(w, over=K) / 3"),
)
"""What a caller may choose to be f64, in the output of a dot and in another one."""


@pytest.mark.parametrize(("outputs", "body"), BESIDE_DOTS)
def test_a_chosen_f64_is_what_dots_are_computed_in(
    outputs: str, body: str, tmp_path: Path, device: torch.device
) -> None:
    text = f"op f(x: f16[M, K], w: f16[N, K], d: dtype(Z)) -> {outputs}\nwhere Z in {{f16, f64}}:\n    {body}\n"
    (op,) = compiled(text, tmp_path)
    for chip, dtype in product(CHIPS.values(), ("f16", "f64")):
        case = Case(op="f", seed=1, extents={"M": 8, "N": 16, "K": 40}, dtypes={"Z": dtype})
        with on_chip(op.module, chip):
            run_and_compare(op.call, op.program.forms, case, device=device)
