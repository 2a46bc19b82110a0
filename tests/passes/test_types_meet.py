"""Values of several types meet in one kernel, which Triton has to accept: the interpreter accepts more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

PARTS = {"i8": "c", "i32": "a", "i64": "b", "f16": "x", "f64": "d"}
"""What may be the one and the other neighbour of an output, and a name of its own."""

SCALED = (
    "op loop(x: f32[M, N], s: f64) -> y: f32[M]:\n    y = sum(x * s, over=N)",
    "op largest(x: f16[M, N], s: f64 = 0.1) -> y: f32[M]:\n    y = amax(x + s, over=N)",
    "op alone(x: f16[M, N], s: f64, t: f64) -> y: f32[M, N]:\n    y = x + sum(where(index(N) < 3, s, t), over=N)",
    "op normed(x: f32[M, N], s: f64) -> y: f32[M, N]:\n    y = x * rsqrt(mean((x / (1 + abs(s))) ** 2, over=N))",
    "op dotted(x: f16[M, K], w: f16[N, K], s: f64) -> y: f32[M, N]:\n    y = dot(x * s, w, over=K)",
    "op either(x: T[M, N], s: f64) -> y: T[M]\nwhere T in {f32, f64}:\n    y = sum(x * s, over=N)",
    "op kept(x: f32[M], s: f64) -> (y: f32[M], z: f64[M]):\n    y = x * s\n    z = s + 0 * index(M)",
    "op beside(x: f32[M, N/2], s: f64) -> y: f16[M, N]\nwhere N % 2 == 0:\n    y = interleave(x, x * s, over=N)",
)
"""Numbers of f64 in ops whose reals are f32, or may be."""


def refused(*texts: str) -> list[dict[str, str]]:
    """Which kernels of each spec Triton refuses, and why."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    worker = [sys.executable, str(Path(__file__).with_name("front_worker.py"))]
    answer = subprocess.run(
        worker, input=json.dumps(texts), stdout=subprocess.PIPE, text=True, env=environment, check=True
    )
    found: list[dict[str, str]] = json.loads(answer.stdout.splitlines()[-1])
    assert len(found) == len(texts)
    return found


def test_neighbours_of_two_types_are_stored_together() -> None:
    forms = []
    for one, other in combinations(PARTS, 2):
        a, b = PARTS[one], PARTS[other]
        for out in ("f32",) if "f" in one + other else ("i64", "i8"):
            header = f"op f({a}: {one}[M, N/2], {b}: {other}[M, N/2]) -> y: {out}[M, N]"
            forms.append(f"{header}\nwhere N % 2 == 0:\n    y = interleave({a}, {b}, over=N)")
    forms.append("op f(x: f32[M], n: i32 = 2) -> (y: i64[2], z: f32[M]):\n    y = -((index(2) * n) >> 2)\n    z = x")
    assert {form: why for form, why in zip(forms, refused(*forms), strict=True) if why} == {}


def test_a_number_of_f64_does_not_widen_what_is_computed() -> None:
    assert {form: why for form, why in zip(SCALED, refused(*SCALED), strict=True) if why} == {}
