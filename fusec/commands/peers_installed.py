"""Kernels of Liger, quack and FlashInfer for the work of ops, where they are installed.

What works in place is given copies: its first result is right, and every later call takes the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from fusec.commands.peers_torch import Arguments, Call

Maker: TypeAlias = tuple[str, Callable[[Any, Arguments], Call]]
"""The module that has the function, and what makes the call of the module and the arguments."""


class UnfitError(ValueError):
    """A library has no kernel for these arguments."""


def _liger_norm(m: Any, a: Arguments) -> Call:
    return lambda: m.LigerRMSNormFunction.apply(a["x"], a["weight"], a["eps"], 0.0, "llama", False)


def _liger_unit_offset(m: Any, a: Arguments) -> Call:
    return lambda: m.LigerRMSNormFunction.apply(a["x"], a["weight"], a["eps"], 1.0, "gemma", False)


def _liger_add_norm(m: Any, a: Arguments) -> Call:
    apply = m.LigerFusedAddRMSNormFunction.apply
    return lambda: apply(a["x"], a["residual"], a["weight"], a["eps"], 0.0, "llama", False)[::-1]


def _liger_layer_norm(m: Any, a: Arguments) -> Call:
    return lambda: m.LigerLayerNormFunction.apply(a["x"], a["weight"], a["bias"], a["eps"])


def _liger_gated(m: Any, a: Arguments) -> Call:
    return lambda: m.LigerSiLUMulFunction.apply(_only(a, "silu")["gate"], a["up"])


def _liger_rope(m: Any, a: Arguments) -> Call:
    _plain_positions(a)
    q, k = (a[name].clone().transpose(1, 2) for name in ("q", "k"))

    def call() -> tuple[torch.Tensor, ...]:
        return tuple(each.transpose(1, 2) for each in m.LigerRopeFunction.apply(q, k, a["cos"], a["sin"]))

    return call


def _quack_norm(m: Any, a: Arguments) -> Call:
    return lambda: m.rmsnorm(a["x"], a["weight"], eps=a["eps"])


def _quack_unit_offset(m: Any, a: Arguments) -> Call:
    return lambda: m.rmsnorm(a["x"], a["weight"], eps=a["eps"], weight_offset=1.0)


def _quack_add_norm(m: Any, a: Arguments) -> Call:
    return lambda: m.rmsnorm(a["x"], a["weight"], residual=a["residual"], eps=a["eps"], prenorm=True)[::-1]


def _quack_layer_norm(m: Any, a: Arguments) -> Call:
    weight, bias = (None if a[name] is None else a[name].float() for name in ("weight", "bias"))
    return lambda: m.layernorm_fwd(a["x"], weight, bias, a["eps"])


def _flashinfer_add_norm(m: Any, a: Arguments) -> Call:
    x, residual = a["x"].clone(), a["residual"].clone()

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        m.fused_add_rmsnorm(x, residual, a["weight"], a["eps"])
        return residual, x

    return call


def _flashinfer_layer_norm(m: Any, a: Arguments) -> Call:
    weight, bias = a["weight"].float(), a["bias"].float()
    return lambda: m.layernorm(a["x"], weight, bias, a["eps"])


def _flashinfer_gated(m: Any, a: Arguments) -> Call:
    functions = {"silu": m.silu_and_mul, "gelu": m.gelu_and_mul, "gelu_tanh": m.gelu_tanh_and_mul}
    function, packed = functions[_only(a, *functions)["activation"]], torch.cat((a["gate"], a["up"]), -1)
    return lambda: function(packed)


def _flashinfer_rope(m: Any, a: Arguments) -> Call:
    _plain_positions(a)
    batch, tokens, _, width = a["q"].shape
    q, k = (a[name].reshape(batch * tokens, -1) for name in ("q", "k"))
    table = torch.cat((a["cos"][:, : width // 2], a["sin"][:, : width // 2]), -1).float()
    positions = torch.arange(tokens, device=q.device).repeat(batch)

    def call() -> tuple[torch.Tensor, ...]:
        turned = m.apply_rope_with_cos_sin_cache(positions, q, k, width, table)
        return tuple(each.view(a[name].shape) for each, name in zip(turned, ("q", "k"), strict=True))

    return call


def _only(arguments: Arguments, *activations: str) -> Arguments:
    if arguments["activation"] not in activations:
        raise UnfitError(f"there is a kernel for {', '.join(activations)} alone")
    return arguments


def _plain_positions(arguments: Arguments) -> None:
    if arguments["position_ids"] is not None:
        raise UnfitError("the positions of tokens are given, which it looks up otherwise")


LIGER: dict[str, Maker] = {
    "rmsnorm": ("liger_kernel.ops.rms_norm", _liger_norm),
    "rmsnorm_unit_offset": ("liger_kernel.ops.rms_norm", _liger_unit_offset),
    "add_rmsnorm": ("liger_kernel.ops.fused_add_rms_norm", _liger_add_norm),
    "layernorm": ("liger_kernel.ops.layer_norm", _liger_layer_norm),
    "softmax": ("liger_kernel.ops.softmax", lambda m, a: lambda: m.LigerSoftmaxFunction.apply(a["x"])),
    "gated_activation": ("liger_kernel.ops.swiglu", _liger_gated),
    "rope_qk": ("liger_kernel.ops.rope", _liger_rope),
}

QUACK: dict[str, Maker] = {
    "rmsnorm": ("quack", _quack_norm),
    "rmsnorm_unit_offset": ("quack", _quack_unit_offset),
    "add_rmsnorm": ("quack", _quack_add_norm),
    "layernorm": ("quack.rmsnorm", _quack_layer_norm),
    "softmax": ("quack", lambda m, a: lambda: m.softmax(a["x"])),
}

FLASHINFER: dict[str, Maker] = {
    "rmsnorm": ("flashinfer.norm", lambda m, a: lambda: m.rmsnorm(a["x"], a["weight"], a["eps"])),
    "rmsnorm_unit_offset": ("flashinfer.norm", lambda m, a: lambda: m.gemma_rmsnorm(a["x"], a["weight"], a["eps"])),
    "add_rmsnorm": ("flashinfer.norm", _flashinfer_add_norm),
    "layernorm": ("flashinfer.norm", _flashinfer_layer_norm),
    "gated_activation": ("flashinfer.activation", _flashinfer_gated),
    "rope_qk": ("flashinfer.rope", _flashinfer_rope),
}
