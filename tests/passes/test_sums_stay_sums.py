"""Sums of products are what a kernel says: Triton makes no dots in tf32 of them, as seen in its IR, without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SPECS = {
    "two products, one behind the other": """
op f(x: T[M, K], w: T[K, N], v: T[N, R]) -> y: f32[M, R]
where T in {f16}:
    y = dot(dot(x, w, over=K), v, over=N)
""",
    "all axes in registers": """
op f(x: T[M, K], w: T[K, N]) -> (y: f32[M, N], z: f32[M, K], s: f32[M, K, N])
where T in {f32}:
    p = x * w
    y = sum(p, over=K)
    z = sum(p, over=N)
    s = p - mean(p, over=(M, K, N))
""",
    "a product with itself": """
op f(x: T[B, S, N], w: T[N, F]) -> (y: f32[N, S, B], z: f32[B, S])
where T in {f16}:
    p = dot(x, w, over=N)
    q = dot(p, p, over=F)
    y = x * q
    z = q
""",
}


@pytest.fixture(scope="module")
def seen() -> dict[tuple[str, bool], dict[str, int]]:
    wanted = [(name, kept) for name in SPECS for kept in (True, False)]
    jobs = [{"look": "dots", "spec": SPECS[name], "kept": kept} for name, kept in wanted]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    worker = [sys.executable, str(Path(__file__).with_name("ttir_worker.py"))]
    answer = subprocess.run(
        worker, input=json.dumps(jobs), stdout=subprocess.PIPE, text=True, env=environment, check=True
    )
    return dict(zip(wanted, json.loads(answer.stdout), strict=True))


@pytest.mark.parametrize("name", SPECS)
def test_no_sum_of_products_becomes_a_dot(name: str, seen: dict[tuple[str, bool], dict[str, int]]) -> None:
    assert set(seen[name, True].values()) == {0}


@pytest.mark.parametrize("name", SPECS)
def test_it_would_with_operands_in_the_other_order(name: str, seen: dict[tuple[str, bool], dict[str, int]]) -> None:
    assert any(seen[name, False].values())
