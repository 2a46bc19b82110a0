"""Bytes of a kernel that branches are those of the programs and lanes that take each side, whatever the test is of."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from fusec.runtime import Launch
from fusec.runtime.traffic.count import traffic

DTYPES = {"x": torch.float32, "y": torch.float16, "o": torch.float32}


@triton.jit
def by_program(x_ptr, y_ptr, o_ptr, BLOCK: tl.constexpr):
    pid = tl.program_id(0)
    lane = tl.arange(0, BLOCK)
    if pid < 3:
        value = tl.load(x_ptr + pid * BLOCK + lane)
    else:
        value = tl.load(y_ptr + pid * BLOCK + lane, mask=lane < 5).to(tl.float32)
    tl.store(o_ptr + pid * BLOCK + lane, value)


@triton.jit
def by_flag(x_ptr, y_ptr, o_ptr, BLOCK: tl.constexpr):
    pid = tl.program_id(0)
    lane = tl.arange(0, BLOCK)
    if BLOCK > 16:  # noqa: SIM108
        value = tl.load(x_ptr + pid * BLOCK + lane)
    else:
        value = tl.load(y_ptr + pid * BLOCK + lane).to(tl.float32)
    if pid == 0:
        tl.store(o_ptr + lane, value)


@pytest.mark.parametrize(
    ("kernel", "block", "programs", "read", "written"),
    [
        (by_program, 32, 7, {"x": 3 * 32 * 4, "y": 4 * 5 * 2}, 7 * 32 * 4),
        (by_program, 32, 3, {"x": 3 * 32 * 4}, 3 * 32 * 4),
        (by_program, 32, 1, {"x": 32 * 4}, 32 * 4),
        (by_flag, 32, 4, {"x": 4 * 32 * 4}, 32 * 4),
        (by_flag, 16, 4, {"y": 4 * 16 * 2}, 16 * 4),
    ],
)
def test_each_side_is_counted_for_those_that_take_it(
    kernel: object, block: int, programs: int, read: dict[str, int], written: int
) -> None:
    launch = Launch(kernel, (programs,), {"BLOCK": block}, ({"num_warps": 1},))
    found = traffic(launch, DTYPES)
    assert found.is_exact
    assert {name: count for name, count in found.read.items() if count} == read
    assert found.written == {"o": written}
