"""A call that is planned and not run: PyTorch hands over the arguments of its operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from fusec.runtime.plan import Plan, Results


class Asked(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within, a call of `operator` is only planned. `planned` makes the plan, and results for the caller."""

    plan: Plan

    def __init__(self, operator: Any, planned: Callable[..., tuple[Plan, Results]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._operator = operator
        self._planned = planned

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not self._operator:
            return func(*args, **(kwargs or {}))
        self.plan, results = self._planned(*args)
        return results
