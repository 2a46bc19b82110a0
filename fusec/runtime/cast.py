"""Weights in another dtype than kernels read: each is rounded once, and that is kept while the weight lives."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch

from fusec.ir.host.plans import Plans
from fusec.runtime.launch import Value
from fusec.runtime.plan import Plan, PlanOfOthers, Results
from fusec.runtime.prepare import Entry, Prepare
from fusec.runtime.select.call import Call

ROUNDED = Prepare(lambda weight, dtype: weight.to(dtype), weights=("weight",), names=("rounded",))
"""Of all ops: those that read one weight share what it was rounded to."""


Tensors: TypeAlias = tuple[torch.Tensor | None, ...]


def likenesses(plans: Plans, tensors: Tensors, extents: tuple[Any, ...]) -> Tensors:
    """The tensors of a call as plans see them: for a weight that is to be rounded one that holds nothing."""
    if not plans.cast:
        return tensors
    sizes = dict(zip(plans.extents.split(), extents, strict=True))
    wanted = [sizes[plans.cast[name]] if name in plans.cast else None for name in plans.strides]
    return tuple(
        tensor
        if tensor is None or dtype in (None, tensor.dtype)
        else torch.empty(tensor.shape, dtype=dtype, device=tensor.device)
        for tensor, dtype in zip(tensors, wanted, strict=False)
    )


def passed(plans: Plans, tensors: Tensors, read: Tensors) -> dict[str, torch.dtype]:
    """The weights by name that plans see in another dtype, and that in which they came."""
    seen = zip(plans.strides, tensors, read, strict=False)
    return {name: tensor.dtype for name, tensor, likeness in seen if tensor is not None and tensor is not likeness}


def rounding(plan: Plan, call: Call, tensors: Tensors) -> Plan:
    """`plan` for the tensors of a call."""
    return RoundingPlan(plan, call, tensors) if call.passed else plan


class RoundingPlan(PlanOfOthers):
    """A plan for weights in other dtypes than those of a call; of these it has the `names` by place."""

    def __init__(self, plan: Plan, call: Call, tensors: Tensors) -> None:
        super().__init__(plan)
        self.names = {place: name for place, name in enumerate(call.tensors) if name in call.passed}
        dtypes = {place: likeness.dtype for place, likeness in enumerate(call.tensors.values()) if likeness is not None}
        self._rounding = {place: ROUNDED.like(tensors[place], dtype=dtypes[place]) for place in self.names}

    def __repr__(self) -> str:
        return repr(self._plan)

    def rounded(self, tensors: Tensors, addresses: list[int]) -> dict[int, Entry]:
        """By place what weights were rounded to, now or in an earlier call."""
        given = ((place, prepared, tensors[place]) for place, prepared in self._rounding.items())
        return {p: prepared.of((weight,), addresses[p]) for p, prepared, weight in given if weight is not None}

    def run(self, tensors: Tensors, scalars: tuple[Value, ...], addresses: list[int]) -> Results:
        """Run with rounded weights in the place of those of the call."""
        read, at = list(tensors), list(addresses)
        for place, entry in self.rounded(tensors, addresses).items():
            read[place], at[place] = entry.values[0], entry.addresses[0]
        return self._plan.run(tuple(read), scalars, at)
