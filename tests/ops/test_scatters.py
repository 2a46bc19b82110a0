"""Writes into `mut` tensors under every shape of plan: right where they go, and nowhere else."""

from __future__ import annotations

import os

import pytest
import torch
from catalogue import Op
from compiled import compiled
from hypothesis import HealthCheck, Phase, given, settings
from scatter_forms import IN_PLACE, READ_BEFORE, SCATTERS, SUMS

from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from fusec.runtime.interpreter.programs import shuffled
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare
from fusec.testing.limits import LIMITS, limited, reaches
from fusec.testing.strategies import Budget, reaching

EXAMPLES = int(os.environ.get("FUSEC_EXAMPLES", "3"))
"""Drawn calls per form and shape of plan."""

BUDGET = Budget(rows=12, elements=160, inner=(1, 2, 3, 5, 8, 13, 16, 17, 33, 64, 70))
"""Small calls of several programs: where several values may have one place, a sum takes the square of their number."""

drawn = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


FORMS = {
    f"{kind}: {name}": text
    for kind, table in (("write", SCATTERS), ("in place", IN_PLACE), ("read before", READ_BEFORE), ("sum", SUMS))
    for name, text in table.items()
}


@pytest.fixture(scope="module", params=FORMS)
def op(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Op:
    (only,) = compiled(FORMS[request.param], tmp_path_factory.mktemp("scatter"))
    return only


@pytest.mark.parametrize("shape", LIMITS)
def test_a_write_reaches_its_places_and_no_other(op: Op, shape: str, device: torch.device) -> None:
    if not reaches(shape, op.program):
        pytest.skip("nothing to multiply")

    @drawn
    @given(reaching(shape, op.program.graph, BUDGET))
    def holds(case: Case) -> None:
        with limited(op.module, LIMITS[shape]):
            run_and_compare(op.call, op.program.forms, case, device=device, order=shuffled(case.seed))

    holds()


@pytest.mark.parametrize("table", [SCATTERS, IN_PLACE, READ_BEFORE, SUMS], ids=["write", "in place", "read", "sum"])
def test_writes_wait_where_they_have_to_and_nowhere_else(table: dict[str, str]) -> None:
    for name, text in table.items():
        for op in compile_source(Source("written.fuse", text), None):
            assert bool(op.program.last) == (table in (READ_BEFORE, SUMS)), name
