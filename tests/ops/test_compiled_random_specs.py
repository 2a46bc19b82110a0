"""Random typed specs, compiled and compared with what they mean: one shape of plan each, in turn.

`python -m fusec.testing.sweep` runs as many as one likes, in several processes, and makes what fails small.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from fusec.testing.random_run import hold

FAILING: Mapping[int, str] = {}
"""Faults that are known and not mended yet."""


def test_a_random_spec_computes_what_it_means(spec_seed: int, tmp_path: Path, device: torch.device) -> None:
    if spec_seed in FAILING:
        pytest.xfail(FAILING[spec_seed])
    hold(spec_seed, tmp_path, device)
