"""What rules choose takes little longer than it must, by the time model: whatever the op, and for a row as for many.

Each call is planned on tensors without memory, as for an H200. The least time is that of the roofline. What is lost
besides is a part of it, and what launches and the first loads cost: how much of each there is today, is what is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
import torch
from built import built

from fusec.runtime.select.predict import predict

Call: TypeAlias = tuple[str, tuple[Any, ...]]

ROWS = (1, 16, 132, 1000, 16000)
COLUMNS = (64, 1000, 4096, 12000, 40000)
MATRICES = ((4096, 1024), (4096, 14336))
FILES = {"rmsnorm_gradient": "norm_gradients"}


def empty(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, dtype=torch.bfloat16, device="meta")


def of_rows() -> Iterator[Call]:
    for m in ROWS:
        for n in COLUMNS:
            x, gain = empty(m, n), empty(n)
            yield "rmsnorm", (x, gain)
            yield "softmax", (x,)
            yield "add_rmsnorm", (x, x, gain)
            yield "gated_activation", (x, x, "silu")
            yield "rmsnorm_gradient", (x, x, gain)


def of_products() -> Iterator[Call]:
    for m in ROWS:
        for k, n in MATRICES:
            x, weight = empty(m, k), empty(n, k)
            yield "linear", (x, weight, None)
            yield "rmsnorm_linear", (x, empty(k), weight, None, "plain")
            yield "fused_gated_mlp", (x, weight, weight, "silu")


@pytest.mark.parametrize(
    ("calls", "part", "besides"), [(of_rows, 1.3, 12.5), (of_products, 1.45, 11.5)], ids=["rows", "products"]
)
def test_a_call_takes_little_longer_than_it_must(calls: Any, part: float, besides: float) -> None:
    slow: dict[str, float] = {}
    for name, given in calls():
        decision = built(name, FILES.get(name, ""))[0].decide(*given)
        launches = [launch for step in predict(decision) for launch in step]
        took, least = sum(each.us for each in launches), sum(each.least_us for each in launches)
        if took > part * least + besides:
            slow[f"{name} {[*given[0].shape]}: {', '.join(step.plan for step in decision.steps)}"] = took - least
    assert not slow
