"""Number conversions as an NVIDIA GPU does them, on the numpy arrays in which the Triton interpreter holds tensors.

Checked on an H200 with triton 3.6: f32 to f8 on all 2**32 numbers, every other pair of formats on all codes of the
small one. f8 saturates, infinities included; NaN becomes the code 0x7f, its sign is lost. f32, f16 and bf16 overflow
to infinity. Floats become integers toward zero and saturate at 16 bits or the target, whichever is wider, so that an
i8 wraps: 300.0 becomes 44.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
import triton.language as tl

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

CODED = {tl.bfloat16: torch.bfloat16, tl.float8e4nv: torch.float8_e4m3fn, tl.float8e5: torch.float8_e5m2}
"""The formats that numpy lacks: the interpreter holds their codes as unsigned integers."""

PLAIN = {
    tl.float16: np.float16,
    tl.float32: np.float32,
    tl.float64: np.float64,
    tl.int1: np.bool_,
    tl.int8: np.int8,
    tl.uint8: np.uint8,
    tl.int16: np.int16,
    tl.uint16: np.uint16,
    tl.int32: np.int32,
    tl.uint32: np.uint32,
    tl.int64: np.int64,
    tl.uint64: np.uint64,
}


def convert(data: Array, source: tl.dtype, target: tl.dtype) -> Array:
    """`data`, which holds numbers of type `source`, as the interpreter holds them as `target`.

    Raises TypeError for the conversions that the GPU compiler refuses or gets wrong.
    """
    _refuse(source, target)
    values = decode(data, source)
    if target in CODED:
        return encode(values, target)
    wanted = PLAIN[target]
    if values.dtype.kind == "f" and np.dtype(wanted).kind in "iu":
        return _to_integer(values, np.dtype(wanted))
    return values.astype(wanted)


def decode(data: Array, dtype: tl.dtype) -> Array:
    """The numbers that the codes of `dtype` stand for, in f32; any other type is as it should be already."""
    if dtype not in CODED:
        return data
    codes = torch.from_numpy(np.array(data))
    return codes.view(CODED[dtype]).to(torch.float32).numpy()


def encode(values: Array, dtype: tl.dtype) -> Array:
    """The codes of `dtype` nearest to `values`, ties to even."""
    single = values.astype(np.float32) if values.dtype in (np.float32, np.float16) else _round_to_odd(values)
    numbers = torch.from_numpy(np.array(single))
    if dtype != tl.bfloat16:
        largest = torch.finfo(CODED[dtype]).max
        numbers = numbers.clamp(-largest, largest)
    held = torch.uint16 if dtype == tl.bfloat16 else torch.uint8
    canonical = 0x7FFF if dtype == tl.bfloat16 else 0x7F
    codes: Array = numbers.to(CODED[dtype]).view(held).numpy()
    return np.where(np.isnan(single), codes.dtype.type(canonical), codes)


def _round_to_odd(values: Array) -> Array:
    """`values` in f32, toward zero, the last bit set where that was not exact: rounding again is then right."""
    exact = values.astype(np.float64)
    near = exact.astype(np.float32)
    beyond = np.abs(near.astype(np.float64)) > np.abs(exact)
    below = np.where(beyond, np.nextafter(near, np.float32(0)), near)
    odd: Array = below.view(np.uint32) | (near != exact)
    return odd.view(np.float32)


def _to_integer(values: Array, target: np.dtype[Any]) -> Array:
    """Toward zero, saturating at 16 bits or more, then cut to the target. NaN is 0, or the least number of 64 bits."""
    width = max(16, target.itemsize * 8)
    limits = np.iinfo(f"{'i' if target.kind == 'i' else 'u'}{width // 8}")
    lost = limits.min if max(width, values.dtype.itemsize * 8) == 64 else 0
    whole = np.trunc(values.astype(np.float64))
    inside = (whole >= limits.min) & (whole < 2.0 ** (width - (target.kind == "i")))
    saturated = np.where(whole > 0, limits.max, limits.min).astype(limits.dtype)
    saturated = np.where(np.isnan(whole), limits.dtype.type(lost), saturated)
    converted: Array = np.where(inside, np.where(inside, whole, 0.0).astype(limits.dtype), saturated)
    return converted.astype(target)


def _refuse(source: tl.dtype, target: tl.dtype) -> None:
    small = [dtype for dtype in (source, target) if dtype.is_fp8()]
    if len(small) == 2 or (small and tl.float64 in (source, target)):
        raise TypeError(f"the GPU compiler has no conversion from {source} to {target}: go through f32")
    if (source, target) == (tl.float8e5, tl.bfloat16):
        raise TypeError("the GPU takes infinity and NaN of fp8e5 for finite numbers on the way to bf16: go through f32")
