"""When a call may skip PyTorch's dispatcher, which costs more host time than the kernel's launch."""

from __future__ import annotations

import torch
from torch._C import _get_tracing_state, _len_torch_dispatch_stack, _len_torch_function_stack
from torch._C._functorch import peek_interpreter_stack
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling

_PLAIN = frozenset({torch.Tensor, torch.nn.Parameter})


def watched() -> bool:
    """Whether something traces, transforms or counts operators right now."""
    return bool(
        is_dynamo_compiling()
        or _len_torch_dispatch_stack()
        or _len_torch_function_stack()
        or peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
    )


def recorded() -> bool:
    """Whether `torch.jit.trace` records the call, which makes tensors of sizes. Too slow to ask for in every call."""
    return _get_tracing_state() is not None


def plain(tensors: tuple[torch.Tensor | None, ...]) -> bool:
    """Whether the tensors hold their data as their strides say, and no gradient or trace will be asked for."""
    if recorded():
        return False
    differentiated = torch.is_grad_enabled()
    for tensor in tensors:
        if tensor is not None and (
            type(tensor) not in _PLAIN or tensor.is_neg() or (differentiated and tensor.requires_grad)
        ):
            return False
    return True
