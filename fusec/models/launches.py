"""What a call comes to: how many kernels it launches, and which ops of ours, told on any device by its operators."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fusec.runtime.op import launches_of
from fusec.runtime.register import NAMESPACE


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within, operators are counted that compute: those of ours by their plans, one kernel for any of PyTorch.

    `ops` are the names of ours, in their order.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0
        self.ops: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and func.overloadpacket not in _NO_KERNELS:
            self.count += launches_of(func, args)
            if func.namespace == NAMESPACE:
                self.ops.append(func._opname)
        return func(*args, **(kwargs or {}))


_NO_KERNELS = {
    torch.ops.aten.detach,
    torch.ops.aten.empty,
    torch.ops.aten.empty_like,
    torch.ops.aten.empty_strided,
    torch.ops.aten._unsafe_view,
    torch.ops.aten._reshape_alias,
}
