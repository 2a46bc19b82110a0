"""Specs as users write them, under every shape of plan, against formulas that know nothing of the compiler.

What the op returns and what the formula returns both have to lie within the bound that is derived for the op.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from catalogue import Op
from compiled import compiled
from formulas import TABLE, stored
from hypothesis import HealthCheck, Phase, given, settings
from torch import Tensor

from fusec.forcing import CHIPS, on_chip, reaches
from fusec.ir.graph import Graph, Output, ScalarParam, TensorParam
from fusec.reference.rounding import TORCH_DTYPES, round_to, widen
from fusec.testing.cases import Case, build, storage
from fusec.testing.compare import hold, run
from fusec.testing.strategies import Budget, reaching

EXAMPLES = int(os.environ.get("FUSEC_EXAMPLES", "4"))
"""Drawn calls per op and shape of plan."""

SPECIAL = ("inf", "nan", "huge")
"""Values with which a formula may mean something else where it is written otherwise: inf - inf, or an overflow."""

drawn = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module", params=TABLE)
def op(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Op:
    (only,) = compiled(TABLE[request.param].text, tmp_path_factory.mktemp("written"))
    return only


@pytest.mark.parametrize("shape", CHIPS)
def test_op_and_formula_agree(op: Op, shape: str, device: torch.device) -> None:
    if not reaches(shape, op.program):
        pytest.skip("nothing to multiply")

    @drawn
    @given(reaching(shape, op.program.graph, Budget(rows=8, elements=600)))
    def holds(case: Case) -> None:
        plain = {name: kind for name, kind in case.values.items() if kind not in SPECIAL}
        with on_chip(op.module, CHIPS[shape]):
            compare(op, replace(case, values=plain), device)

    holds()


def compare(op: Op, case: Case, device: torch.device) -> None:
    """Raise AssertionError unless op and formula lie within the bound of the op."""
    graph = op.program.graph
    call = build(graph, case, device)
    arguments = {
        name: value.cpu().clone() if isinstance(value, Tensor) else value for name, value in call.arguments.items()
    }
    try:
        hold(run(op.call, graph, case, call), op.program.forms, arguments)
        wanted = by_formula(op, case, arguments)
        dtypes = {result.name: TORCH_DTYPES[storage(case, result.element).name] for result in results_of(graph)}
        hold({name: stored(wanted[name], dtype) for name, dtype in dtypes.items()}, op.program.forms, arguments)
    except AssertionError as error:
        error.add_note(f"reproduce with {case!r}")
        raise


def results_of(graph: Graph) -> list[Output | TensorParam]:
    """What a call makes: its outputs, then what is written in place."""
    return [*graph.outputs, *(param for param in graph.tensors if param.mutable)]


def by_formula(op: Op, case: Case, arguments: dict[str, object]) -> dict[str, Tensor]:
    """The results by name, before they are rounded to their dtypes."""
    given = {name: widen(value) if isinstance(value, Tensor) else value for name, value in arguments.items()}
    for param in op.program.graph.params:
        if isinstance(param, ScalarParam) and isinstance(given[param.name], float):
            exact = torch.tensor(given[param.name], dtype=torch.float64)
            given[param.name] = round_to(exact, param.dtype).item()
    formula = TABLE[op.name].formula
    variables = set(formula.__code__.co_varnames[: formula.__code__.co_argcount]) & case.dtypes.keys()
    given |= {name: TORCH_DTYPES[case.dtypes[name]] for name in variables}
    results = formula(**given)
    results = results if isinstance(results, tuple) else (results,)
    return {each.name: result for each, result in zip(results_of(op.program.graph), results, strict=True)}
