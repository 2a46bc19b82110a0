"""Device functions that make reals of small integers, of bytes and of the two digits of a byte.

An integer becomes the last digits of a power of two, from which that is subtracted: conversions have an instruction of
their own, which is four times as slow. A tensor core takes two numbers of 16 bits side by side. What is made of both at
once is one instruction of 32 bits; of plain operations the compiler makes two, or takes them apart and joins others.
"""

from __future__ import annotations

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))
"""Whether kernels run in the interpreter, which knows no instructions."""


@triton.jit
def exactly(x, low: tl.constexpr, high: tl.constexpr, dtype: tl.constexpr):
    """Integers from `low` to `high` in a type that holds them all. There is a short way from i8 to bf16."""
    if dtype.is_int() or (dtype == tl.bfloat16 and x.dtype == tl.int8):
        return x.to(dtype)
    else:
        least: tl.constexpr = -low if low < 0 else 0
        return exact_difference(x.to(tl.int32) + least, tl.full([], least, tl.int32), high + least, dtype)


@triton.jit
def exact_difference(a, b, most: tl.constexpr, dtype: tl.constexpr):
    """a - b, integers from 0 to `most`, in a type that holds all differences. What is made of `b` is made once."""
    if dtype.is_int():
        return (a - b).to(dtype)
    elif dtype == tl.float16 and most < 1024:
        digits = (a.to(tl.int32) + 0x6400).to(tl.int16)
        return digits.to(dtype, bitcast=True) - (b.to(tl.float32) + 1024.0).to(dtype)
    elif dtype == tl.bfloat16 and most < 128:
        digits = (a.to(tl.int32) + 0x4300).to(tl.int16)
        return digits.to(dtype, bitcast=True) - (b.to(tl.float32) + 128.0).to(dtype)
    else:
        digits = a.to(tl.int32) + 0x4B000000
        return (digits.to(tl.float32, bitcast=True) - (b.to(tl.float32) + 8388608.0)).to(dtype)


@triton.jit
def low_digit_difference(byte, b, most: tl.constexpr, dtype: tl.constexpr):
    """The low four bits of a byte, less `b`, as `exact_difference`."""
    if dtype.is_int():
        return exact_difference(byte & 15, b, most, dtype)
    elif (dtype == tl.float16 and most < 1024) or (dtype == tl.bfloat16 and most < 128):
        return _both_digits(byte, b, dtype).to(tl.int16).to(dtype, bitcast=True)
    else:
        digit = _masked_in(byte, 0xF, 0x4B000000).to(tl.float32, bitcast=True)
        return (digit - (b.to(tl.float32) + 8388608.0)).to(dtype)


@triton.jit
def high_digit_difference(byte, b, most: tl.constexpr, dtype: tl.constexpr):
    """The high four bits of a byte, less `b`. They are not moved: as last digits they are 16 times as much."""
    if dtype.is_int():
        return exact_difference(byte >> 4, b, most, dtype)
    elif (dtype == tl.float16 and most < 1024) or (dtype == tl.bfloat16 and most < 128):
        return (_both_digits(byte, b, dtype) >> 16).to(tl.int16).to(dtype, bitcast=True)
    else:
        digit = _masked_in(byte, 0xF0, 0x4B000000).to(tl.float32, bitcast=True)
        return (digit * 0.0625 - (b.to(tl.float32) + 524288.0)).to(dtype)


@triton.jit
def _both_digits(byte, b, dtype: tl.constexpr):
    """Both digits of a byte, each less `b`, as two numbers of 16 bits side by side. Either takes the same text."""
    digits = byte.to(tl.int32) * 0x1001
    if dtype == tl.float16:
        less = b.to(tl.int32) + 0xE400  # -1024 - b
        return _sums(_masked_in(digits, 0x000F000F, 0x64006400), less | less << 16, dtype)
    else:
        less = b.to(tl.int32) + 0xC300  # -128 - b
        return _sums(_masked_in(digits, 0x000F000F, 0x43004300), less | less << 16, dtype)


@triton.jit
def _masked_in(x, mask: tl.constexpr, bits: tl.constexpr):
    """`x & mask | bits` of 32 bits in one instruction: of two literals the compiler makes two."""
    if INTERPRETED:
        return x.to(tl.int32) & mask | bits
    else:
        words = [x.to(tl.int32), tl.full([], mask, tl.int32), tl.full([], bits, tl.int32)]
        return tl.inline_asm_elementwise("lop3.b32 $0, $1, $2, $3, 0xEA;", "=r,r,r,r", words, tl.int32, True, 1)


@triton.jit
def _sums(a, b, dtype: tl.constexpr):
    """The sums of two pairs of numbers of 16 bits. Of bf16 sm_80 has them behind a product alone."""
    if INTERPRETED:
        low = a.to(tl.int16).to(dtype, bitcast=True) + b.to(tl.int16).to(dtype, bitcast=True)
        high = (a >> 16).to(tl.int16).to(dtype, bitcast=True) + (b >> 16).to(tl.int16).to(dtype, bitcast=True)
        return low.to(tl.uint16, bitcast=True).to(tl.int32) | high.to(tl.uint16, bitcast=True).to(tl.int32) << 16
    elif dtype == tl.float16:
        return tl.inline_asm_elementwise("add.f16x2 $0, $1, $2;", "=r,r,r", [a, b], tl.int32, True, 1)
    else:
        words = [a, tl.full([], 0x3F803F80, tl.int32), b]
        return tl.inline_asm_elementwise("fma.rn.bf16x2 $0, $1, $2, $3;", "=r,r,r,r", words, tl.int32, True, 1)
