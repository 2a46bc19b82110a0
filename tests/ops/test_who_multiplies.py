"""Whether an op multiplies or the vendor's library does: by what TMA can move, on tensors without memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from compiled import compiled

from fusec.runtime import Op as RuntimeOp

SPEC = """
op f(x: T[M, K], w: T[N, K]) -> y: T[M, N]
where T in {bf16}:
    y = gelu(dot(x, w, over=K))
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> RuntimeOp:
    (op,) = compiled(SPEC, tmp_path_factory.mktemp("products"))
    found: Any = next(each for each in vars(op.module).values() if isinstance(each, RuntimeOp))
    return found


def plans(own: RuntimeOp, rows: int, inner: int, length: int, offset: int = 0) -> list[str]:
    """Those of the steps of a call, with rows of `length` elements in memory, of which `inner` are multiplied."""
    x, w = (torch.empty(size, length, dtype=torch.bfloat16, device="meta") for size in (rows, 4096))
    return [step.plan for step in own.decide(x[:, offset : offset + inner], w[:, :inner]).steps]


@pytest.mark.parametrize("rows", [1024, 4096])
def test_what_tma_can_move_is_multiplied_and_finished_in_one_kernel(own: RuntimeOp, rows: int) -> None:
    for inner, length in ((4096, 4096), (4088, 4088), (4000, 4096)):
        assert plans(own, rows, inner, length) == ["tma"]


@pytest.mark.parametrize("rows", [1024, 4096])
@pytest.mark.parametrize(
    ("inner", "length", "offset"), [(4095, 4095, 0), (4092, 4092, 0), (4000, 4100, 0), (4000, 4096, 4)]
)
def test_what_it_cannot_move_goes_to_the_library(
    own: RuntimeOp, rows: int, inner: int, length: int, offset: int
) -> None:
    """Rows and addresses that are no multiples of 16 bytes."""
    assert plans(own, rows, inner, length, offset) == ["library", "elementwise"]
