"""Two ops with kernels as the compiler would write them: right, until a test plants a fault in this very file."""

import torch
import triton
import triton.language as tl

from fusec.runtime import allocate, contiguous


@triton.jit
def largest(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def turned_norm_kernel(
    x_ptr,
    gain_ptr,
    cos_ptr,
    sin_ptr,
    y_ptr,
    top_ptr,
    eps,
    columns,
    x_row_stride,
    x_column_stride,
    gain_stride,
    cos_row_stride,
    cos_column_stride,
    sin_row_stride,
    sin_column_stride,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    x_row_ptr = x_ptr + row * x_row_stride
    squares = tl.zeros([BLOCK], tl.float32)
    tops = tl.full([BLOCK], float("-inf"), tl.float32)
    for start in range(0, columns, BLOCK):
        column = start + tl.arange(0, BLOCK)
        inside = column < columns
        x = tl.load(x_row_ptr + column * x_column_stride, mask=inside, other=0.0).to(tl.float32)
        squares += x * x
        tops = tl.maximum(tops, tl.where(inside, tl.abs(x), float("-inf")), propagate_nan=tl.PropagateNan.ALL)
    scale = tl.rsqrt(tl.sum(squares, 0) / columns + eps)
    tl.store(top_ptr + row, tl.reduce(tops, 0, largest))
    half = columns // 2
    for start in range(0, half, BLOCK):
        column = start + tl.arange(0, BLOCK)
        inside = column < half
        a = tl.load(x_row_ptr + column * x_column_stride, mask=inside).to(tl.float32)
        b = tl.load(x_row_ptr + (half + column) * x_column_stride, mask=inside).to(tl.float32)
        gain_a = tl.load(gain_ptr + column * gain_stride, mask=inside).to(tl.float32)
        gain_b = tl.load(gain_ptr + (half + column) * gain_stride, mask=inside).to(tl.float32)
        cos = tl.load(cos_ptr + row * cos_row_stride + column * cos_column_stride, mask=inside)
        sin = tl.load(sin_ptr + row * sin_row_stride + column * sin_column_stride, mask=inside)
        a = a * scale * gain_a
        b = b * scale * gain_b
        tl.store(y_ptr + row * columns + column, (a * cos - b * sin).to(y_ptr.dtype.element_ty), mask=inside)
        tl.store(y_ptr + row * columns + half + column, (b * cos + a * sin).to(y_ptr.dtype.element_ty), mask=inside)


def turned_norm(x, gain, cos, sin, eps=1e-6, block=32):
    rows, columns = x.shape
    y = allocate.empty((rows, columns), contiguous((rows, columns)), x.dtype, x.device)
    top = allocate.empty((rows,), (1,), torch.float32, x.device)
    strides = (*x.stride(), *gain.stride(), *cos.stride(), *sin.stride())
    if rows:
        turned_norm_kernel[(rows,)](x, gain, cos, sin, y, top, eps, columns, *strides, BLOCK=block)
    return y, top


@triton.jit
def softened_kernel(
    x_ptr, bias_ptr, p_ptr, q_ptr, columns, x_row_stride, x_column_stride, bias_stride, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < columns
    x = tl.load(x_ptr + row * x_row_stride + column * x_column_stride, mask=inside, other=0.0).to(tl.float32)
    if bias_ptr is not None:
        x = x + tl.load(bias_ptr + column * bias_stride, mask=inside, other=0.0).to(tl.float32)
    x = tl.where(inside, x, float("-inf"))
    e = tl.exp(x - tl.reduce(x, 0, largest))
    p = e / tl.sum(e, 0)
    tl.store(p_ptr + row * columns + column, p.to(p_ptr.dtype.element_ty), mask=inside)
    tl.store(q_ptr + row * columns + column, (x * 16).to(q_ptr.dtype.element_ty), mask=inside)


def softened(x, bias=None):
    rows, columns = x.shape
    p = allocate.empty((rows, columns), contiguous((rows, columns)), x.dtype, x.device)
    q = allocate.empty((rows, columns), contiguous((rows, columns)), torch.float8_e4m3fn, x.device)
    strides = (*x.stride(), 0 if bias is None else bias.stride(0))
    if rows and columns:
        softened_kernel[(rows,)](x, bias, p, q, columns, *strides, BLOCK=triton.next_power_of_2(columns))
    return p, q
