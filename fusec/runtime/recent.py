"""Recognising a call that looks like an earlier one, by one check in C instead of a key built in Python."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

import torch

from fusec.runtime.launch import picker
from fusec.runtime.plan import Plan

Tensors: TypeAlias = tuple[torch.Tensor | None, ...]
Settings: TypeAlias = tuple[Hashable, ...]

_data_ptr: Any = torch.Tensor.data_ptr
# What torch.compile guarded its inputs with: class, dtype, device, sizes, strides, views that negate.
_TensorGuards: Any = getattr(torch._C._dynamo.guards, "TensorGuards", None)


class Recent:
    """What the arguments of a call looked like, addresses apart, and the plan it ran."""

    __slots__ = ("_check", "_differentiable", "_given", "_omitted", "_settings", "plan")

    def __init__(self, tensors: Tensors, settings: Settings, plan: Plan) -> None:
        self._omitted = [place for place, tensor in enumerate(tensors) if tensor is None]
        self._given = picker([place for place, tensor in enumerate(tensors) if tensor is not None])
        given = [tensor for tensor in tensors if tensor is not None]
        self._check = _check(given)
        self._differentiable = any(tensor.requires_grad for tensor in given)
        self._settings = settings
        self.plan = plan

    def addresses(self, tensors: Tensors, settings: Settings) -> list[int] | None:
        """The addresses of `tensors` if the plan is right for them; None if it is not, or may not be.

        It is for plain tensors that look the same, no gradient asked for, all at multiples of 16. One tensor passed
        twice is never recognised, nor is anything where PyTorch lacks the check.
        """
        if settings != self._settings or (self._differentiable and torch.is_grad_enabled()):
            return None
        omitted = self._omitted
        if omitted:
            for place in omitted:
                if tensors[place] is not None:
                    return None
            tensors = self._given(tensors)
        if getattr(tensors[0], "is_nested", False) or not self._check(*tensors):
            return None  # the check of a nested tensor would end the process
        addresses = [*map(_data_ptr, tensors)]
        for address in addresses:
            if address & 15:
                return None
        for place in omitted:
            addresses.insert(place, 0)
        return addresses


def _check(tensors: list[torch.Tensor]) -> Callable[..., bool]:
    if _TensorGuards is None:
        return lambda *tensors: False
    check: Callable[..., bool] = _TensorGuards(*tensors, dynamic_dims_sizes=None, dynamic_dims_strides=None).check
    return check
