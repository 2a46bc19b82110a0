"""The steps from a graph to kernels: each takes what the one before makes, says what it does, and has its cases."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from fusec.commands.explain_steps import show
from fusec.diagnostics import InternalError, Source
from fusec.ir.graph import Graph
from fusec.ir.program import BuiltGroup
from fusec.ir.types import BOOL, REAL, ValueType
from fusec.ir.verify import verify_graph
from fusec.lang.load import load
from fusec.passes import pipeline
from fusec.passes.graph.add_up import add_up
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.omit import omit
from fusec.passes.graph.resolve_views import resolve_views
from fusec.passes.host.table import host_table
from fusec.passes.kernel.build import build_kernel
from fusec.passes.partition.postpone import postpone
from fusec.passes.partition.prepare import prepare
from fusec.passes.partition.store_operands import store_operands
from fusec.passes.partition.unfuse import unfuse
from fusec.passes.pipeline import GRAPH_STEPS, StepReport, compile_graph
from fusec.passes.schedule.gemv import expand_dots
from fusec.passes.schedule.place import place, place_dots

ROOT = Path(__file__).resolve().parents[2]

STEPS: tuple[Callable[..., Any], ...] = (*GRAPH_STEPS, resolve_views, place, pipeline._build)

OTHERS: tuple[Callable[..., Any], ...] = (
    add_up,
    postpone,
    omit,
    prepare,
    store_operands,
    unfuse,
    place_dots,
    expand_dots,
)
"""Steps that only some ops take."""

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
    assert [report.name for report in reports()] == [*names, "build_kernels", "host_table"]


DOTS = """op f(x: T[M, K], weight w: T[K, N], bias: T[N] = 0) -> y: T[M, N]
where T in {bf16}:
    y = dot(rmsnorm(x, 1.0, 0.1, over=K), w * 2, over=K, precision=T) + bias
"""


def broken(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step with a graph of which an output has another type than the node that it reads."""

    def wrong(*given: Any) -> Any:
        made = step(*given)
        graphs = pipeline._graphs_in(made)
        node = replace(graphs[0].nodes[-1], type=ValueType(BOOL))
        return replace(graphs[0], nodes=(*graphs[0].nodes[:-1], node))

    wrong.__name__ = step.__name__
    return wrong


@pytest.mark.parametrize("name", ["simplify", "commute", "defer", "reciprocate", "prepare", "unfuse", "store_operands"])
def test_the_runner_says_which_step_broke_which_rule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (graph,) = elaborate(load(Source("f.fuse", DOTS), None))
    monkeypatch.setattr(pipeline, name, broken(getattr(pipeline, name)))
    monkeypatch.setattr(pipeline, "GRAPH_STEPS", tuple(getattr(pipeline, step.__name__) for step in GRAPH_STEPS))
    with pytest.raises(InternalError, match=f"internal error in {name}: %\\d+ is said to be bool"):
        compile_graph(graph)


@pytest.mark.parametrize("report", reports(), ids=lambda report: report.name)
def test_what_a_step_makes_has_a_form_to_show(report: StepReport) -> None:
    assert len(show(report.result).splitlines()) > 3


@pytest.mark.parametrize("step", [*STEPS[:-1], build_kernel, host_table], ids=lambda step: step.__name__)
def test_a_step_says_what_stands_before_and_after_it(step: Callable[..., Any]) -> None:
    text = sys.modules[step.__module__].__doc__ or ""
    assert "Before:" in text
    assert "fter:" in text
    assert step.__doc__


@pytest.mark.parametrize("step", [*STEPS[:-1], *OTHERS, host_table], ids=lambda step: step.__name__)
def test_a_step_has_cases(step: Callable[..., Any]) -> None:
    assert list((ROOT / "tests" / "passes" / step.__name__).glob("*.case"))


@pytest.mark.parametrize(("reduction", "is_part_of_a_mean"), [("sum", True), ("amax", False), ("amin", False)])
def test_integers_are_added_as_reals_and_not_compared_as_such(reduction: str, is_part_of_a_mean: bool) -> None:
    text = f"op f(x: i8[M, N]) -> y: i64[M]:\n    y = {reduction}(x, over=N)\n"
    (graph,) = elaborate(load(Source("f.fuse", text), None))
    node = replace(graph.nodes[-1], type=replace(graph.nodes[-1].type, element=REAL))
    wrong = replace(graph, nodes=(*graph.nodes[:-1], node))
    with nullcontext() if is_part_of_a_mean else pytest.raises(InternalError, match="is said to be real"):
        verify_graph(wrong)
