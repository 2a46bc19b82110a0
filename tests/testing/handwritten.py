"""Small Triton ops written by hand in the manner of generated ones: what the checkers of fusec.testing are tried on."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from fusec.runtime import allocate
from fusec.runtime.layout import contiguous
from fusec.runtime.tensor_map import TmaView, tma_view


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
def vectors_kernel(x_ptr, y_ptr, size, reached, BLOCK: tl.constexpr, VECTOR: tl.constexpr, REPLACED: tl.constexpr):
    """Loads what lies in front of `reached`, and stores so many elements as there are."""
    place = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + place, mask=place < reached, other=0.0)
    if REPLACED:
        x = tl.where(place < size, x, 0.0)
    total = tl.sum(x, 0)
    tl.store(y_ptr + place, x + total, mask=place < size)


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
def lane_store_kernel(x_ptr, y_ptr, size, BLOCK: tl.constexpr):
    """A program for every BLOCK elements, and for more of them than there are if so many are launched."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + place, tl.load(x_ptr + place, mask=place < size), mask=place < size)


@triton.jit
def count_kernel(x_ptr, y_ptr):
    tl.atomic_add(y_ptr, tl.load(x_ptr + tl.program_id(0)))


@triton.jit
def increment_kernel(x_ptr, y_ptr):
    place = x_ptr + tl.program_id(0)
    tl.store(place, tl.load(place) + 1)
    tl.store(y_ptr + tl.program_id(0), 0.0)


@triton.jit
def stored_then_loaded_kernel(x_ptr, y_ptr):
    place = tl.program_id(0)
    tl.store(x_ptr + place, 1.0)
    tl.store(y_ptr + place, tl.load(x_ptr + place))


@triton.jit
def chain_kernel(x_ptr, y_ptr, count):
    """Reads what the program before has written: right in one order of programs only."""
    row = tl.program_id(0)
    before = tl.load(y_ptr + row - 1, mask=row > 0, other=0.0)
    tl.store(y_ptr + row, before + tl.load(x_ptr + row))


@triton.jit
def mapped_copy_kernel(x_map, y_map, STEP: tl.constexpr):
    """Copies a tile of rows by TMA; with a step less than a tile its programs meet."""
    row = tl.program_id(0) * STEP
    y_map.store([row, 0], x_map.load([row, 0]))


@triton.jit
def mapped_pair_kernel(pair_map, y_map, flip, SIDE: tl.constexpr, BLOCK: tl.constexpr):
    """The second of two matrices that stand on one another, whichever lies first."""
    row = tl.program_id(0) * SIDE
    both = pair_map.load([0, row, 0])
    first, second = tl.reshape(both, [2, SIDE * BLOCK]).trans(1, 0).split()
    second = tl.where(flip != 0, first, second)
    y_map.store([row, 0], tl.reshape(second, [SIDE, BLOCK]))


def fresh(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """An output of this shape, allocated as generated code does it."""
    return allocate.empty(shape, contiguous(shape), like.dtype, like.device)


def copy(x: torch.Tensor, *, masked: bool = True, block: int = 16, rows: int | None = None) -> torch.Tensor:
    y = fresh(tuple(x.shape), x)
    grid = (x.shape[0] if rows is None else rows,)
    copy_kernel[grid](x, y, *x.shape, *x.stride(), MASKED=masked, BLOCK=block)
    return y


def with_total(x: torch.Tensor, reached: int, vector: int, replaced: bool = True) -> torch.Tensor:
    """Each element and the sum of all, which are read as far as `reached`, in vectors of so many, if any."""
    y = fresh(tuple(x.shape), x)
    vectors_kernel[(1,)](x, y, len(x), reached, BLOCK=16, VECTOR=vector, REPLACED=replaced)
    return y


def mapped_copy(
    x: torch.Tensor, *, tile: int = 2, step: int = 2, programs: int = 3, rows: int = 5, columns: int = 24
) -> torch.Tensor:
    """Copies a matrix of 5 rows by 24 columns, whose tensor map says that it has so many `rows` and `columns`."""
    y = fresh((5, 24), x)
    source = matrix_view("x", rows, columns, x.stride(0)).cut(tile, 32).at([x])[0]
    target = matrix_view("y", 5, 24, 24).cut(tile, 32).at([y])[0]
    mapped_copy_kernel[(programs,)](source, target, STEP=step)
    return y


def mapped_second(a: torch.Tensor, b: torch.Tensor, rows: int = 5) -> torch.Tensor:
    """A copy of `b`, 5 rows by 24 columns, read through a tensor map of both, each of so many `rows`."""
    y = fresh((5, 24), b)
    both = tma_view(("a", "b"), a.element_size(), (rows, a.stride(0), b.stride(0)), (24, 1, 1))
    assert both is not None
    pair, flipped = both.cut(2, 32).at([a, b])
    mapped_pair_kernel[(3,)](pair, matrix_view("y", 5, 24, 24).cut(2, 32).at([y])[0], int(flipped), SIDE=2, BLOCK=32)
    return y


def matrix_view(name: str, rows: int, columns: int, stride: int) -> TmaView:
    """The view of a matrix of two bytes an element."""
    found = tma_view((name,), 2, (rows, stride), (columns, 1))
    assert found is not None
    return found


@triton.jit
def parted_store_kernel(x_ptr, y_ptr, z_ptr, BLOCK: tl.constexpr):
    """Stores x, and then x and a number that says how often a program goes round."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(x_ptr + place)
    tl.store(y_ptr + place, total)
    for _ in range(tl.program_id(0) % 5):
        total += 1.0
    tl.store(z_ptr + place, total)
