"""Shipped specs, compiled now and run under a shape of plan: for `python -m fusec.testing.mutation` alone.

The tests of the suite run the committed files, which a fault of the compiler does not reach.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fusec.forcing import CHIPS
from fusec.testing.random_run import hold_text

SPECS = sorted((Path(__file__).parents[2] / "specs").glob("*.fuse"))


@pytest.mark.parametrize("shape", CHIPS)
@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_shipped_spec_computes_what_it_means(path: Path, shape: str, tmp_path: Path, device: torch.device) -> None:
    if not hold_text(path.read_text(), list(CHIPS).index(shape), tmp_path, device, calls=2, shape=shape):
        pytest.skip("no such plan")
