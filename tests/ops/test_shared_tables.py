"""A table that heads share is read once for all of them, wherever heads lie in memory, if a program can hold them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.runtime import H200, Op

TURNED = """
op f(x: T[B, {axes}, D], cos: f32[S, D], sin: f32[S, D]) -> y: T[B, {axes}, D]
where T in {{f16, bf16, f32}}, D % 2 == 0:
    y = rope(x, cos, sin, over=D)
"""


@pytest.mark.parametrize("axes", ["H, S", "S, H"])
def test_heads_are_together_if_a_program_can_hold_them(axes: str, tmp_path: Path) -> None:
    (op,) = compiled(TURNED.format(axes=axes), tmp_path)
    (runtime,) = (found for found in vars(op.module).values() if isinstance(found, Op))
    first = axes == "H, S"

    def taken(batch: int, heads: int, width: int) -> str:
        shape = (batch, heads, 64, width) if first else (batch, 64, heads, width)
        x = torch.empty(shape, dtype=torch.bfloat16, device="meta")
        tables = (torch.empty(64, width, device="meta") for _ in range(2))
        return runtime.decide(x, *tables, chip=H200).steps[0].plan

    assert [taken(batch, 32, 128) for batch in (1, 64)] == ["tile", "tile"]
    assert taken(1, 1024, 128) == "elementwise"
    # In pieces of less than 32 bytes, or of one head, nothing is gained.
    pieces = "elementwise" if first else "tile"
    assert [taken(1, 32, width) for width in (16, 32)] == [pieces, "tile"]
    assert taken(1, 1, 128) == pieces
