"""Ops are exact wherever their kernels are interpreted, without a word of the caller's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_plain_process_computes_what_hardware_does_on_any_thread() -> None:
    settings = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    script = Path(__file__).with_name("interpreted_calls.py")
    done = subprocess.run([sys.executable, script], env=settings, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
