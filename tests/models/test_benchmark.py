"""The benchmarks of whole models run from end to end, at a size that a machine without a GPU takes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from benchmarks.models import llama
from benchmarks.models.run import main


def test_a_run_writes_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    out = tmp_path / "llama.json"
    words = ["--tiny", "--device", device.type, "--rounds", "1", "--who", "HF eager,fusec", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["run", *words])
    main("Llama", "benchmarks.models.llama", llama.config)
    found = json.loads(out.read_text())
    assert found["about"]["command"].startswith("python -m benchmarks.models.llama --tiny")
    assert set(found["models"]["Llama"]) == {"decode 2", "prefill 8"}
    for case in found["models"]["Llama"].values():
        assert set(case["wall ms"]) == {"HF eager", "fusec"}
    errors = found["errors of logits"]["Llama"]
    assert errors["fusec"] <= 1.5 * errors["HF eager"]
