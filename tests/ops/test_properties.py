"""Every op of specs/, under every shape of plan, on drawn calls: results within the derived bound, memory untouched.

The same file runs on the interpreter and on a GPU.
"""

from __future__ import annotations

import os

import pytest
import torch
from catalogue import Op, all_ops
from hypothesis import HealthCheck, given, settings

from fusec.forcing import CHIPS, on_chip, reaches
from fusec.testing.compare import run_and_compare
from fusec.testing.metamorphic import check_permuted, check_repeatable
from fusec.testing.strategies import cases, reaching

EXAMPLES = int(os.environ.get("FUSEC_EXAMPLES", "8"))
"""Drawn calls per op and shape of plan."""

drawn = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


@pytest.mark.parametrize("shape", CHIPS)
@pytest.mark.parametrize("op", all_ops(), ids=lambda op: op.name)
def test_results_lie_within_their_bound(op: Op, shape: str, device: torch.device) -> None:
    if not reaches(shape, op.program):
        pytest.skip("nothing to multiply")

    @drawn
    @given(reaching(shape, op.program.graph))
    def holds(case: object) -> None:
        with on_chip(op.module, CHIPS[shape]):
            outcome = run_and_compare(op.call, op.program.forms, case, device=device)
        assert outcome.ratio <= 1

    holds()


@pytest.mark.parametrize("op", all_ops(), ids=lambda op: op.name)
def test_programs_may_run_in_any_order_and_rows_may_move(op: Op, device: torch.device) -> None:
    @settings(drawn, max_examples=max(EXAMPLES // 4, 2))
    @given(cases(op.program.graph))
    def holds(case: object) -> None:
        check_repeatable(op.call, op.program.graph, case, device)
        check_permuted(op.call, op.program.graph, case, device)

    holds()
