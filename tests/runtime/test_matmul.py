"""Axes of any strides as matrices: what the library multiplies is the sum over the axes, or there is no product."""

from __future__ import annotations

import string
from typing import TypeAlias

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusec.runtime import H200, Plan, Product, matmul
from fusec.runtime.select.gemm import prefers_library

KINDS = {"batch": "abo", "rows": "ao", "columns": "bo", "inner": "ab"}
"""The axes of a product, and which of its three tensors have them."""


Drawn: TypeAlias = tuple[dict[str, list[int]], dict[str, torch.Tensor]]


@st.composite
def operands(draw: st.DrawFn) -> Drawn:
    """The sizes of the axes of each kind, and three tensors that have them, in an order and with gaps of their own."""
    sizes = {kind: draw(st.lists(st.integers(0, 3), max_size=2)) for kind in KINDS}
    tensors = {}
    for name in "abo":
        shape = [size for kind, has in KINDS.items() if name in has for size in sizes[kind]]
        held = [size + draw(st.integers(0, 1)) for size in shape]
        order = list(range(len(shape))) if draw(st.booleans()) else draw(st.permutations(range(len(shape))))
        whole = torch.randn([held[dim] for dim in order], dtype=torch.float64)
        back = whole.permute([order.index(dim) for dim in range(len(shape))])
        tensors[name] = back[tuple(slice(size) for size in shape)]
    return sizes, tensors


def product_of(sizes: dict[str, list[int]], tensors: dict[str, torch.Tensor]) -> Product | None:
    steps = {name: iter(tensor.stride()) for name, tensor in tensors.items()}
    axes = {
        kind: tuple((size, *(next(steps[name]) for name in has)) for size in sizes[kind]) for kind, has in KINDS.items()
    }
    offsets = tuple(tensor.storage_offset() for tensor in tensors.values())
    return matmul("a", "b", "o", **axes, offsets=(offsets[0], offsets[1], offsets[2]))


def _moved(tensors: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """The same views of the same memory, on a device."""
    return {name: _whole(each).to(device).as_strided(each.shape, each.stride(), 0) for name, each in tensors.items()}


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor._base is None else tensor._base


@settings(deadline=None)
@given(operands())
def test_the_product_is_the_sum_over_the_inner_axes(device: torch.device, drawn: Drawn) -> None:
    sizes, tensors = drawn[0], _moved(drawn[1], device)
    product = product_of(sizes, tensors)
    if product is None:
        return
    letters = iter(string.ascii_letters)
    named = {kind: "".join(next(letters) for _ in sizes[kind]) for kind in KINDS}
    subscripts = {name: "".join(named[kind] for kind, has in KINDS.items() if name in has) for name in "abo"}
    plan = Plan("multiply", device, tensors=("a", "b", "o"), outputs={}, launches=(product,))
    plan(tuple(map(_whole, tensors.values())))
    exact = torch.einsum(f"{subscripts['a']},{subscripts['b']}->{subscripts['o']}", tensors["a"], tensors["b"])
    torch.testing.assert_close(tensors["o"], exact, rtol=1e-12, atol=1e-12)


def test_contiguous_operands_always_have_a_product() -> None:
    a, b, o = torch.empty(2, 3, 4, 5), torch.empty(6, 7, 5), torch.empty(2, 3, 4, 6, 7)
    sizes = {"batch": [], "rows": [2, 3, 4], "columns": [6, 7], "inner": [5]}
    product = product_of(sizes, {"a": a, "b": b, "o": o})
    assert product is not None
    assert product.out.shape == (1, 24, 42)
    assert product.work == 24 * 42 * 5


def test_rows_that_lie_apart_become_a_batch() -> None:
    a, b, o = torch.empty(2, 9, 5)[:, :3], torch.empty(5, 4), torch.empty(2, 3, 4)
    sizes = {"batch": [], "rows": [2, 3], "columns": [4], "inner": [5]}
    tensors = {"a": a, "b": b.T, "o": o}
    product = product_of(sizes, tensors)
    assert product is not None
    assert product.out.shape == (2, 3, 4)
    assert product.b.strides[0] == 0
    tensors["a"] = torch.empty(2, 3, 7, 5)[:, :, :4]
    assert product_of({**sizes, "rows": [2, 3, 4]}, {**tensors, "o": torch.empty(2, 3, 4, 4)}) is not None
    tensors["a"] = torch.empty(2, 5, 7, 9, 5)[:, :3, :4, :2]
    assert product_of({**sizes, "rows": [2, 3, 4, 2]}, {**tensors, "o": torch.empty(2, 3, 4, 2, 4)}) is None


def test_the_library_takes_matrices_of_some_size() -> None:
    def square(rows: int, size: int) -> Product | None:
        return matmul("a", "b", "o", rows=((rows, size, size),), columns=((size, size, 1),), inner=((size, 1, 1),))

    def preferred(*products: Product | None, tiled: bool = True) -> bool:
        return prefers_library(H200, products, tiled, several=False)

    assert preferred(square(4096, 4096))
    assert not preferred(square(1, 4096))
    assert not preferred(square(16, 64))
    assert preferred(square(16, 64), tiled=False)
    assert not preferred(square(4096, 4096), None)
