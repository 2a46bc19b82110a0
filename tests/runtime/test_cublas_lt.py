"""Direct calls of cuBLASLt: what they pass means the product, by the library's own definition, on any matrices."""

from __future__ import annotations

import gc
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusec.runtime import Matrix, Product
from fusec.runtime.cublas_lt import Gemm, Operand, RefusedError
from fusec.runtime.multiplier import Multiplier
from fusec.runtime.product import with_lengths
from tests.runtime.emulated_cublas_lt import HANDLE, STREAM, EmulatedCublasLt

CPU = torch.device("cpu")
NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def whole_numbers(count: int) -> torch.Tensor:
    """Sums of their products are exact in every type, whatever is added first."""
    return torch.randint(-4, 5, (count,))


@st.composite
def drawn(draw: st.DrawFn, shape: tuple[int, ...], dtype: torch.dtype, shared: bool) -> tuple[torch.Tensor, Matrix]:
    """A buffer and matrices in it: row- or column-major, with gaps, an offset, and a batch that may be `shared`."""
    *batch, rows, columns = shape
    by_rows = draw(st.booleans())
    length, lines = (columns, rows) if by_rows else (rows, columns)
    leading = length + draw(st.integers(0, 2))
    step = draw(st.sampled_from([0, leading * lines] if shared else [leading * lines]))
    offset = draw(st.integers(0, 3))
    whole = whole_numbers(offset + leading * lines * max([1, *batch])).to(dtype)
    strides = (leading, 1) if by_rows else (1, leading)
    return whole, Matrix("m", shape, (*([step] if batch else []), *strides), offset)


@st.composite
def added(
    draw: st.DrawFn, kind: str, shape: tuple[int, ...], dtype: torch.dtype, by_rows: bool
) -> tuple[torch.Tensor, Matrix]:
    """A matrix that lies as the result does, or one gapless line for all of it, or of a matrix."""
    *batch, rows, columns = shape
    length, lines = (columns, rows) if by_rows else (rows, columns)
    # Elements one behind another may be a row or a column.
    leading, offset = max(2, length) + draw(st.integers(0, 2)), draw(st.integers(0, 3))
    if kind == "vector":
        step = draw(st.sampled_from([0, leading])) if batch else 0
        strides = (*([step] if batch else []), *((0, 1) if by_rows else (1, 0)))
        return whole_numbers(offset + leading * max([1, *batch])).to(dtype), Matrix("m", shape, strides, offset)
    step = draw(st.sampled_from([0, leading * lines])) if batch else 0
    strides = (*([step] if batch else []), *((leading, 1) if by_rows else (1, leading)))
    return whole_numbers(offset + leading * lines * max([1, *batch])).to(dtype), Matrix("m", shape, strides, offset)


def view(tensor: torch.Tensor, matrix: Matrix) -> torch.Tensor:
    return tensor.as_strided(matrix.shape, matrix.strides, matrix.offset)


def made(lt: EmulatedCublasLt, *parts: tuple[torch.Tensor, Matrix], tf32: bool = False) -> Gemm:
    operands = [Operand(with_lengths(matrix), tensor.dtype, tensor.data_ptr()) for tensor, matrix in parts]
    return Gemm(lt, HANDLE, operands, tf32, CPU)


def addresses(parts: list[tuple[torch.Tensor, Matrix]]) -> tuple[int, ...]:
    return tuple(tensor.data_ptr() for tensor, _ in parts)


def square(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, Matrix]:
    return torch.randn(3, 3).to(dtype), Matrix("m", (3, 3), (3, 1))


@settings(deadline=None)
@given(st.data())
def test_the_arguments_mean_the_product(data: st.DataObject) -> None:
    batch = data.draw(st.sampled_from([(), (1,), (3,)]))
    rows, inner, columns = (data.draw(st.integers(1, 5)) for _ in range(3))
    dtype = data.draw(st.sampled_from(NUMBERS))
    result = data.draw(st.sampled_from([dtype, torch.float32])) if dtype.itemsize == 2 else dtype
    parts = [
        data.draw(drawn((*batch, rows, inner), dtype, True)),
        data.draw(drawn((*batch, inner, columns), dtype, True)),
    ]
    out, of_out = data.draw(drawn((*batch, rows, columns), result, False))
    by_rows = Operand(with_lengths(of_out), result, 0).transposed
    total = view(*parts[0]).double() @ view(*parts[1]).double()
    kind = data.draw(st.sampled_from(["none", "matrix", "vector"]))
    if kind != "none":
        parts.append(data.draw(added(kind, (*batch, rows, columns), result, by_rows)))
        total += view(*parts[-1])
    expected = out.clone()
    view(expected, of_out).copy_(total)
    lt = EmulatedCublasLt(workspace=data.draw(st.sampled_from([0, 100])))
    gemm = made(lt, *parts, (out, of_out))
    for _ in range(2):
        assert gemm.multiply(STREAM, addresses([*parts, (out, of_out)])), lt.faults
        assert torch.equal(out, expected)  # and nothing else was written
        view(out, of_out).fill_(float("nan"))


def test_other_tensors_that_look_the_same() -> None:
    lt = EmulatedCublasLt()
    gemm = made(lt, *[square()] * 3)
    for _ in range(3):
        (a, _), (b, _), (out, _) = (square() for _ in range(3))
        assert gemm.multiply(STREAM, (a.data_ptr(), b.data_ptr(), out.data_ptr())), lt.faults
        assert torch.equal(out, (a.double() @ b.double()).float())


