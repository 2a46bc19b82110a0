"""The steps from a graph to kernels: each takes what the one before makes, says what it does, and has its cases."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from fusec.commands.explain import show
from fusec.diagnostics import Source
from fusec.ir.graph import Graph
from fusec.ir.program import BuiltGroup
from fusec.lang.load import load
from fusec.passes import pipeline
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.resolve_views import resolve_views
from fusec.passes.kernel.build import build_kernel
from fusec.passes.pipeline import GRAPH_STEPS, StepReport, compile_graph
from fusec.passes.plan.place import place

ROOT = Path(__file__).resolve().parents[2]

STEPS: tuple[Callable[..., Any], ...] = (*GRAPH_STEPS, resolve_views, place, pipeline._build)

SPEC = """op f(x: T[M, D], w: T[D]) -> (y: T[M, D], z: f32[M])
where T in {f16, f32}, D % 2 == 0:
    a, b = halves(rmsnorm(x, w, 0.1, over=D), over=D)
    y = join(b, a, over=D)
    z = mean(x, over=D)
"""


def reports() -> list[StepReport]:
    (graph,) = elaborate(load(Source("f.fuse", SPEC), None))
    steps: list[StepReport] = []
    compile_graph(graph, steps.append)
    return steps


def test_a_step_takes_what_the_one_before_makes() -> None:
    made: object = Graph
    for step in STEPS:
        hints = get_type_hints(step)
        taken = next(iter(hints.values()))
        assert taken == made, f"{step.__name__} takes {taken}, and is handed {made}"
        made = hints["return"]
    assert made == tuple[BuiltGroup, ...]


def test_the_runner_tells_of_every_step_in_order() -> None:
    names = [step.__name__ for step in STEPS[:-1]]
    assert [report.name for report in reports()] == [*names, "build_kernels"]


@pytest.mark.parametrize("report", reports(), ids=lambda report: report.name)
def test_what_a_step_makes_has_a_form_to_show(report: StepReport) -> None:
    assert len(show(report.result).splitlines()) > 3


@pytest.mark.parametrize("step", [*GRAPH_STEPS, resolve_views, place, build_kernel], ids=lambda step: step.__name__)
def test_a_step_says_what_stands_before_and_after_it(step: Callable[..., Any]) -> None:
    text = sys.modules[step.__module__].__doc__ or ""
    assert "Before:" in text
    assert "fter:" in text
    assert step.__doc__


@pytest.mark.parametrize("step", STEPS[:-1], ids=lambda step: step.__name__)
def test_a_step_has_cases(step: Callable[..., Any]) -> None:
    assert list((ROOT / "tests" / "passes" / step.__name__).glob("*.case"))
