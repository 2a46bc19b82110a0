"""Digits of bytes as reals: every one exactly in the interpreter, and by an instruction that means the same."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
import torch
import triton
import triton.language as tl

from fusec.interpreter.exact import alone
from fusec.runtime import device, unpacking

SOURCE = Path(unpacking.__file__).read_text(encoding="utf-8")


@triton.jit
def _differences(byte_ptr, less_ptr, low_ptr, high_ptr, MOST: tl.constexpr):
    """Both digits of 256 bytes, less each of 16 numbers."""
    byte = tl.load(byte_ptr + tl.arange(0, 256)).to(tl.int32)[:, None]
    less = tl.load(less_ptr + tl.arange(0, 16)).to(tl.int32)[None, :]
    at = tl.arange(0, 256)[:, None] * 16 + tl.arange(0, 16)[None, :]
    tl.store(low_ptr + at, device.low_digit_difference(byte, less, MOST, low_ptr.dtype.element_ty))
    tl.store(high_ptr + at, device.high_digit_difference(byte, less, MOST, high_ptr.dtype.element_ty))


CASES = [(torch.int8, 100), *((torch.float16, most) for most in (16, 100, 1000))]
CASES += [*((torch.bfloat16, most) for most in (16, 100, 200)), (torch.float32, 16), (torch.float32, 5000)]


@pytest.mark.parametrize(("dtype", "most"), CASES)
def test_both_digits_of_every_byte_are_exact(dtype: torch.dtype, most: int, device: torch.device) -> None:
    byte = torch.arange(256, dtype=torch.uint8, device=device)
    less = torch.linspace(0, most, 16, device=device).round().int()
    low, high = (torch.empty(256, 16, dtype=dtype, device=device) for _ in range(2))
    with alone():
        _differences[(1,)](byte, less, low, high, most)
    digits = byte.int()
    assert torch.equal(low.int(), (digits & 15)[:, None] - less)
    assert torch.equal(high.int(), (digits >> 4)[:, None] - less)


def test_the_table_of_the_instruction_is_what_the_interpreter_computes() -> None:
    """`lop3.b32` takes a table of one bit for each of eight cases, from three words that count these."""
    (table,) = re.findall(r"lop3\.b32 \$0, \$1, \$2, \$3, (0x\w+);", SOURCE)
    a, b, c = 0xF0, 0xCC, 0xAA
    assert int(table, 16) == (a & b | c)
    for x, mask, bits in product((0, 1), repeat=3):
        assert int(table, 16) >> (4 * x + 2 * mask + bits) & 1 == (x & mask | bits)
