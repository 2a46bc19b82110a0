"""Writes into `mut` tensors under every shape of plan: right where they go, and nowhere else."""

from __future__ import annotations

import os

import pytest
import torch
from catalogue import Op
from compiled import compiled
from hypothesis import HealthCheck, Phase, given, settings
from scatter_forms import SCATTERS

from fusec.runtime.interpreter.programs import shuffled
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare
from fusec.testing.limits import LIMITS, limited, reaches
from fusec.testing.strategies import Budget, reaching

EXAMPLES = int(os.environ.get("FUSEC_EXAMPLES", "4"))
"""Drawn calls per form and shape of plan."""

drawn = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module", params=SCATTERS)
def op(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Op:
    (only,) = compiled(SCATTERS[request.param], tmp_path_factory.mktemp("scatter"))
    return only


@pytest.mark.parametrize("shape", LIMITS)
def test_a_write_reaches_its_places_and_no_other(op: Op, shape: str, device: torch.device) -> None:
    if not reaches(shape, op.program):
        pytest.skip("nothing to multiply")

    @drawn
    @given(reaching(shape, op.program.graph, Budget(rows=16, elements=600)))
    def holds(case: Case) -> None:
        with limited(op.module, LIMITS[shape]):
            run_and_compare(op.call, op.program.forms, case, device=device, order=shuffled(case.seed))

    holds()
