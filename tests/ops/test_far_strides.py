"""Tensors that span more than 2**31 elements, few of which exist: every offset is computed in 64 bits there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.forcing import CHIPS, on_chip
from fusec.testing.watching import watched

FAR = 2**30


@dataclass(frozen=True)
class Far:
    """An op whose first argument has so many positions along each dimension, and its other arguments."""

    text: str
    sizes: tuple[int, ...]
    others: tuple[torch.Tensor, ...] = ()


OPS = {
    "the halves of an axis": Far(
        """
op rotated(x: T[M, H*D]) -> y: T[M, H*D]
where T in {f16}, D == 4:
    a, b = halves(x * rsqrt(mean(x * x, over=(H, D)) + 1), over=D)
    y = join(-b, a, over=D)
""",
        (3, 12),
    ),
    "the pairs of an axis": Far(
        """
op turned(x: T[M, H*D]) -> y: T[M, H*D]
where T in {f16}, D == 2, H % 2 == 0:
    a, b = pairs(x * rsqrt(mean(x * x, over=(H, D)) + 1), over=H)
    y = interleave(-b, a, over=H)
""",
        (3, 8),
    ),
    "the parts of an axis": Far(
        """
op taken(x: T[M, P + Q], front: f16[P]) -> y: T[M, P + Q]
where T in {f16}:
    a, b = split(x, P, Q)
    y = concat(a * front, b - amax(b, over=Q))
""",
        (3, 8),
        (torch.tensor([1.0, 2.0, 3.0], dtype=torch.float16),),
    ),
    "the parts of the rows": Far(
        """
op stacked(x: T[P + Q, N], front: f16[P]) -> y: T[P + Q, N]
where T in {f16}:
    a, b = split(x, P, Q)
    y = concat(a * front, b - amax(b, over=N))
""",
        (8, 3),
        (torch.tensor([1.0, 2.0, 3.0], dtype=torch.float16),),
    ),
    "rows that are looked up": Far(
        """
op looked_up(x: T[K, N], at: i32[M]) -> y: T[M, N]
where T in {f16}:
    y = x[at] * 2
""",
        (5, 6),
        (torch.tensor([4, 0, 3], dtype=torch.int32),),
    ),
    "several axes in one loop": Far(
        """
op scaled(x: T[A, B, N]) -> (y: T[A, B, N], s: f32[])
where T in {f16}:
    s = amax(abs(x), over=(A, B, N))
    y = x * s
""",
        (5, 3, 6),
    ),
}


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """A file of nothing but holes: of its 2**34 elements those take room that are written."""
    path = tmp_path_factory.mktemp("holes") / "memory"
    with path.open("wb") as file:
        file.truncate(2 * 2**34)
    return torch.from_file(str(path), shared=True, size=2**34, dtype=torch.float16)


@pytest.mark.parametrize("shape", CHIPS)
@pytest.mark.parametrize("axis", [0, -1], ids=["rows", "columns"])
@pytest.mark.parametrize("far", OPS.values(), ids=OPS)
def test_elements_that_are_far_apart_are_found(
    far: Far, axis: int, shape: str, tmp_path: Path, memory: torch.Tensor, device: torch.device
) -> None:
    if device.type != "cpu":
        pytest.skip("the memory of a GPU has no holes")
    (op,) = compiled(far.text, tmp_path)
    near = (torch.arange(torch.Size(far.sizes).numel()) * 5 % 17 - 8).to(torch.float16).reshape(far.sizes)
    strides = list(near.movedim(axis, 0).contiguous().movedim(0, axis).stride())
    strides[axis] = FAR
    spread = memory.as_strided(far.sizes, strides)
    spread.copy_(near)
    with on_chip(op.module, CHIPS[shape]):
        expected = op.call(near, *far.others)
        with watched({"x": spread}, set()):
            found = op.call(spread, *far.others)
    for one, other in zip(*(each if isinstance(each, tuple) else (each,) for each in (expected, found)), strict=True):
        assert torch.equal(one, other)
