"""Direct calls of cuBLAS: what they pass means the product, by cuBLAS's own definition, on any matrices."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusec.runtime import DeviceError, Matrix, Plan, Product, cublas

DTYPES = {0: torch.float32, 1: torch.float64, 2: torch.float16, 14: torch.bfloat16}
REDUCED_PRECISION_IS_DISALLOWED = 16


def columns(address: int, kind: int, leading: int, rows: int, columns: int) -> torch.Tensor:
    """The matrix of `columns` contiguous columns at an address, `leading` elements apart: cuBLAS's own layout."""
    assert leading >= max(1, rows)
    dtype = DTYPES[kind]
    size = dtype.itemsize * max(0, (columns - 1) * leading + rows)
    memory = torch.frombuffer((ctypes.c_char * size).from_address(address), dtype=dtype)
    return memory.as_strided((rows, columns), (1, leading))


class Reference:
    """cuBLAS as its manual defines it, on the memory of the CPU."""

    def __init__(self, status: int = 0) -> None:
        self.status = status
        self.mode = 0
        self.computed: list[int] = []

    def cublasSetMathMode(self, handle: Any, mode: Any) -> int:
        self.mode = mode.value
        return 0

    def cublasGemmEx(self, handle: Any, *given: Any) -> int:
        (op_a, op_b, m, n, k), alpha, a, b, beta = given[:5], given[5], given[6:9], given[9:12], given[12]
        out, (compute, _) = given[13:16], given[16:]
        self._multiply(op_a, op_b, m, n, k, alpha, a, b, beta, out, compute, 0, (0, 0, 0))
        return self.status

    def cublasGemmStridedBatchedEx(self, handle: Any, *given: Any) -> int:
        (op_a, op_b, m, n, k), alpha, a, b, beta = given[:5], given[5], given[6:10], given[10:14], given[14]
        out, (count, compute, _) = given[15:19], given[19:]
        steps = tuple(operand[3].value for operand in (a, b, out))
        for number in range(count.value):
            self._multiply(op_a, op_b, m, n, k, alpha, a[:3], b[:3], beta, out[:3], compute, number, steps)
        return self.status

    def _multiply(
        self,
        op_a: Any,
        op_b: Any,
        m: Any,
        n: Any,
        k: Any,
        alpha: Any,
        a: Any,
        b: Any,
        beta: Any,
        out: Any,
        compute: Any,
        number: int,
        steps: tuple[int, ...],
    ) -> None:
        assert self.mode == REDUCED_PRECISION_IS_DISALLOWED
        scalar = ctypes.c_double if compute.value == 70 else ctypes.c_float
        assert [ctypes.cast(each, ctypes.POINTER(scalar))[0] for each in (alpha, beta)] == [1, 0]
        shapes = [(m, k), (k, n), (m, n)]
        turned = [op_a.value, op_b.value, 0]
        seen = []
        for (address, kind, leading), (rows, across), flip, step in zip(
            (a, b, out), shapes, turned, steps, strict=True
        ):
            size = (across.value, rows.value) if flip else (rows.value, across.value)
            start = address.value + number * step * DTYPES[kind.value].itemsize
            view = columns(start, kind.value, leading.value, *size)
            seen.append(view.mT if flip else view)
        seen[2].copy_(seen[0].double() @ seen[1].double())
        self.computed.append(compute.value)


