"""CUDA's libdevice in the interpreter, where Triton's functions of these names compute nothing.

A kernel has them from `triton.language.extra.libdevice`, mostly by name, so what is put right is the function itself.
Results are those of f64, rounded: within the one or two units of the last place that libdevice promises.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import CodeType, MappingProxyType
from typing import Any, TypeAlias
from unittest import mock

import numpy as np
import torch
import triton.language as tl
from torch import Tensor
from triton.language.extra import libdevice
from triton.runtime import interpreter as stock

Meaning: TypeAlias = Callable[..., Tensor]

_COMPUTE = "_fusec_compute"
"""The name under which functions of libdevice find `compute`."""


def _away_from_zero(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 2.0**52, x.trunc() + (x - x.trunc()).mul(2).trunc(), x)


SAME_TYPE: MappingProxyType[str, Meaning] = MappingProxyType(
    {
        **{name: getattr(torch, name) for name in ("abs", "floor", "ceil", "trunc", "sqrt", "rsqrt", "exp", "exp2")},
        **{name: getattr(torch, name) for name in ("expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan")},
        **{name: getattr(torch, name) for name in ("asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh")},
        **{name: getattr(torch, name) for name in ("atanh", "atan2", "erf", "erfc", "erfinv", "lgamma", "hypot")},
        **{name: getattr(torch, name) for name in ("fmod", "remainder", "pow", "copysign")},
        "fast_expf": torch.exp,
        "fast_exp10f": lambda x: torch.pow(10.0, x),
        "exp10": lambda x: torch.pow(10.0, x),
        "fast_logf": torch.log,
        "fast_log2f": torch.log2,
        "fast_log10f": torch.log10,
        "fast_sinf": torch.sin,
        "fast_cosf": torch.cos,
        "fast_tanf": torch.tan,
        "fast_tanhf": torch.tanh,
        "fast_powf": torch.pow,
        "fast_dividef": torch.div,
        "div_rn": torch.div,
        "add_rn": torch.add,
        "sub_rn": torch.sub,
        "mul_rn": torch.mul,
        "sqrt_rn": torch.sqrt,
        "rsqrt_rn": torch.rsqrt,
        "rcp_rn": torch.reciprocal,
        "fma": lambda x, y, z: x * y + z,
        "fma_rn": lambda x, y, z: x * y + z,
        "rint": torch.round,
        "nearbyint": torch.round,
        "round": _away_from_zero,
        "saturatef": lambda x: x.nan_to_num(0.0).clamp(0.0, 1.0),
        "fdim": lambda x, y: (x - y).clamp(min=0.0),
        "cbrt": lambda x: x.sign() * x.abs().pow(1 / 3),
        "normcdf": torch.special.ndtr,
        "normcdfinv": torch.special.ndtri,
        "tgamma": lambda x: torch.lgamma(x).exp(),
    }
)
"""Functions whose result has the type of their operands."""

TRUTH: MappingProxyType[str, Meaning] = MappingProxyType(
    {"isnan": torch.isnan, "isinf": torch.isinf, "finitef": torch.isfinite, "isfinited": torch.isfinite}
    | {"signbit": torch.signbit}
)
"""Functions that answer 0 or 1, in i32."""

_ARGUMENTS = dict.fromkeys(("atan2", "hypot", "fmod", "remainder", "pow", "copysign", "fast_powf", "fast_dividef"), 2)
_ARGUMENTS |= dict.fromkeys(("div_rn", "add_rn", "sub_rn", "mul_rn", "fdim"), 2) | {"fma": 3, "fma_rn": 3}


def put_right(patches: ExitStack) -> None:
    """Let the functions of libdevice compute for as long as `patches` are open."""
    patches.enter_context(mock.patch.object(libdevice, _COMPUTE, compute, create=True))
    for name in (*SAME_TYPE, *TRUTH):
        if function := getattr(libdevice, name, None):
            patches.callback(setattr, function, "__code__", function.__code__)
            function.__code__ = _code(name, _ARGUMENTS.get(name, 1))


def compute(name: str, *operands: Any) -> Any:
    """The function of that name of operands in f32 or f64, of one shape once they are broadcast."""
    tensors = [stock.interpreter_semantic.to_tensor(each) for each in operands]
    kind = next((each.dtype for each in tensors if each.dtype in (tl.float32, tl.float64)), None)
    if kind is None:
        raise TypeError(f"libdevice.{name} takes f32 or f64, not {', '.join(str(each.dtype) for each in tensors)}")
    first = tensors[0]
    if len(tensors) > 1:
        for each in tensors[1:]:
            first, _ = stock.interpreter_semantic.binary_op_type_checking_impl(first, each)
        tensors = [stock.interpreter_semantic.binary_op_type_checking_impl(first, each)[1] for each in tensors]
    wide = [torch.from_numpy(np.asarray(each.handle.data, np.float64)) for each in tensors]
    answers = name in TRUTH
    result = (TRUTH if answers else SAME_TYPE)[name](*wide)
    scalar = tl.int32 if answers else kind
    data = result.numpy().astype(np.int32 if answers else np.float32 if kind == tl.float32 else np.float64)
    shaped = tl.block_type(scalar, first.shape) if first.type.is_block() else scalar
    return tl.tensor(stock.TensorHandle(data, scalar), shaped)


def _code(name: str, arguments: int) -> CodeType:
    """The code of a function that asks `compute`; parameters are called as those of libdevice are."""
    params = ", ".join(f"arg{number}" for number in range(arguments))
    scope: dict[str, Any] = {}
    exec(f"def {name}({params}):\n    return {_COMPUTE}({name!r}, {params})", {}, scope)
    code: CodeType = scope[name].__code__
    return code
