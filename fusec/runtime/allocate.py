"""The one place where generated code allocates: outputs and workspaces both come from `empty`."""

from __future__ import annotations

import torch

# The allocation that Inductor's code uses: half the host time of the public one, same caching allocator.
_on_this_gpu = getattr(torch._C._dynamo.guards, "_empty_strided_cuda", None)


def empty(shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """An uninitialised tensor on `device`, which is the current one if it is a GPU.

    Callers rely on an address that is a multiple of 16: a compiled kernel is reused for every result of this function.
    """
    if device.index is not None and _on_this_gpu is not None:  # only a GPU has an index, and to ask for it is quicker
        tensor: torch.Tensor = _on_this_gpu(shape, strides, dtype)
        return tensor
    return torch.empty_strided(shape, strides, dtype=dtype, device=device)