@pytest.mark.parametrize(("dtype", "tf32", "compute"), [
    (torch.float16, False, 68),
    (torch.bfloat16, True, 68),
    (torch.float32, False, 68),
    (torch.float32, True, 77),
    (torch.float64, True, 70),
])  # fmt: skip
def test_the_precision_of_the_sum(dtype: torch.dtype, tf32: bool, compute: int) -> None:
    lt = EmulatedCublasLt()
    parts = [square(dtype) for _ in range(3)]
    assert made(lt, *parts, tf32=tf32).multiply(STREAM, addresses(parts)), lt.faults
    assert lt.computed == [compute]
    assert lt.wanted[3] == 2  # parts of a sum are added in the type of the sum, and not in place


@pytest.mark.parametrize(("shift", "offset", "step", "alignment"), [
    (0, 0, 0, 16), (0, 8, 0, 16), (0, 4, 0, 8), (0, 1, 0, 2), (1, 0, 0, 2), (4, 4, 0, 16), (0, 0, 12, 8), (0, 0, 9, 2),
])  # fmt: skip
def test_what_the_library_may_rely_on(shift: int, offset: int, step: int, alignment: int) -> None:
    lt = EmulatedCublasLt()
    memory = torch.randn(100).half()
    memory = memory[-memory.data_ptr() % 16 // 2 :][shift:]
    matrix = Matrix("m", (2, 3, 3) if step else (3, 3), (step, 3, 1) if step else (3, 1), offset)
    plain = replace(matrix, offset=0, strides=(16, 3, 1) if step else (3, 1))
    gemm = made(lt, (memory, matrix), (memory[-shift % 8 :], plain), (memory[-shift % 8 :], plain))
    assert lt.wanted[6] == alignment  # the second factor is a, for the result is row-major
    assert (lt.wanted[5], lt.wanted[7], lt.wanted[8]) == (16, 16, 16)
    assert gemm.multiply(STREAM, (memory.data_ptr(), *[memory[-shift % 8 :].data_ptr()] * 2)), lt.faults


@pytest.mark.parametrize("strides", [(6, 2), (0, 1), (1, 2), (2, 1), (1, 2**31)], ids=str)
@pytest.mark.parametrize("place", range(3))
def test_matrices_that_do_not_fit(place: int, strides: tuple[int, int]) -> None:
    parts = [square() for _ in range(3)]
    parts[place] = (parts[place][0], Matrix("m", (3, 3), strides))
    with pytest.raises(RefusedError):
        made(EmulatedCublasLt(), *parts)


@pytest.mark.parametrize("addends", [
    [(3, 1), (3, 1)], [(0, 1), (0, 1)], [(3, 1), (0, 1)], [(1, 3)], [(0, 2)], [(1, 0)], [(0, 0)], [(2, 1)],
], ids=str)  # fmt: skip
def test_addends_that_do_not_fit(addends: list[tuple[int, int]]) -> None:
    parts = [(torch.randn(9), Matrix("m", (3, 3), strides)) for strides in addends]
    with pytest.raises(RefusedError):
        made(EmulatedCublasLt(), square(), square(), *parts, square())


def test_an_addend_of_another_type() -> None:
    with pytest.raises(RefusedError):
        made(EmulatedCublasLt(), square(), square(), square(torch.bfloat16), square())


def test_what_the_library_refuses() -> None:
    with pytest.raises(RefusedError):
        made(EmulatedCublasLt(), *[square(torch.int8)] * 3)
    with pytest.raises(RefusedError):
        made(EmulatedCublasLt(found=0), *[square()] * 3)
    parts = [square() for _ in range(3)]
    assert not made(EmulatedCublasLt(status=15), *parts).multiply(STREAM, addresses(parts))


def test_descriptors_live_as_long_as_the_product() -> None:
    lt = EmulatedCublasLt()
    vector = torch.randn(9), Matrix("m", (3, 3), (0, 1))
    parts = [square(), square(), vector, square()]
    gemm = made(lt, *parts)
    kinds = ["MatmulDesc", *["MatrixLayout"] * 4]
    assert [about["kind"] for about in lt.objects.values()] == kinds
    for shift in (0, 16):
        a, b, bias, out = addresses(parts)
        assert gemm.multiply(STREAM, (a, b, bias + shift, out)), lt.faults
    assert [about["kind"] for about in lt.objects.values()] == kinds
    del gemm
    gc.collect()
    assert not lt.objects


def test_threads_share_nothing() -> None:
    lt = EmulatedCublasLt(workspace=100)
    gemm = made(lt, *[square()] * 3)
    wrong: list[Any] = []

    def work() -> None:
        for _ in range(50):
            (a, _), (b, _), (out, _) = (square() for _ in range(3))
            if not gemm.multiply(STREAM, (a.data_ptr(), b.data_ptr(), out.data_ptr())):
                wrong.append(lt.faults)
            if not torch.equal(out, (a.double() @ b.double()).float()):
                wrong.append(out)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("able", [False, True])
def test_what_the_library_could_not_multiply_pytorch_does(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [torch.randn(3, 3) for _ in range(3)]
    matrices = [Matrix(name, (3, 3), (3, 1)) for name in "abo"]
    a, b, out = matrices
    multiplier = Multiplier(Product(a, b, out), {f"{name}_ptr": place for place, name in enumerate("abo")})
    multiplier.first(tensors)
    tensors[2].zero_()
    seen = []

    def multiply(stream: int, addresses: tuple[int, ...]) -> bool:
        seen.append((stream, addresses))
        return able

    monkeypatch.setattr(multiplier, "_gemm", SimpleNamespace(multiply=multiply))
    values = [tensor.data_ptr() for tensor in tensors]
    multiplier.launch(STREAM, values)
    assert seen == [(STREAM, tuple(values))]
    assert torch.equal(tensors[2], torch.zeros(3, 3) if able else (tensors[0].double() @ tensors[1].double()).float())
