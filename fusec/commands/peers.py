"""What else could do the work of an op: PyTorch's own functions, and Liger's kernels where they are installed.

Only the benchmark knows ops by name, and only to find an opponent; an op without an entry is measured all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeAlias

import torch
from torch.nn import functional

Arguments: TypeAlias = Mapping[str, Any]
Call: TypeAlias = Callable[[], Any]

FUNCTIONAL: dict[str, Callable[[Arguments], Call]] = {
    "rmsnorm": lambda a: lambda: functional.rms_norm(a["x"], a["weight"].shape, a["weight"], a["eps"]),
    "layernorm": lambda a: lambda: functional.layer_norm(a["x"], a["weight"].shape, a["weight"], a["bias"], a["eps"]),
    "softmax": lambda a: lambda: torch.softmax(a["x"], -1),
}

LIGER: dict[str, tuple[str, Callable[[Any, Arguments], Call]]] = {
    "rmsnorm": (
        "liger_kernel.ops.rms_norm",
        lambda m, a: lambda: m.LigerRMSNormFunction.apply(a["x"], a["weight"], a["eps"]),
    ),
    "layernorm": (
        "liger_kernel.ops.layer_norm",
        lambda m, a: lambda: m.LigerLayerNormFunction.apply(a["x"], a["weight"], a["bias"], a["eps"]),
    ),
    "softmax": (
        "liger_kernel.ops.softmax",
        lambda m, a: lambda: m.LigerSoftmaxFunction.apply(a["x"]),
    ),
    "add_rmsnorm": (
        "liger_kernel.ops.fused_add_rms_norm",
        lambda m, a: lambda: m.LigerFusedAddRMSNormFunction.apply(a["x"], a["residual"], a["weight"], a["eps"]),
    ),
    "gated_activation": (
        "liger_kernel.ops.swiglu",
        lambda m, a: lambda: m.LigerSiLUMulFunction.apply(a["gate"], a["up"]),
    ),
}


def peers(op: str, op_call: Call, reference: Callable[..., Any], arguments: Arguments) -> dict[str, Call]:
    """The calls to time, by name: the op itself, its reference eager and compiled, and whoever else does its work."""
    compiled = torch.compile(reference, dynamic=False)
    found: dict[str, Call] = {
        "fusec": op_call,
        "eager reference": lambda: reference(**arguments),
        "torch.compile": lambda: compiled(**arguments),
    }
    if op in FUNCTIONAL:
        found["torch.nn.functional"] = FUNCTIONAL[op](arguments)
    if op in LIGER and find_spec("liger_kernel"):
        module, call = LIGER[op]
        found["Liger"] = call(import_module(module), arguments)
    return found
