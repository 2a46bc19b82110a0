"""Which of the library's two ways a product takes on a GPU: cuBLASLt with kept arguments, or a call of PyTorch.

Without a GPU: tensors of the CPU that say that they lie on one, and cuBLASLt as its manual defines it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fusec.runtime import Matrix, Product, cublas_lt
from fusec.runtime.cublas_lt import Gemm, Operand
from fusec.runtime.multiplier import Multiplier
from tests.runtime.emulated_cublas_lt import HANDLE, STREAM, EmulatedCublasLt

A, B, OUT = (Matrix(name, (3, 3), (3, 1)) for name in "abo")
GPU = SimpleNamespace(type="cuda", index=0)


def long(rows: int) -> Product:
    """A product of 2^20 times 2^15 multiplications a row, none of whose matrices is looked at."""
    return Product(
        Matrix("a", (rows, 2**20), (2**20, 1)),
        Matrix("b", (2**20, 2**15), (2**15, 1)),
        Matrix("o", (rows, 2**15), (2**15, 1)),
    )


PLAIN = Product(A, B, OUT)
ADDED = replace(PLAIN, addend=Matrix("c", (3, 3), (3, 1)))

PRODUCTS: dict[str, tuple[Product, str]] = {
    "plain": (PLAIN, "cublasLt"),
    "added": (ADDED, "cublasLt"),
    "added to a long one": (replace(long(2), addend=Matrix("c", (2, 2**15), (2**15, 1))), "cublasLt"),
    "short": (long(1), "cublasLt"),
    "long": (long(2), "PyTorch"),
    "8 bits": (replace(PLAIN, in_8_bits="f8"), "PyTorch"),
    "no sum": (Product(replace(A, shape=(3, 0)), replace(B, shape=(0, 3)), OUT), "PyTorch"),
    "no matrix": (Product(replace(A, strides=(5, 2)), B, OUT), "PyTorch"),
}


class OnGpu(torch.Tensor):
    """A tensor of the CPU that says otherwise."""

    device: Any = GPU  # type: ignore[assignment]


class Watched:
    """A multiplier of a product on a GPU, and which way it went at each launch."""

    def __init__(self, product: Product, lt: EmulatedCublasLt | None, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lt, self.by_pytorch = lt, list[tuple[int, ...]]()
        monkeypatch.setattr(cublas_lt, "library", lambda: lt)
        monkeypatch.setattr(cublas_lt, "handle", lambda: HANDLE)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda _: SimpleNamespace(cuda_stream=STREAM))
        if product.in_8_bits:
            monkeypatch.setattr(torch, "ones", lambda *_, **__: None)
        names = [each.name for each in (*product.read, product.out)]
        self.of = Multiplier(product, {f"{name}_ptr": place for place, name in enumerate(names)})
        monkeypatch.setattr(Multiplier, "_run", lambda _, addresses: self.by_pytorch.append(addresses))
        self.memory = [torch.randn(9) for _ in names]

    @property
    def values(self) -> list[torch.Tensor]:
        return [tensor.as_subclass(OnGpu) for tensor in self.memory]

    @property
    def places(self) -> list[int]:
        return [tensor.data_ptr() for tensor in self.memory]

    @property
    def computed(self) -> int:
        return len(self.lt.computed) if self.lt else 0


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_way_of_a_product(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    product, way = PRODUCTS[name]
    # Whether the library multiplies is seen from what it is asked: long matrices are not there.
    watched = Watched(product, EmulatedCublasLt(status=1 if max(product.out.shape) > 3 else 0), monkeypatch)
    asked: list[int] = []
    monkeypatch.setattr(cublas_lt.Gemm, "multiply", lambda own, stream, _: asked.append(stream) or True)
    assert watched.of.first(watched.values)
    watched.of.launch(STREAM, watched.places)
    assert asked == ([STREAM] * 2 if way == "cublasLt" else [])
    assert watched.by_pytorch == ([] if way == "cublasLt" else [tuple(watched.places)] * 2)


def test_it_computes_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(ADDED, EmulatedCublasLt(), monkeypatch)
    a, b, c, out = watched.memory
    for times in (1, 2):
        if times == 1:
            watched.of.first(watched.values)
        else:
            out.zero_()
            watched.of.launch(STREAM, watched.places)
        expected = a.view(3, 3).double() @ b.view(3, 3).double() + c.view(3, 3)
        assert torch.allclose(out.view(3, 3), expected.float())
        assert watched.computed == times
    assert not watched.by_pytorch


def test_without_the_library_pytorch_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(PLAIN, None, monkeypatch)
    assert watched.of.first(watched.values)
    assert watched.by_pytorch == [tuple(watched.places)]


def test_the_views_of_addresses_are_kept() -> None:
    multiplier = Multiplier(PLAIN, {"a_ptr": 0, "b_ptr": 1, "o_ptr": 2})
    tensors = [torch.randn(9) for _ in range(3)]
    multiplier.first(tensors)
    addresses = tuple(tensor.data_ptr() for tensor in tensors)
    found = multiplier.views(addresses)
    assert multiplier.views(addresses) is found
    assert [view.data_ptr() for view in found] == [*addresses]
    assert [(tuple(view.shape), view.stride()) for view in found] == [((3, 3), (3, 1))] * 3


@pytest.mark.parametrize(("batch", "rank"), [((), 2), ((1,), 2), ((2,), 3)])
def test_a_batch_of_one_is_none(batch: tuple[int, ...], rank: int) -> None:
    steps = (9,) * len(batch)
    matrices = [Matrix(name, (*batch, 3, 3), (*steps, 3, 1)) for name in "abo"]
    multiplier = Multiplier(Product(*matrices), {"a_ptr": 0, "b_ptr": 1, "o_ptr": 2})
    tensors = [torch.randn(18) for _ in range(3)]
    assert not multiplier.first(tensors)
    assert {view.dim() for view in multiplier.views(tuple(each.data_ptr() for each in tensors))} == {rank}


@pytest.mark.parametrize(("given", "out", "added", "expected"), [
    (torch.float16, torch.float16, False, None),
    (torch.float16, torch.float32, False, torch.float32),
    (torch.float64, torch.float64, False, None),
    (torch.bfloat16, torch.bfloat16, True, torch.float32),
    (torch.float32, torch.float32, True, None),
    (torch.float64, torch.float64, True, None),
])  # fmt: skip
@pytest.mark.parametrize("batch", [1, 2])
def test_what_pytorch_is_asked_for(
    given: torch.dtype, out: torch.dtype, added: bool, expected: Any, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dtype of the sum, where it is not that of the factors; addends are added before it is rounded."""
    monkeypatch.setattr(cublas_lt, "library", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: SimpleNamespace(cuda_stream=STREAM))
    asked: list[Any] = []

    def multiply(name: str) -> Callable[..., None]:
        def run(a: torch.Tensor, b: torch.Tensor, *, out: torch.Tensor, out_dtype: Any = None) -> None:
            asked.append((name, out_dtype))
            out.copy_(a.double() @ b.double())

        return run

    for name in ("mm", "bmm"):
        monkeypatch.setattr(torch, name, multiply(name))
    size = (batch, 3, 3)
    matrices = [replace(each, shape=size, strides=(9, 3, 1)) for each in (A, B, OUT)]
    product = Product(*matrices, addend=replace(matrices[0], name="c") if added else None)
    names = [each.name for each in (*product.read, product.out)]
    tensors = [torch.randint(-4, 5, (batch, 3, 3)).to(out if name in "co" else given) for name in names]
    own = Multiplier(product, {f"{name}_ptr": place for place, name in enumerate(names)})
    views = tuple(tensors if batch > 1 else (each[0] for each in tensors))
    monkeypatch.setattr(Multiplier, "views", lambda *_: views)
    assert own.first([tensor.as_subclass(OnGpu) for tensor in tensors])
    assert asked == [("bmm" if batch > 1 else "mm", expected)]
    a, b, *addends, result = views
    assert torch.equal(result, sum((each.double() for each in addends), a.double() @ b.double()).to(out))


def test_views_and_arguments_of_few_addresses_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product that is called with ever new tensors does not take ever more memory."""
    multiplier = Multiplier(PLAIN, {"a_ptr": 0, "b_ptr": 1, "o_ptr": 2})
    tensors = [torch.randn(9 + 4 * 1000) for _ in range(3)]
    multiplier.first(tensors)
    operands = [Operand(each, torch.float32, 0) for each in (A, B, OUT)]
    gemm = Gemm(EmulatedCublasLt(), HANDLE, operands, False, torch.device("cpu"))
    places = [tuple(tensor.data_ptr() + 16 * shift for tensor in tensors) for shift in range(1000)]
    kept = [multiplier.views(each) for each in places]
    assert (
        256 <= sum(multiplier.views(each) is known for each, known in zip(places[::-1], kept[::-1], strict=True)) <= 512
    )
    made = []
    monkeypatch.setattr(Gemm, "_arguments", lambda own, *given: made.append(given) or ((), None))
    monkeypatch.setattr(gemm, "_call", lambda *_: 0)
    for each in (*places, *places[::-1]):
        gemm.multiply(STREAM, each)
    assert 256 <= 2 * len(places) - len(made) <= 512
