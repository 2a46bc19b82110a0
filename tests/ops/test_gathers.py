"""What is looked up and then reduced or multiplied: lanes beyond the end of an index take no part in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from compiled import compiled
from hypothesis import HealthCheck, Phase, given, settings

from fusec.forcing import CHIPS, on_chip, reaches
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare
from fusec.testing.strategies import Budget, reaching

EXAMPLES = int(os.environ.get("FUSEC_EXAMPLES", "8"))
"""Drawn calls per form and shape of plan."""

GATHERS = {
    "sums over the axis of an index": """
op sums(t: T[P, N], at: i32[K]) -> (s: f32[N], most: f32[N], least: f32[N])
where T in {f16, f32}:
    s = sum(t[at], over=K)
    most = amax(t[at], over=K)
    least = amin(t[at], over=K)
""",
    "sums over a computed index": """
op shifted(t: T[P], at: i32[M, K], shift: i32 = 1) -> s: f32[M]
where T in {f16, f32}:
    s = sum(t[at + shift] * index(K), over=K)
""",
    "a looked up row is multiplied": """
op multiplied(x: T[M, K], t: T[P, N], at: i32[K]) -> y: f32[M, N]
where T in {f16, f32}:
    y = dot(x, t[at], over=K)
""",
    "rows of another index are multiplied": """
op rows(x: T[P, K], w: T[N, K], at: i32[M]) -> y: f32[M, N]
where T in {f16, f32}:
    y = dot(x[at], w, over=K)
""",
    "both operands are looked up": """
op both(x: T[P, M], t: T[Q, N], i: i32[K], j: i32[K]) -> y: f32[M, N]
where T in {f16, f32}:
    y = dot(x[i], t[j + 1], over=K)
""",
}


@pytest.mark.parametrize("shape", CHIPS)
@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in GATHERS.items()])
def test_what_is_looked_up_is_reduced_as_far_as_its_index_goes(
    text: str, shape: str, tmp_path: Path, device: torch.device
) -> None:
    (op,) = compiled(text, tmp_path)
    if not reaches(shape, op.program):
        pytest.skip("nothing to multiply")

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(reaching(shape, op.program.graph, Budget(rows=16, elements=600)))
    def holds(case: Case) -> None:
        with on_chip(op.module, CHIPS[shape]):
            run_and_compare(op.call, op.program.forms, case, device=device)

    holds()
