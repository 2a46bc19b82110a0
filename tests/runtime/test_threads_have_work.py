"""The threads of a program have 8 to 32 elements of its tile each, whatever the rule and the sizes: seen from plans.

A program that is alone may have more threads, and a row in registers always has two warps.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.runtime.select.describe import DescribedLaunch

SPECS = {
    "columns": "op f(x: f32[M, N]) -> y: f32[N]:\n    y = sum(x * x, over=M)\n",
    "columns of a middle axis": "op f(x: f32[M, K, N]) -> y: f32[M, N]:\n    y = amax(x, over=K)\n",
    "rows": "op f(x: f32[M, N]) -> y: f32[M]:\n    y = sum(abs(x), over=N)\n",
    "elements": "op f(x: f32[M, N], w: f32[N]) -> y: f32[M, N]:\n    y = x * w\n",
    "a tile": "op f(x: f32[M, K, N], t: f32[M, N]) -> y: f32[M, K, N]:\n    y = x * t\n",
    "all": "op f(x: f32[M, N]) -> y: f32[]:\n    y = sum(x, over=(M, N))\n",
}
SIZES = (1, 2, 5, 17, 64, 100, 129, 700)
LEAST, MOST = 8, 32


def launches(text: str, folder: Path, device: torch.device) -> Iterator[tuple[str, DescribedLaunch]]:
    (op,) = compiled(text, folder)
    rank = text.partition("]")[0].count(",") + 1
    taker = op.module._OP_F
    for m in SIZES:
        for n in (*SIZES, 3000):
            x = torch.empty((m, 19, n) if rank == 3 else (m, n), device=device)
            shared = {"w:": (n,), "t:": (m, n)}
            given = (x, *(torch.empty(shape, device=device) for name, shape in shared.items() if name in text))
            for step in taker.describe(*given).steps:
                yield from ((step.plan, launch) for launch in step.launches)


@pytest.mark.parametrize("name", SPECS)
def test_a_thread_has_neither_little_nor_much(name: str, tmp_path: Path, device: torch.device) -> None:
    for plan, launch in launches(SPECS[name], tmp_path, device):
        sizes = [size for key, size in launch.blocks.items() if key.startswith("BLOCK_") or key == "ROWS"]
        each = prod(sizes) / (32 * launch.warps)
        assert launch.warps.bit_count() == 1
        assert launch.programs <= 1 or launch.warps <= 2 or each >= LEAST, (plan, launch)
        assert launch.programs == 0 or launch.warps == 32 or each <= MOST, (plan, launch)
