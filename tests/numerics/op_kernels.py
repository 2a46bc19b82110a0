"""One kernel that applies one operation, spelled as generated kernels spell it."""

from __future__ import annotations

import triton
import triton.language as tl

from fusec.runtime import device


@triton.jit
def apply(a_ptr, b_ptr, out_ptr, count, op: tl.constexpr, block: tl.constexpr):
    """out = op(a), or op(a, b) where it takes two."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    a = tl.load(a_ptr + at, mask=at < count)
    b = tl.load(b_ptr + at, mask=at < count)
    if op == "add":
        out = a + b
    elif op == "sub":
        out = a - b
    elif op == "mul":
        out = a * b
    elif op == "div":
        out = a / b
    elif op == "floordiv":
        out = device.floor_divide(a, b)
    elif op == "mod":
        out = device.floor_mod(a, b)
    elif op == "pow":
        out = device.power(a, b)
    elif op == "neg":
        out = -a
    elif op == "abs":
        out = tl.abs(a)
    elif op == "exp":
        out = tl.exp(a)
    elif op == "exp2":
        out = tl.exp2(a)
    elif op == "log":
        out = tl.log(a)
    elif op == "sqrt":
        out = tl.sqrt(a)
    elif op == "rsqrt":
        out = tl.rsqrt(a)
    elif op == "sigmoid":
        out = tl.sigmoid(a)
    elif op == "tanh":
        out = device.tanh(a)
    elif op == "erf":
        out = tl.erf(a)
    elif op == "sin":
        out = tl.sin(a)
    elif op == "cos":
        out = tl.cos(a)
    elif op == "floor":
        out = tl.floor(a)
    elif op == "round":
        out = device.round_even(a)
    elif op == "minimum":
        out = device.minimum(a, b)
    else:
        out = device.maximum(a, b)
    tl.store(out_ptr + at, out, mask=at < count)
