"""Small Triton ops written by hand in the manner of generated ones: what the checkers of fusec.testing are tried on."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fusec.runtime import allocate
from fusec.runtime.layout import contiguous


@triton.jit
def copy_kernel(x_ptr, y_ptr, rows, columns, x_row, x_column, MASKED: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    if MASKED:
        mask = place < columns
        x = tl.load(x_ptr + row * x_row + place * x_column, mask=mask)
        tl.store(y_ptr + row * columns + place, x, mask=mask)
    else:
        x = tl.load(x_ptr + row * x_row + place * x_column)
        tl.store(y_ptr + row * columns + place, x)


@triton.jit
def narrow_kernel(x_ptr, y_ptr, x_row):
    """Row offsets in 32 bits: wrong as soon as a row begins beyond 2**31 elements."""
    row = tl.program_id(0)
    tl.store(y_ptr + row, tl.load(x_ptr + row * x_row))


@triton.jit
def wide_kernel(x_ptr, y_ptr, x_row):
    row = tl.program_id(0).to(tl.int64)
    tl.store(y_ptr + row, tl.load(x_ptr + row * x_row))


@triton.jit
def repeated_store_kernel(x_ptr, y_ptr, BLOCK: tl.constexpr):
    """Its two stores meet at the last element."""
    place = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + place)
    tl.store(y_ptr + place, x)
    tl.store(y_ptr + place + BLOCK - 1, x, mask=place < 1)


@triton.jit
def shared_store_kernel(x_ptr, y_ptr):
    tl.store(y_ptr + tl.program_id(0) // 2, tl.load(x_ptr + tl.program_id(0)))


@triton.jit
def count_kernel(x_ptr, y_ptr):
    tl.atomic_add(y_ptr, tl.load(x_ptr + tl.program_id(0)))


@triton.jit
def increment_kernel(x_ptr, y_ptr):
    place = x_ptr + tl.program_id(0)
    tl.store(place, tl.load(place) + 1)
    tl.store(y_ptr + tl.program_id(0), 0.0)


@triton.jit
def chain_kernel(x_ptr, y_ptr, count):
    """Reads what the program before has written: right in one order of programs only."""
    row = tl.program_id(0)
    before = tl.load(y_ptr + row - 1, mask=row > 0, other=0.0)
    tl.store(y_ptr + row, before + tl.load(x_ptr + row))


def fresh(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """An output of this shape, allocated as generated code does it."""
    return allocate.empty(shape, contiguous(shape), like.dtype, like.device)


def copy(x: torch.Tensor, *, masked: bool = True, block: int = 16, rows: int | None = None) -> torch.Tensor:
    y = fresh(tuple(x.shape), x)
    grid = (x.shape[0] if rows is None else rows,)
    copy_kernel[grid](x, y, *x.shape, *x.stride(), MASKED=masked, BLOCK=block)
    return y
