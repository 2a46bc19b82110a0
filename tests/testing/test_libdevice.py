"""Functions of libdevice compute in the interpreter what they compute on a GPU; these tests hold on both."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from fusec.interpreter import interpreting
from fusec.interpreter.libdevice import SAME_TYPE, TRUTH


@triton.jit
def unary_kernel(x_ptr, y_ptr, FUNCTION: tl.constexpr, BLOCK: tl.constexpr):
    place = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + place)
    if FUNCTION == "tanh":
        y = libdevice.tanh(x)
    elif FUNCTION == "rsqrt":
        y = libdevice.rsqrt(x)
    elif FUNCTION == "erf":
        y = libdevice.erf(x)
    elif FUNCTION == "round":
        y = libdevice.round(x)
    elif FUNCTION == "rint":
        y = libdevice.rint(x)
    elif FUNCTION == "expm1":
        y = libdevice.expm1(x)
    else:
        y = libdevice.isnan(x).to(x.dtype)
    tl.store(y_ptr + place, y)


@triton.jit
def broadcast_kernel(x_ptr, y_ptr, BLOCK: tl.constexpr):
    row = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row)
    y = libdevice.pow(x[:, None], 2.0) + libdevice.atan2(x[:, None], x[None, :]) + libdevice.fma(x, x, x)[None, :]
    tl.store(y_ptr + row[:, None] * BLOCK + row[None, :], y)


MEANINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tanh": torch.tanh,
    "rsqrt": torch.rsqrt,
    "erf": torch.erf,
    "round": lambda x: x.sign() * (x.abs() + 0.5).floor(),
    "rint": torch.round,
    "expm1": torch.expm1,
    "isnan": lambda x: x.isnan().double(),
}


@pytest.mark.parametrize("name", MEANINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_operand(name: str, dtype: torch.dtype, device: torch.device) -> None:
    x = torch.randn(64, generator=torch.Generator().manual_seed(1)).mul(3).to(dtype)
    x[:6] = torch.tensor([0.0, 0.5, -1.5, 2.5, torch.inf, torch.nan])
    y = torch.empty_like(x, device=device)
    unary_kernel[(1,)](x.to(device), y, FUNCTION=name, BLOCK=64)
    torch.testing.assert_close(y.cpu().double(), MEANINGS[name](x.double()), rtol=2.0**-21, atol=0, equal_nan=True)


def test_operands_are_broadcast(device: torch.device) -> None:
    x = torch.rand(16, generator=torch.Generator().manual_seed(2)) + 0.5
    y = torch.empty(16, 16, device=device)
    broadcast_kernel[(1,)](x.to(device), y, BLOCK=16)
    wide = x.double()
    expected = wide[:, None] ** 2 + torch.atan2(wide[:, None], wide[None, :]) + (wide * wide + wide)[None, :]
    torch.testing.assert_close(y.cpu().double(), expected, rtol=2.0**-20, atol=0)


@pytest.mark.skipif(not interpreting(), reason="about the interpreter alone")
def test_other_types_are_refused_as_they_are_by_the_compiler() -> None:
    x = torch.ones(64, dtype=torch.float16)
    with pytest.raises(TypeError, match=r"libdevice.tanh takes f32 or f64, not fp16"):
        unary_kernel[(1,)](x, x.clone(), FUNCTION="tanh", BLOCK=64)


def test_functions_have_names_of_libdevice() -> None:
    assert {name for name in (*SAME_TYPE, *TRUTH) if not hasattr(libdevice, name)} == set()
