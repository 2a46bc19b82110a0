"""The work of ops as one writes it in PyTorch, and PyTorch's own functions for it: cuBLAS multiplies there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from fusec.report.results import AROUND

Arguments: TypeAlias = Mapping[str, Any]
Call: TypeAlias = Callable[[], Any]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
}

GROUP = 128
"""Elements of a group that share a scale."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.linear(x, weight, bias)


def linear_activation(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "gelu") -> Tensor:
    return ACTIVATIONS[activation](functional.linear(x, weight, bias))


def linear_residual(x: Tensor, weight: Tensor, residual: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.linear(x, weight, bias) + residual


def normed(x: Tensor, gain: Tensor, eps: float, norm: str) -> Tensor:
    """A norm as PyTorch has it; `norm` says how its gain is stored. Raises `ValueError` for forms it does not have."""
    if norm not in ("plain", "unit_offset"):
        raise ValueError(f"PyTorch has no norm that is {norm}")
    return functional.rms_norm(x, gain.shape, gain if norm == "plain" else gain + 1, eps)


def rmsnorm_linear(
    x: Tensor, gain: Tensor, weight: Tensor, bias: Tensor | None = None, eps: float = 1e-6, norm: str = "plain"
) -> Tensor:
    return functional.linear(normed(x, gain, eps, norm), weight, bias)


def fused_gated_mlp(x: Tensor, gate_weight: Tensor, up_weight: Tensor, activation: str = "silu") -> Tensor:
    return ACTIVATIONS[activation](functional.linear(x, gate_weight)) * functional.linear(x, up_weight)


def rmsnorm_gated_mlp(
    x: Tensor,
    gain: Tensor,
    gate_weight: Tensor,
    up_weight: Tensor,
    activation: str = "silu",
    eps: float = 1e-6,
    norm: str = "plain",
) -> Tensor:
    return fused_gated_mlp(normed(x, gain, eps, norm), gate_weight, up_weight, activation)


def linear_add_rmsnorm(
    x: Tensor,
    weight: Tensor,
    residual: Tensor,
    gain: Tensor,
    bias: Tensor | None = None,
    eps: float = 1e-6,
    norm: str = "plain",
) -> tuple[Tensor, Tensor]:
    total = functional.linear(x, weight, bias) + residual
    return total, normed(total, gain, eps, norm)


def scaled_mm(
    a: Tensor,
    b: Tensor,
    a_scale: Tensor,
    b_scale: Tensor,
    bias: Tensor | None = None,
    out_dtype: torch.dtype = torch.bfloat16,
    fast: bool = False,
) -> Tensor:
    """The library's product of 8 bits, with a scale for each row of both."""
    left, right = a_scale[:, None], b_scale[None]
    return torch._scaled_mm(a, b.t(), left, right, bias=bias, out_dtype=out_dtype, use_fast_accum=fast)


def scaled_mm_int8(
    a: Tensor,
    b: Tensor,
    a_scale: Tensor,
    b_scale: Tensor,
    bias: Tensor | None = None,
    out_dtype: torch.dtype = torch.bfloat16,
) -> Tensor:
    scaled = torch._int_mm(a, b.t()) * a_scale[:, None] * b_scale
    return (scaled if bias is None else scaled + bias).to(out_dtype)


def fp8_linear_quantized(x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """The input quantised by rows, and the library's product."""
    scale = x.float().abs().amax(-1, keepdim=True).clamp_min(1e-12) / 448
    q = (x.float() / scale).to(torch.float8_e4m3fn)
    return torch._scaled_mm(q, weight.t(), scale, weight_scale[None], bias=bias, out_dtype=x.dtype)


WRITTEN: dict[str, tuple[str, Callable[..., Any]]] = {
    "linear": ("cuBLAS", linear),
    "linear_activation": (AROUND, linear_activation),
    "linear_residual": (AROUND, linear_residual),
    "rmsnorm_linear": (AROUND, rmsnorm_linear),
    "fused_gated_mlp": (AROUND, fused_gated_mlp),
    "rmsnorm_gated_mlp": (AROUND, rmsnorm_gated_mlp),
    "linear_add_rmsnorm": (AROUND, linear_add_rmsnorm),
    "scaled_mm": ("cuBLAS", scaled_mm),
    "scaled_mm_fast": ("cuBLAS", partial(scaled_mm, fast=True)),
    "scaled_mm_int8": (AROUND, scaled_mm_int8),
    "fp8_linear_quantized": (AROUND, fp8_linear_quantized),
}
"""What is called as it stands, under this name, and compiled, where the reference multiplies in f32."""


def _block_scaled(arguments: Arguments) -> Call:
    a, b = arguments["a"], arguments["b"]
    # The library reads the scales of a group of columns side by side.
    left, right = (arguments[name].t().contiguous().t() for name in ("a_scale", "b_scale"))
    return lambda: torch._scaled_mm(a, b.t(), left, right.t(), out_dtype=arguments["out_dtype"])


def _norm(arguments: Arguments) -> Call:
    x, weight, eps = arguments["x"], arguments["weight"], arguments["eps"]
    return lambda: functional.rms_norm(x, weight.shape, weight, eps)


def _add_norm(arguments: Arguments) -> Call:
    x, residual, weight, eps = (arguments[name] for name in ("x", "residual", "weight", "eps"))

    def call() -> tuple[Tensor, Tensor]:
        total = x + residual
        return total, functional.rms_norm(total, weight.shape, weight, eps)

    return call


def _layer_norm(arguments: Arguments) -> Call:
    x, weight, bias, eps = (arguments[name] for name in ("x", "weight", "bias", "eps"))
    return lambda: functional.layer_norm(x, weight.shape, weight, bias, eps)


def _softmax(arguments: Arguments) -> Call:
    return lambda: torch.softmax(arguments["x"], -1)


def _gated(arguments: Arguments) -> Call:
    activation = ACTIVATIONS[arguments["activation"]]
    return lambda: activation(arguments["gate"]) * arguments["up"]


def _norm_gradient(arguments: Arguments) -> Call:
    dy, x, weight = (arguments[name] for name in ("dy", "x", "weight"))
    inverse = (x.float().square().mean(-1, keepdim=True) + arguments["eps"]).rsqrt()
    backward = torch.ops.aten._fused_rms_norm_backward
    return lambda: backward(dy, x, weight.shape, inverse, weight, [True, True])


def _layer_norm_gradient(arguments: Arguments) -> Call:
    dy, x, weight = (arguments[name] for name in ("dy", "x", "weight"))
    _, mean, inverse = torch.native_layer_norm(x, weight.shape, weight, weight, arguments["eps"])
    backward = torch.ops.aten.native_layer_norm_backward
    return lambda: backward(dy, x, weight.shape, mean, inverse, weight, weight, [True, True, True])


FUNCTION = "torch.nn.functional"

OTHERS: dict[str, dict[str, Callable[[Arguments], Call]]] = {
    "rmsnorm": {FUNCTION: _norm},
    "add_rmsnorm": {FUNCTION: _add_norm},
    "layernorm": {FUNCTION: _layer_norm},
    "softmax": {FUNCTION: _softmax},
    "gated_activation": {FUNCTION: _gated},
    "rmsnorm_gradient": {FUNCTION: _norm_gradient},
    "layernorm_gradient": {FUNCTION: _layer_norm_gradient},
    "block_scaled_mm": {"cuBLAS": _block_scaled},
}
"""Calls of PyTorch beside these, whose arguments may be brought into another form before they are timed."""
