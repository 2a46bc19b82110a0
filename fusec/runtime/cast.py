"""Weights in another dtype than kernels read: each is rounded once, and that is kept while the weight lives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from fusec.ir.host.plans import Plans
from fusec.runtime.launch import Value
from fusec.runtime.plan import Plan, PlanOfOthers, Results
from fusec.runtime.prepare import Entry, Prepare

ROUNDED = Prepare(lambda weight, dtype: weight.to(dtype), weights=("weight",), names=("rounded",))
"""Of all ops: those that read one weight share what it was rounded to."""


def dtypes(plans: Plans, tensors: tuple[torch.Tensor | None, ...], sizes: Mapping[str, Any]) -> dict[int, torch.dtype]:
    """The places of tensors that plans are to see in another dtype, and that dtype."""
    wanted = {place: sizes[plans.cast[name]] for place, name in enumerate(plans.strides) if name in plans.cast}
    return {p: dtype for p, dtype in wanted.items() if (tensor := tensors[p]) is not None and tensor.dtype != dtype}


def likenesses(
    tensors: tuple[torch.Tensor | None, ...], dtypes: Mapping[int, torch.dtype]
) -> tuple[torch.Tensor | None, ...]:
    """The tensors, with some that hold nothing in the place of those that are rounded."""
    return tuple(
        torch.empty(tensor.shape, dtype=dtypes[place], device=tensor.device)
        if tensor is not None and place in dtypes
        else tensor
        for place, tensor in enumerate(tensors)
    )


class RoundingPlan(PlanOfOthers):
    """A plan for weights in other dtypes than those of a call, where tensors have these `names`."""

    def __init__(
        self, plan: Plan, names: Sequence[str], tensors: tuple[torch.Tensor | None, ...], dtypes: Mapping[int, Any]
    ) -> None:
        super().__init__(plan)
        self._told = [f"{names[p]} rounded to {str(dtype).removeprefix('torch.')}" for p, dtype in dtypes.items()]
        self._rounding = {p: ROUNDED.like(tensors[p], dtype=dtype) for p, dtype in dtypes.items()}
        self.names = {place: names[place] for place in dtypes}

    def __repr__(self) -> str:
        return f"{', '.join(self._told)}, once, and then\n{self._plan!r}"

    def rounded(self, tensors: tuple[torch.Tensor | None, ...], addresses: list[int]) -> dict[int, Entry]:
        """By place what weights were rounded to, now or in an earlier call."""
        given = ((place, prepared, tensors[place]) for place, prepared in self._rounding.items())
        return {p: prepared.of((weight,), addresses[p]) for p, prepared, weight in given if weight is not None}

    def run(
        self, tensors: tuple[torch.Tensor | None, ...], scalars: tuple[Value, ...], addresses: list[int]
    ) -> Results:
        """Run with rounded weights in the place of those of the call."""
        read, at = list(tensors), list(addresses)
        for place, entry in self.rounded(tensors, addresses).items():
            read[place], at[place] = entry.values[0], entry.addresses[0]
        return self._plan.run(tuple(read), scalars, at)
