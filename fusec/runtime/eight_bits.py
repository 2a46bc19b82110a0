"""Products of 8 bits by the vendor's library, as PyTorch calls it: which it takes, and how they are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from fusec.runtime.product import Matrix, Product

_ALIGNED = 16
"""What extents, strides and addresses are multiples of, in elements of one byte."""

_MOST_ROWS_OF_INT_MM = 16
"""`torch._int_mm` takes more rows than this."""


def takes(product: Product, dtypes: tuple[torch.dtype, ...], in_every_type: bool) -> bool:
    """Whether the library multiplies operands of 8 bits that lie so; `dtypes` are those of a, b and out.

    Both operands lie along what is summed up, and the result row by row. Products with scales of rows may be
    `in_every_type`, or else of bf16.
    """
    a, b, out = product.a, product.b, product.out
    count, rows, inner = a.shape
    columns = out.shape[-1]
    lies = a.strides[2] == 1 and b.strides[1] == 1 and (out.strides[2] == 1 or columns == 1)
    steps = (*((a.strides[1],) if rows > 1 else ()), *((b.strides[2],) if columns > 1 else ()), a.offset, b.offset)
    if count != 1 or not lies or any(each % _ALIGNED for each in (inner, columns, *steps)) or not inner:
        return False
    if rows > 1 and out.strides[1] != columns:
        return False
    if product.in_8_bits == "i8":
        return rows > _MOST_ROWS_OF_INT_MM
    sizes = [(max(scale.shape), (rows, columns)[place]) for place, scale in enumerate(product.scales) if scale]
    if any(size > 1 for size, _ in sizes):
        if any(size != wanted for size, wanted in sizes):
            return False
        is_written = in_every_type or dtypes[2] == torch.bfloat16
        return is_written and dtypes[0] == dtypes[1] == torch.float8_e4m3fn
    return torch.float8_e4m3fn in dtypes[:2]


@dataclass(frozen=True, slots=True)
class OfEightBits:
    """A product as the library is asked for it: of integers, or with `fast` sums, and scales of these shapes.

    Where one of the two `scales` is not there, the library is given ones.
    """

    whole: bool
    fast: bool
    scales: tuple[bool, bool]
    shapes: tuple[tuple[int, int], tuple[int, int]]

    @staticmethod
    def of(product: Product) -> OfEightBits:
        """What is asked for a product."""
        given = tuple(scale is not None for scale in product.scales)
        rows, columns = product.out.shape[-2:]
        vectors = any(scale is not None and scale.shape[-2:] != (1, 1) for scale in product.scales)
        shapes = ((rows, 1), (1, columns)) if vectors else ((1, 1), (1, 1))
        return OfEightBits(product.in_8_bits == "i8", product.in_8_bits == "fast", (given[0], given[1]), shapes)

    def multiplication(self, device: torch.device) -> Callable[..., object]:
        """The function of `a`, `b`, the scales that there are, and `out`."""
        if device.type == "cpu":
            return _exactly
        if self.whole:
            return _whole
        ones = tuple(
            None if given else torch.ones(shape, dtype=torch.float32, device=device)
            for given, shape in zip(self.scales, self.shapes, strict=True)
        )
        return partial(_scaled, ones, self.fast)


def _exactly(a: Tensor, b: Tensor, *scales: Tensor, out: Tensor) -> None:
    product = a.double() @ b.double()
    for scale in scales:
        product = product * scale.double()
    out.copy_(product)


def _whole(a: Tensor, b: Tensor, out: Tensor) -> None:
    torch._int_mm(a, b, out=out)


def _scaled(ones: tuple[Tensor | None, ...], fast: bool, a: Tensor, b: Tensor, *scales: Tensor, out: Tensor) -> None:
    left = iter(scales)
    rows, columns = (next(left) if one is None else one for one in ones)
    torch._scaled_mm(a, b, rows, columns, out_dtype=out.dtype, use_fast_accum=fast, out=out)


def scale(name: str, offset: int, place: int, axes: list[tuple[int, tuple[int, ...]]]) -> Matrix | None:
    """A scale of rows (`place` 0) or columns (1) as a matrix, of its joined axes; None where it lies in strides."""
    if len(axes) > 1:
        return None
    size, steps = axes[0] if axes else (1, (1,))
    if size > 1 and steps != (1,):
        return None
    return Matrix(name, (1, size, 1) if place == 0 else (1, 1, size), (0, 1, 1), offset)
