"""Sizes: extents as tiles see them, and the integer types and widths of accesses that follow from a call's layout."""

from __future__ import annotations

from math import gcd, prod
from typing import Any

import torch
import triton

from fusec.runtime.invariant import counted
from fusec.runtime.plan import Buffer
from fusec.runtime.select.chip import Chip

BEYOND = 2**26
"""More than a launch counts beyond the last element: the rest of a tile, and a step of all programs of a loop."""


def padded(size: int) -> int:
    """The least power of two that is not below `size`; 1 for an empty axis."""
    return 1 << max(size - 1, 0).bit_length()


def power_within(size: int) -> int:
    """The largest power of two that is not above `size`; 1 below that."""
    return 1 << max(size, 1).bit_length() - 1


def cdiv(size: int, block: int) -> int:
    """How many blocks cover `size`."""
    return -(-size // block)


def is_few(chip: Chip, rows: int) -> bool:
    """Whether so few rows leave the chip idle, so that registers are free and only the time of one row counts."""
    return counted(rows) <= chip.few_rows // 2


def index_type(*tensors: torch.Tensor | Buffer | None) -> Any:
    """The integer type that holds every element offset, and what is counted beyond the last one.

    It has 32 bits unless some tensor spans about as much as these hold.
    """
    long = any(_span(tensor) >= 2**31 - BEYOND for tensor in tensors)
    return triton.language.int64 if long else triton.language.int32


def vec_width(*sizes: int) -> int:
    """A power of two that divides where rows begin and end, for accesses of several elements: 8 at most.

    It is 1 if no such number is worth telling a kernel: Triton finds out by itself about multiples of 16.
    """
    common = gcd(*sizes)
    return 1 if common % 16 == 0 else gcd(common, 8)


def together(*sizes: int) -> int:
    """How many neighbours one access may have where rows begin and end at multiples of these: 16 at most."""
    return gcd(16, *sizes)


def is_flat(*tensors: torch.Tensor | None) -> bool:
    """Whether every tensor is one gapless run of memory in row-major order, walked by its last stride."""
    # An axis of one element may have any stride, also where the tensor counts as contiguous.
    return all(tensor is None or (tensor.is_contiguous() and set(tensor.stride()[-1:]) <= {1}) for tensor in tensors)


def _span(tensor: torch.Tensor | Buffer | None) -> int:
    if tensor is None:
        return 0
    if isinstance(tensor, Buffer):
        return prod(tensor.shape)
    offsets = sum((size - 1) * abs(stride) for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size)
    # A broadcast axis is counted along, too.
    return max(offsets, *(size - 1 for size in tensor.shape), 0)
