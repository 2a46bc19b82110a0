"""Loops over several axes take every tile of them, also where the extent of one is a sum of parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.forcing import CHIPS, on_chip

SIZES = {"A": 2, "L": 2, "R": 3, "N": 40, "M": 5, "K": 33}
"""More positions along the innermost axis than a tile has, so that the other axes are walked in steps of it."""

FORMS = {
    "sum, parts outside": ("x: f32[L + R, N], size: dim(L)", "f32[]", "sum(x, over=(L + R, N))"),
    "sum, parts between": ("x: f32[A, L + R, N], size: dim(L)", "f32[]", "sum(x, over=(A, L + R, N))"),
    "sum, parts inside": ("x: f32[A, L + R], size: dim(L)", "f32[]", "sum(x, over=(A, L + R))"),
    "sum, parts and rows": ("x: f32[M, L + R, N], size: dim(L)", "f32[M]", "sum(x, over=(L + R, N))"),
    "dot, parts outside": (
        "x: f32[M, L + R, K], w: f32[N, L + R, K], size: dim(L)",
        "f32[M, N]",
        "dot(x, w, over=(L + R, K))",
    ),
}


def ones(parameters: str, device: torch.device) -> list[torch.Tensor]:
    shapes = [part.partition("[")[2] for part in parameters.split("]") if "[" in part]
    extents = [[sum(SIZES[name] for name in dim.split(" + ")) for dim in shape.split(", ")] for shape in shapes]
    return [torch.ones(shape, device=device) for shape in extents]


@pytest.mark.parametrize("chip", ["row_loop", "split_rows", "swap_ab"])
@pytest.mark.parametrize("form", FORMS)
def test_every_position_is_counted_once(form: str, chip: str, tmp_path: Path, device: torch.device) -> None:
    parameters, result, value = FORMS[form]
    (op,) = compiled(f"op f({parameters}) -> y: {result}:\n    y = {value}\n", tmp_path)
    tensors = ones(parameters, device)
    with on_chip(op.module, CHIPS[chip]):
        found = op.call(*tensors, SIZES["L"])
    over = tensors[0].numel() // (SIZES["M"] if result.startswith("f32[M") else 1)
    assert torch.equal(found, torch.full_like(found, over))
