"""Products of digits with scales of groups, which Triton's interpreter does not know, on the arrays that it holds.

Digits times scales are exact in f64, and so are their products but for the smallest and largest; sums are rounded to
f32 once a step. A tensor core cuts digits off, which is for the bound to say, as of any product.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any
from unittest import mock

import numpy as np
import triton.language as tl
from triton.language.semantic import TritonSemantic as Semantic
from triton.runtime import interpreter as stock

from fusec.interpreter.conversions import Array, decode

_SIZES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_E2M1 = np.array((*_SIZES, *(-size for size in _SIZES)))
_E8M0 = np.array((*(2.0 ** (code - 127) for code in range(255)), np.nan))


def put_right(patches: ExitStack) -> None:
    """While `patches` are entered, kernels in the interpreter may say `tl.dot_scaled`."""
    patches.enter_context(mock.patch.object(Semantic, "dot_scaled", _of_strings))
    builder = stock.InterpreterBuilder
    patches.enter_context(mock.patch.object(builder, "create_dot_scaled", _dot_scaled, create=True))


_stock_dot_scaled = Semantic.dot_scaled


def _of_strings(semantic: Any, *operands: Any, **named: Any) -> Any:
    """Formats that the compiler has as compile-time values are strings in the interpreter."""
    told = (tl.constexpr(each) if isinstance(each, str) else each for each in operands)
    return _stock_dot_scaled(semantic, *told, **named)


def _dot_scaled(
    _builder: Any, a: Any, a_scales: Any, a_kind: Any, b: Any, b_scales: Any, b_kind: Any, *rest: Any
) -> Any:
    """`create_dot_scaled`: rows by steps, and steps by columns; both have a line of scales for each of these."""
    *_, total = rest
    with np.errstate(invalid="ignore"):
        product = np.matmul(_scaled(a, a_scales, a_kind, -1), _scaled(b, b_scales, b_kind, -2))
        found = (product + total.data).astype(total.data.dtype)
    return stock.TensorHandle(found, total.dtype.scalar)


def _scaled(digits: Any, scales: Any, kind: Any, steps: int) -> Array:
    """The numbers of one side, which is multiplied along its axis `steps`."""
    numbers = _numbers(digits, kind, steps)
    kinds = scales.dtype.scalar
    each = decode(scales.data, kinds).astype(np.float64) if kinds.is_floating() else _E8M0[scales.data]
    each = each if steps == -1 else np.swapaxes(each, -1, -2)
    scaled: Array = numbers * np.repeat(each, numbers.shape[steps] // each.shape[steps], steps)
    return scaled


def _numbers(digits: Any, kind: Any, steps: int) -> Array:
    if kind != stock._ir.ScaleDotElemTypeTY.E2M1:
        return decode(digits.data, digits.dtype.scalar).astype(np.float64)
    codes = np.stack((digits.data & 15, digits.data >> 4), steps)
    shape = list(digits.data.shape)
    shape[steps] *= 2
    numbers: Array = _E2M1[codes].reshape(shape)
    return numbers
