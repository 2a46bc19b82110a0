"""`fp8_gemm` takes what its callers hold: numbers, FP8 of either format, or its bytes, on either side."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from fusec.driver.compile import compile_file
from fusec.driver.load import load_from
from fusec.runtime import ArgumentError, ShapeMismatchError

SPEC = Path(__file__).parents[2] / "specs" / "fp8_gemm.fuse"
M, K, N = 9, 64, 32
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return load_from(SPEC.read_text(), compile_file, tmp_path_factory.mktemp("cache"))


def held(x: Tensor, kind: str) -> tuple[Tensor, Tensor | None, Tensor]:
    """What a caller holds of x, its scale where it is FP8, and what both stand for."""
    if kind in ("f16", "bf16", "f32"):
        given = x.to({"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}[kind])
        scale = given.abs().amax().float() / 448
        return given, None, (given.float() / scale).to(E4M3).double() * scale.double()
    scale = torch.tensor(0.03, device=x.device)
    numbers = (x / scale).to(E5M2 if kind == "e5m2" else E4M3)
    given = numbers.view(torch.uint8) if kind == "bytes" else numbers
    return given, scale, numbers.double() * scale.double()


@pytest.mark.parametrize("a_kind", ["f16", "bf16", "f32", "e4m3", "e5m2", "bytes"])
@pytest.mark.parametrize("b_kind", ["f16", "f32", "e4m3", "e5m2", "bytes"])
def test_every_pair_of_operands(a_kind: str, b_kind: str, ops: SimpleNamespace, device: torch.device) -> None:
    torch.manual_seed(5)
    a, a_scale, a_value = held(torch.randn(M, K, device=device), a_kind)
    b, b_scale, b_value = held(torch.randn(K, N, device=device), b_kind)
    y = ops.fp8_gemm(a, b, a_scale, b_scale, torch.float32)
    wanted, terms = a_value @ b_value, a_value.abs() @ b_value.abs()
    # Sums of K products in f32, and two factors behind them. A number on the edge may be quantised to its neighbour.
    off = (y.double() - wanted).abs()
    bound = terms * (K + 2) * 2.0**-23
    edge = 2.0**-3 * (a_value.abs().amax() * b_value.abs().amax())
    assert (off <= bound + (edge if None in (a_scale, b_scale) else 0)).all()
    assert (off > bound).float().mean() < 0.05


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_outputs(dtype: torch.dtype, ops: SimpleNamespace, device: torch.device) -> None:
    a, b = torch.randn(M, K, device=device), torch.randn(K, N, device=device)
    assert ops.fp8_gemm(a, b, output_dtype=dtype).dtype == dtype
    assert ops.fp8_gemm(a, b).dtype == torch.float16


STORED = ("e4m3", "e5m2", "bytes")


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("other", ["f16", "bf16", "f32", *STORED])
def test_the_scale_of_what_is_quantised_has_to_be_given(
    side: str, kind: str, other: str, ops: SimpleNamespace, device: torch.device
) -> None:
    """By its name or not at all: 1 would be taken in silence for what nobody said."""
    a, a_scale, _ = held(torch.randn(M, K, device=device), kind if side == "a" else other)
    b, b_scale, _ = held(torch.randn(K, N, device=device), kind if side == "b" else other)
    scales = {"a_scale": a_scale, "b_scale": b_scale, f"{side}_scale": None}
    with pytest.raises(ArgumentError, match=f"`{side}_scale` should be a tensor, but is None"):
        ops.fp8_gemm(a, b, **scales)
    del scales[f"{side}_scale"]
    with pytest.raises(ArgumentError, match=f"`{side}_scale` should be a tensor, but is None"):
        ops.fp8_gemm(a, b, **scales)


def test_an_overload_says_itself_what_it_needs(ops: SimpleNamespace, device: torch.device) -> None:
    """A tensor that it needs stands behind one that may be left out, as it does for the op."""
    a, (b, b_scale, _) = torch.randn(M, K, device=device), held(torch.randn(K, N, device=device), "e4m3")
    assert torch.equal(ops.fp8_gemm_stored_b(a, b, b_scale=b_scale), ops.fp8_gemm(a, b, None, b_scale))
    with pytest.raises(ArgumentError, match="`b_scale` should be a tensor, but is None"):
        ops.fp8_gemm_stored_b(a, b)


def test_operands_that_do_not_fit(ops: SimpleNamespace, device: torch.device) -> None:
    a, b = torch.randn(M, K, device=device), torch.randn(K + 1, N, device=device)
    with pytest.raises(ShapeMismatchError, match="`b` should have shape"):
        ops.fp8_gemm(a, b)
