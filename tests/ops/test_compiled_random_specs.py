"""Random typed specs, compiled and compared with what they mean: one shape of plan each, in turn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled
from hypothesis import HealthCheck, Phase, given, settings

from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare
from fusec.testing.limits import LIMITS, limited
from fusec.testing.random_specs import text
from fusec.testing.strategies import Budget, cases

REPRODUCE = "reproduce with pytest tests/ops/test_compiled_random_specs.py --spec-seed {}"

# The specs are random already: a failing call is not made smaller, so that it is the one which is reported.
few = settings(
    max_examples=4,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_random_spec_computes_what_it_means(spec_seed: int, tmp_path: Path, device: torch.device) -> None:
    shape = list(LIMITS)[spec_seed % len(LIMITS)]
    try:
        (op,) = compiled(text(spec_seed), tmp_path)

        @few
        @given(cases(op.program.graph, Budget(elements=300)))
        def holds(case: Case) -> None:
            with limited(op.module, LIMITS[shape]):
                run_and_compare(op.call, op.program.forms, case, device=device)

        holds()
    except Exception as error:
        error.add_note(f"plan {shape!r} of\n{text(spec_seed)}\n{REPRODUCE.format(spec_seed)}")
        raise
