"""Proof, at the start, that the interpreter rounds as it should: every code of the small formats, every midpoint.

What a code stands for is torch's word. What a number rounds to follows from that alone: to the code itself, to the
even one of two neighbours at the midpoint between them, and to the nearer one a hair beside it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import triton
import triton.language as tl

from fusec.interpreter.conversions import Array

_BLOCK = 1 << 18 if triton.knobs.runtime.interpret else 1024
"""Elements of a program: one program does it in the interpreter, where the size of a block costs nothing."""

_SATURATING = (torch.float8_e4m3fn, torch.float8_e5m2)

_FORMATS = (*_SATURATING, torch.bfloat16, torch.float16)


@triton.jit  # type: ignore[untyped-decorator]
def convert_kernel(x_ptr, y_ptr, count, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + place, mask=place < count)
    tl.store(y_ptr + place, x.to(y_ptr.dtype.element_ty), mask=place < count)


def converted(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`x` in `dtype`, by way of a kernel."""
    y = torch.empty(x.shape, dtype=dtype, device=x.device)
    convert_kernel[(triton.cdiv(x.numel(), _BLOCK),)](x, y, x.numel(), BLOCK=_BLOCK)
    return y


@cache
def check() -> None:
    """Raise AssertionError unless kernels read and round f8e4m3, f8e5m2, bf16 and f16 exactly."""
    for dtype in _FORMATS:
        stored = codes(dtype)
        _require(converted(stored, torch.float32), stored.to(torch.float32), stored, f"{dtype} to f32")
        numbers, nearest = roundings(dtype)
        _require(converted(numbers, dtype), nearest, numbers, f"f32 to {dtype}")


def codes(dtype: torch.dtype) -> torch.Tensor:
    """Every bit pattern of a format of 8 or 16 bits."""
    held = torch.uint8 if dtype.itemsize == 1 else torch.int16
    return torch.arange(1 << 8 * dtype.itemsize, dtype=torch.int32).to(held).view(dtype)


def roundings(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """f32 numbers at which rounding to `dtype` turns, and what each rounds to: of both signs, with infinity and NaN."""
    every = codes(dtype).to(torch.float32).numpy()
    positive = every[: every.size // 2]
    finite = positive[np.isfinite(positive)].astype(np.float64)
    middle = np.append((finite[:-1] + finite[1:]) / 2, finite[-1] + (finite[-1] - finite[-2]) / 2)
    below, above = np.arange(finite.size), np.arange(1, finite.size + 1)
    if dtype in _SATURATING:
        above[-1] = below[-1]
    even = np.where(below % 2 == 0, below, above)
    middle = middle.astype(np.float32)
    numbers = [finite, middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf))]
    wanted = [below, even, below, above]
    numbers.append(np.array([np.inf, np.finfo(np.float32).max], np.float32))
    wanted.append(np.full(2, above[-1]))
    magnitudes, nearest = np.concatenate(numbers).astype(np.float32), np.concatenate(wanted)
    return _both_signs(magnitudes, nearest, dtype)


def _both_signs(magnitudes: Array, nearest: Array, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    everything = codes(dtype)
    half = everything.numel() // 2
    numbers = torch.from_numpy(np.concatenate([magnitudes, -magnitudes, np.array([np.nan], np.float32)]))
    place = torch.from_numpy(np.concatenate([nearest, nearest + half, [half - 1]]))
    held = torch.uint8 if dtype.itemsize == 1 else torch.int16
    return numbers, everything.view(held)[place].view(dtype)


def _require(got: torch.Tensor, wanted: torch.Tensor, of: torch.Tensor, what: str) -> None:
    held = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[got.element_size()]
    both_nan = torch.isnan(got.to(torch.float32)) & torch.isnan(wanted.to(torch.float32))
    wrong = torch.nonzero((got.view(held) != wanted.view(held)) & ~both_nan).flatten()
    if wrong.numel():
        first = wrong[0]
        raise AssertionError(
            f"{what}: {wrong.numel()} of {got.numel()} wrong, first {of[first].item()} becomes {got[first].item()} "
            f"instead of {wanted[first].item()}"
        )
