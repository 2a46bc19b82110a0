"""When a call may skip PyTorch's dispatcher, which costs more host time than the kernel's launch."""

from __future__ import annotations

import torch
from torch._C import _len_torch_dispatch_stack, _len_torch_function_stack
from torch._C._functorch import peek_interpreter_stack
from torch.autograd import forward_ad

_PLAIN = frozenset({torch.Tensor, torch.nn.Parameter})


def direct(*tensors: torch.Tensor | None) -> bool:
    """Whether nothing but the kernels needs to see this call.

    False while something traces, transforms or counts operators, and when a gradient will be asked for: then the
    registered op has to be called.
    """
    if (
        torch.compiler.is_dynamo_compiling()
        or _len_torch_dispatch_stack()
        or _len_torch_function_stack()
        or peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
    ):
        return False
    differentiated = torch.is_grad_enabled()
    for tensor in tensors:
        if tensor is not None and (
            type(tensor) not in _PLAIN or tensor.is_neg() or (differentiated and tensor.requires_grad)
        ):
            return False
    return True
