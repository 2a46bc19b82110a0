"""Random typed specs, compiled and compared with what they mean: one shape of plan each, in turn.

`python -m fusec.testing.sweep` runs as many as one likes, in several processes, and makes what fails small.
"""

from __future__ import annotations

from pathlib import Path

import torch

from fusec.testing.random_run import hold


def test_a_random_spec_computes_what_it_means(spec_seed: int, tmp_path: Path, device: torch.device) -> None:
    hold(spec_seed, tmp_path, device)
