"""Elementwise work on tensors of every rank, with and without leading axes, however they lie in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

LEADS = ((), (1,), (5,), (1, 5), (5, 1), (3, 4), (2, 1, 3), (2, 3, 4, 2), (0,), (3, 0))
LAYOUTS = ("contiguous", "transposed", "sliced_all_over", "broadcast")
SIZES = {"M": 3, "N": 5, "E": 1}
STORED = ("...", "", "1", "N", "E", "M, N", "M, 1, N", "M*N", "..., N", "..., E", "..., 1", "..., M, N", "4", "..., 4")


@pytest.mark.parametrize("stored", STORED)
def test_every_element_is_computed_once(stored: str, tmp_path: Path, device: torch.device) -> None:
    """`k` lies as the result does; so work on both alone may be walked as one axis where nothing has a gap."""
    parameters = f"x: T[{stored}], k: i32[{stored}], count: dim(M), number: dim(N), once: dim(E)"
    body = "where T in {f16, f32}:\n    y = ~k\n    z = x * k\n"
    text = f"op f({parameters}) -> (y: f32[{stored}], z: T[{stored}])\n{body}"
    (op,) = compiled(text, tmp_path)
    for lead in LEADS if "..." in stored else ((),):
        for layout in LAYOUTS:
            layouts = {"x": layout, "k": "contiguous" if layout == "broadcast" else layout}
            case = Case(op="f", seed=1, extents=SIZES, lead=lead, dtypes={"T": "f16"}, layouts=layouts)
            run_and_compare(op.call, op.program.forms, case, device=device)
