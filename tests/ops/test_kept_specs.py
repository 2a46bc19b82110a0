"""Random specs that once failed, kept as they were: what a seed draws changes when the generator learns new things."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled
from hypothesis import HealthCheck, Phase, given, settings

from fusec.forcing import CHIPS, on_chip
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare
from fusec.testing.strategies import Budget, cases

KEPT = sorted((Path(__file__).parent / "kept").glob("*.fuse"))

few = settings(
    max_examples=3,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_kept_spec_computes_what_it_means(path: Path, tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(path.read_text(), tmp_path)
    for shape in ("rows", "resident", "row_loop", "split_rows"):

        @few
        @given(cases(op.program.graph, Budget(elements=200)))
        def holds(case: Case) -> None:
            with on_chip(op.module, CHIPS[shape]):  # noqa: B023 called in this turn
                run_and_compare(op.call, op.program.forms, case, device=device)

        holds()
