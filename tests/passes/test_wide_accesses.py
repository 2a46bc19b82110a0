"""Rows are read and written 16 bytes at a time, where all of them are aligned and where `VEC` says so: seen in PTX."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SPECS = {
    "y = rmsnorm(x, t[0], 1e-6, over=N)": {"resident", "row_loop", "partial_sum_of_squares", "combine"},
    "y = x * t[i]": {"elementwise"},
}
"""What is computed of rows x, of a table t and positions i in it, and kernels that it takes."""

LEAST = 0.9
"""The share of bytes: a position, and what a row has one of, are read by themselves."""


def test_rows_are_moved_16_bytes_at_a_time() -> None:
    texts = [f"op f(x: bf16[..., N], t: bf16[R, N], i: i32[...]) -> y: bf16[..., N]:\n    {body}\n" for body in SPECS]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    worker = [sys.executable, str(Path(__file__).with_name("width_worker.py"))]
    answer = subprocess.run(
        worker, input=json.dumps(texts), stdout=subprocess.PIPE, text=True, env=environment, check=True
    )
    for (body, kernels), found in zip(SPECS.items(), json.loads(answer.stdout), strict=True):
        assert kernels <= {name.removeprefix("_f_") for name in found}, body
        for kernel, shares in found.items():
            assert min(shares.values()) >= LEAST, (body, kernel, shares)
