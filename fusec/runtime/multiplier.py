"""How a product runs: by cuBLASLt with a kept algorithm, or by PyTorch on views of what lies at a call's addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from fusec.runtime import cublas_lt
from fusec.runtime.cache import BoundedCache
from fusec.runtime.eight_bits import OfEightBits
from fusec.runtime.launch import Value, picker
from fusec.runtime.precision import Settings, settings, under
from fusec.runtime.product import Matrix, Product, with_lengths

_LONG = 2**36
"""Multiplications from which on the host's time does not count: the product takes longer. PyTorch's call has been the
faster one there: 971 and 1012 us on an H200 for 8192x4096x11008, where they were equal for 2048x4096x4096."""

_MOST_BOUND = 512
"""Triples of addresses for which a product keeps its views."""


class Multiplier:
    """A product that knows where in a call's list of values its matrices stand, and keeps its views of them."""

    __slots__ = (
        "_adds",
        "_bound",
        "_device",
        "_dtypes",
        "_empty",
        "_gemm",
        "_is_long",
        "_matrices",
        "_multiply",
        "_of_8_bits",
        "_pick",
        "_rank",
        "_settings",
        "_tf32",
        "names",
    )

    def __init__(self, product: Product, places: Mapping[str, int]) -> None:
        """`places` gives the position of every pointer by its name in a kernel."""
        self._matrices = tuple(map(with_lengths, _unbatched((*product.read, product.out))))
        self.names = tuple(matrix.name for matrix in self._matrices)
        self._pick = picker([places[f"{name}_ptr"] for name in self.names])
        self._empty = 0 in product.a.shape
        self._rank = len(self._matrices[-1].shape)
        self._tf32 = product.tf32
        self._adds = product.addend is not None
        self._is_long = product.work >= _LONG and not self._adds
        self._of_8_bits = OfEightBits.of(product) if product.in_8_bits else None
        self._bound: BoundedCache[tuple[torch.Tensor, ...]] = BoundedCache(_MOST_BOUND)
        self._dtypes: tuple[torch.dtype, ...]
        self._device: torch.device
        self._settings: Settings
        self._multiply: Callable[..., object]
        self._gemm: cublas_lt.Gemm | None = None

    def first(self, values: Sequence[Value]) -> bool:
        """Multiply tensors. Whether `launch` can do it from now on, for tensors of these dtypes on this device.

        On the CPU it cannot: there the kernels around it run in the interpreter, on tensors.
        """
        tensors: tuple[Any, ...] = self._pick(values)
        self._device = tensors[-1].device
        self._dtypes = tuple(tensor.dtype for tensor in tensors)
        self._settings = settings(self._dtypes[0], self._tf32)
        if self._of_8_bits is not None:
            self._multiply = self._of_8_bits.multiplication(self._device)
        else:
            make = _addition if self._adds else _multiplication
            self._multiply = make(self._dtypes[0], self._dtypes[-1], self._device, self._rank)
        addresses = tuple(tensor.data_ptr() for tensor in tensors)
        if self._device.type != "cuda":
            self._run(addresses)
            return False
        by_pytorch = self._empty or self._is_long or self._of_8_bits is not None
        self._gemm = None if by_pytorch else self._kept(addresses)
        places = [value.data_ptr() if isinstance(value, torch.Tensor) else value for value in values]
        self.launch(torch.cuda.current_stream(self._device).cuda_stream, places)
        return True

    def launch(self, stream: int, values: Sequence[Any]) -> None:
        """Multiply what lies at the addresses, on the current stream, which is `stream`."""
        addresses = self._pick(values)
        if self._gemm is None or not self._gemm.multiply(stream, addresses):
            # PyTorch finds another way, or says what is wrong.
            self._run(addresses)

    def _kept(self, addresses: tuple[int, ...]) -> cublas_lt.Gemm | None:
        """The same by cuBLASLt, for matrices at these addresses or at others that are the same modulo 16."""
        library = cublas_lt.library()
        if library is None:
            return None
        known = zip(self._matrices, self._dtypes, addresses, strict=True)
        operands = [cublas_lt.Operand(*about) for about in known]
        try:
            return cublas_lt.Gemm(library, cublas_lt.handle(), operands, self._tf32, self._device)
        except cublas_lt.RefusedError:
            return None

    def views(self, addresses: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
        """The two factors, scales or an addend if there are any, and the result, at these addresses."""
        bound = self._bound.get(addresses)
        return bound or self._bound.put(addresses, self._bind(addresses))

    def _run(self, addresses: tuple[int, ...]) -> None:
        a, b, *others, out = self.views(addresses)
        if self._empty and not self._adds:
            out.zero_()
        else:
            under(self._settings, self._multiply, a, b, *others, out=out)

    def _bind(self, addresses: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
        # The views own nothing: the memory is that of a call, and may be somebody else's by the next one.
        with torch.inference_mode(False):
            return tuple(map(self._view, self._matrices, self._dtypes, addresses))

    def _view(self, matrix: Matrix, dtype: torch.dtype, address: int) -> torch.Tensor:
        view = torch.empty((0,), dtype=dtype, device=self._device)
        if 0 in matrix.shape:
            return view.view(matrix.shape)
        steps = zip(matrix.shape, matrix.strides, strict=True)
        span = 1 + sum((size - 1) * stride for size, stride in steps)
        start = address + matrix.offset * dtype.itemsize
        storage = torch._C._construct_storage_from_data_pointer(start, self._device, span * dtype.itemsize)
        return view.set_(storage, 0, matrix.shape, matrix.strides)


def _unbatched(matrices: tuple[Matrix, ...]) -> tuple[Matrix, ...]:
    """The same matrices without the batch axis, if there is one in the batch: the library is better at that."""
    if len(matrices[-1].shape) == 2 or matrices[-1].shape[0] != 1:
        return matrices
    return tuple(replace(matrix, shape=matrix.shape[1:], strides=matrix.strides[1:]) for matrix in matrices)


def _multiplication(given: torch.dtype, out: torch.dtype, device: torch.device, rank: int) -> Callable[..., object]:
    """The function of `a`, `b` and `out` that multiplies two matrices, or two batches of them."""
    multiply = torch.mm if rank == 2 else torch.bmm
    if device.type == "cpu":
        return partial(_multiply_exactly, multiply)
    return multiply if given == out else partial(multiply, out_dtype=out)


def _addition(given: torch.dtype, out: torch.dtype, device: torch.device, rank: int) -> Callable[..., object]:
    """The function of `a`, `b`, an addend and `out` that adds it to the product before this is rounded to `out`."""
    wide = torch.float64 if device.type == "cpu" or given == torch.float64 else torch.float32
    return partial(_multiply_and_add, wide, _multiplication(given, wide, device, rank))


def _multiply_and_add(
    wide: torch.dtype,
    multiply: Callable[..., object],
    a: torch.Tensor,
    b: torch.Tensor,
    addend: torch.Tensor,
    out: torch.Tensor,
) -> None:
    total = torch.empty(out.shape, dtype=wide, device=out.device)
    multiply(a, b, out=total)
    total += addend
    out.copy_(total)


def _multiply_exactly(
    multiply: Callable[..., torch.Tensor], a: torch.Tensor, b: torch.Tensor, out: torch.Tensor
) -> None:
    # On its way to 16 bits f64 passes through f32, as the accumulator of a tensor core does.
    out.copy_(multiply(a.double(), b.double()))