@st.composite
def drawn(draw: st.DrawFn, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[torch.Tensor, Matrix]:
    """A buffer and a matrix in it: row- or column-major, with gaps, an offset, and a batch that may be shared."""
    *batch, rows, across = shape
    inner, outer = (rows, across) if draw(st.booleans()) else (across, rows)
    leading = inner + draw(st.integers(0, 2))
    step = draw(st.sampled_from([0, leading * outer])) if batch else 0
    offset = draw(st.integers(0, 3))
    whole = torch.randn(offset + leading * outer * max([1, *batch])).to(dtype)
    strides = (1, leading) if inner == rows and (rows != across or draw(st.booleans())) else (leading, 1)
    return whole, Matrix("a", shape, (*([step] if batch else []), *strides), offset)


def view(tensor: torch.Tensor, matrix: Matrix) -> torch.Tensor:
    return tensor.as_strided(matrix.shape, matrix.strides, matrix.offset)


@settings(deadline=None)
@given(st.data())
def test_the_arguments_mean_the_product(data: st.DataObject) -> None:
    batch = data.draw(st.sampled_from([(), (1,), (3,)]))
    rows, inner, across = (data.draw(st.integers(1, 5)) for _ in range(3))
    dtype = data.draw(st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
    result = data.draw(st.sampled_from([dtype, torch.float32])) if dtype.itemsize == 2 else dtype
    a, of_a = data.draw(drawn((*batch, rows, inner), dtype))
    b, of_b = data.draw(drawn((*batch, inner, across), dtype))
    out, of_out = data.draw(drawn((*batch, rows, across), result))
    if batch:
        of_out = Matrix("out", of_out.shape, (len(out) // batch[0], *of_out.strides[1:]), of_out.offset)
        out = torch.randn(len(out) * batch[0]).to(result)
    before = out.clone()
    reference = Reference()
    gemm = cublas.gemm(reference, (of_a, of_b, of_out), (dtype, dtype, result), data.draw(st.booleans()))
    assert gemm is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cublas, "_handle", lambda: 1)
        gemm(a.data_ptr(), b.data_ptr(), out.data_ptr())
    view(before, of_out).copy_(view(a, of_a).double() @ view(b, of_b).double())
    assert torch.equal(out, before)  # and nothing else was written


@pytest.mark.parametrize(("dtype", "tf32", "compute"), [
    (torch.float16, False, 68),
    (torch.float16, True, 68),
    (torch.float32, False, 68),
    (torch.float32, True, 77),
    (torch.float64, True, 70),
])  # fmt: skip
def test_the_precision_of_the_sum(
    dtype: torch.dtype, tf32: bool, compute: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cublas, "_handle", lambda: 1)
    tensors = [torch.randn(2, 2).to(dtype) for _ in range(3)]
    reference = Reference()
    gemm = cublas.gemm(reference, [Matrix(name, (2, 2), (2, 1)) for name in "abo"], [dtype] * 3, tf32)
    assert gemm is not None
    gemm(*(tensor.data_ptr() for tensor in tensors))
    assert reference.computed == [compute]


@pytest.mark.parametrize("strides", [(4, 2), (0, 1), (1, 2), (1, 2**31)], ids=str)
def test_what_cublas_cannot_take_goes_another_way(strides: tuple[int, int]) -> None:
    matrices = [Matrix("a", (3, 3), strides), Matrix("b", (3, 3), (3, 1)), Matrix("o", (3, 3), (3, 1))]
    assert cublas.gemm(Reference(), matrices, [torch.float32] * 3, False) is None
    assert cublas.gemm(Reference(), matrices[1:2] + matrices[:1] + matrices[2:], [torch.float32] * 3, False) is None
    assert cublas.gemm(Reference(), matrices[1:] + matrices[:1], [torch.float32] * 3, False) is None
    assert cublas.gemm(Reference(), matrices[1:] + matrices[1:2], [torch.int8] * 3, False) is None


def test_a_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cublas, "_handle", lambda: 1)
    tensors = [torch.randn(2, 2) for _ in range(3)]
    matrices = [Matrix(name, (2, 2), (2, 1)) for name in "abo"]
    gemm = cublas.gemm(Reference(status=13), matrices, [torch.float32] * 3, False)
    assert gemm is not None
    with pytest.raises(DeviceError, match="status 13"):
        gemm(*(tensor.data_ptr() for tensor in tensors))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("batch", [(), (3,)], ids=str)
def test_on_a_gpu_its_results_are_those_of_pytorch(batch: tuple[int, ...], dtype: torch.dtype) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    assert cublas.library() is not None
    a, b = torch.randn(*batch, 65, 200), torch.randn(*batch, 136, 200)
    a, b = a.to("cuda", dtype), b.to("cuda", dtype).mT
    matrices = [Matrix(name, tuple(each.shape), each.stride()) for name, each in (("a", a), ("b", b), ("o", a @ b))]
    out = torch.empty(matrices[2].shape, dtype=dtype, device="cuda")
    plan = Plan("multiply", out.device, tensors=("a", "b", "o"), outputs={}, launches=(Product(*matrices),))
    for _ in range(2):
        plan((a, b, out.fill_(float("nan"))))
        error = (out.double() - a.double() @ b.double()).abs().max()
        assert error <= 2 * ((a @ b).double() - a.double() @ b.double()).abs().max() + 1e-6
