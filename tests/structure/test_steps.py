"""The steps from a graph to kernels: each takes what the one before makes, says what it does, and has its cases."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from fusec.commands.explain_steps import show
from fusec.diagnostics import Source
from fusec.ir.graph import Graph
from fusec.ir.kernel import Kernel
from fusec.ir.partition import Partition
from fusec.lang.load import load
from fusec.passes.graph.add_up import add_up
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.omit import omit
from fusec.passes.graph.resolve_views import resolve_views
from fusec.passes.graph.round_weights import round_weights
from fusec.passes.host.table import host_table
from fusec.passes.kernel.kernels import build_kernels
from fusec.passes.partition.alternatives import partition
from fusec.passes.partition.dots_alone import dots_alone
from fusec.passes.partition.postpone import postpone
from fusec.passes.partition.prepare import prepare
from fusec.passes.partition.store_operands import store_operands
from fusec.passes.pipeline import GRAPH_STEPS, compile_graph
from fusec.passes.runner import StepReport
from fusec.passes.schedule.gemv import expand_dots
from fusec.passes.schedule.steps import schedule

ROOT = Path(__file__).resolve().parents[2]

STEPS: tuple[Callable[..., Any], ...] = (*GRAPH_STEPS, schedule, build_kernels)

OTHERS: tuple[Callable[..., Any], ...] = (
    *(
        round_weights,
        add_up,
        postpone,
        omit,
        prepare,
        partition,
        store_operands,
        dots_alone,
        expand_dots,
        resolve_views,
        host_table,
    ),
)
"""Steps that only some ops take."""

SPEC = """op f(x: T[M, D], w: T[D]) -> (y: T[M, D], z: f32[M])
where T in {f16, f32}, D % 2 == 0:
    a, b = halves(rmsnorm(x, w, 0.1, over=D), over=D)
    y = join(b, a, over=D)
    z = mean(x, over=D)
"""


def reports(text: str = SPEC) -> list[StepReport]:
    (graph,) = elaborate(load(Source("f.fuse", text), None))
    steps: list[StepReport] = []
    compile_graph(graph, steps.append)
    return steps


def test_a_rewrite_takes_and_makes_a_graph() -> None:
    for step in GRAPH_STEPS:
        hints = get_type_hints(step)
        assert (next(iter(hints.values())), hints["return"]) == (Graph, Graph)


def test_partitions_go_from_pass_to_pass() -> None:
    made = [get_type_hints(step)["return"] for step in (partition, schedule)]
    taken = [next(iter(get_type_hints(step).values())) for step in (schedule, build_kernels)]
    assert made == taken == [tuple[Partition, ...]] * 2
    assert get_type_hints(build_kernels)["return"] == dict[str, Kernel]


@pytest.mark.parametrize("report", reports(), ids=lambda report: report.name)
def test_what_a_step_makes_has_a_form_to_show(report: StepReport) -> None:
    assert len(show(report.result).splitlines()) > 3


@pytest.mark.parametrize("step", [*STEPS, partition, resolve_views, host_table], ids=lambda step: step.__name__)
def test_a_step_says_what_stands_before_and_after_it(step: Callable[..., Any]) -> None:
    text = sys.modules[step.__module__].__doc__ or ""
    assert "Before:" in text
    assert "fter:" in text
    assert step.__doc__


@pytest.mark.parametrize("step", [*STEPS, *OTHERS], ids=lambda step: step.__name__)
def test_a_step_has_cases(step: Callable[..., Any]) -> None:
    assert list((ROOT / "tests" / "passes" / step.__name__).glob("*.case"))
