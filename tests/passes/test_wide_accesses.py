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


TURNED = {
    "x: f8e4m3[K, N]) -> y: f8e4m3[N, K]": "x",
    "x: bf16[K, N]) -> y: f8e4m3[N, K]": "x * 0.5",
    "x: f8e5m2[K, N], s: f32[K]) -> y: bf16[N, K]": "x * s",
    "x: bf16[B, K, N], z: bf16[B, N, K]) -> y: bf16[B, N, K]": "x + z",
}
"""Ops of matrices that lie across each other, by their signatures, and what they compute."""

PAIRS = {
    "x: bf16[S, H, D], c: bf16[S, D], s: bf16[S, D]) -> y: bf16[S, H, D]": {"tile", "elementwise"},
    "x: bf16[M, D], c: bf16[D]) -> y: bf16[M, D]": {"elementwise"},
}
"""Ops whose pairs lie side by side, by their signatures, and kernels that they take."""

ROTATED = "rope_interleaved_full(x, c, s, over=D)", "interleave(second, first, over=D) * c"


def test_rows_are_moved_16_bytes_at_a_time() -> None:
    texts = [f"op f(x: bf16[..., N], t: bf16[R, N], i: i32[...]) -> y: bf16[..., N]:\n    {body}\n" for body in SPECS]
    texts += [f"op f({face}:\n    y = {value}\n" for face, value in TURNED.items()]
    pairs = "\nwhere D % 2 == 0:\n    first, second = pairs(x, over=D)\n    y = "
    texts += [f"op f({face}{pairs}{value}\n" for face, value in zip(PAIRS, ROTATED, strict=True)]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    worker = [sys.executable, str(Path(__file__).with_name("width_worker.py"))]
    answer = subprocess.run(
        worker, input=json.dumps(texts), stdout=subprocess.PIPE, text=True, env=environment, check=True
    )
    answers = json.loads(answer.stdout)
    for (body, kernels), found in zip(SPECS.items(), answers, strict=False):
        assert kernels <= {name.removeprefix("_f_") for name in found}, body
        for kernel, shares in found.items():
            assert min(shares.values()) >= LEAST, (body, kernel, shares)
    kinds = {face: set[str]() for face in TURNED} | PAIRS
    for (face, kernels), found in zip(kinds.items(), answers[len(SPECS) :], strict=True):
        assert found, face
        assert kernels <= {name.removeprefix("_f_") for name in found}, face
        assert min(shares["whole"] for shares in found.values()) >= LEAST, (face, found)
