"""What each pass makes of a situation it is there for, or refuses: a folder per pass, a file per situation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fusec.commands.explain_steps import show
from fusec.diagnostics import Source, SpecError
from fusec.ir.flow import Flow
from fusec.ir.graph import Graph
from fusec.ir.partition import Partition
from fusec.ir.program import Program
from fusec.lang.load import load
from fusec.passes.graph.add_up import add_up
from fusec.passes.graph.commute import commute
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.omit import omit
from fusec.passes.graph.reciprocate import reciprocate
from fusec.passes.graph.regroup import regroup
from fusec.passes.graph.resolve_views import resolve_views
from fusec.passes.graph.round_weights import round_weights
from fusec.passes.graph.simplify import simplify
from fusec.passes.partition.dots_alone import dots_alone
from fusec.passes.partition.prepare import prepare
from fusec.passes.partition.store_operands import store_operands
from fusec.passes.pipeline import GRAPH_STEPS, compile_graph
from fusec.passes.runner import StepReport
from fusec.passes.schedule.gemv import expand_dots
from fusec.passes.schedule.traffic import least_traffic, traffic
from fusec.testing.golden import Case

CASES = sorted(Path(__file__).parent.glob("*/*.case"))


def undeferred(graph: Graph) -> Graph:
    """What is cut of an op: the graph of every call."""
    return prepare(reciprocate(regroup(commute(simplify(graph))))).each


ALONE: dict[str, Callable[[Graph], Graph | Flow | Partition | None]] = {
    "add_up": add_up,
    "round_weights": round_weights,
    "expand_dots": lambda graph: expand_dots(resolve_views(simplify(graph))),
    "dots_alone": lambda graph: dots_alone(undeferred(graph)),
    "store_operands": lambda graph: store_operands(undeferred(graph)),
    "omit": lambda graph: simplify(omit(graph, frozenset(tensor.name for tensor in graph.tensors if tensor.optional))),
}
"""Steps that the runner tells nobody of."""


def after(step: str, graph: Graph) -> str:
    """What the step made of an op, or the errors it stopped at."""
    if step in ALONE:
        made = ALONE[step](graph)
        return show(made) if made else "there is no such partition"
    lowered = graph
    for rewrite in GRAPH_STEPS:
        lowered = rewrite(lowered)
        if rewrite.__name__ == step:
            return show(lowered)
    steps: list[StepReport] = []
    try:
        program = compile_graph(graph, steps.append)
    except SpecError as error:
        return str(error)
    if step == "traffic":
        return "\n".join(moved(program))
    found = [show(report.result) for report in steps if report.name == step]
    return found[0] if found else "there is no such step"


def moved(program: Program) -> list[str]:
    plans = [plan for group in program.groups for plan in group.all_plans()]
    return [f"{plan.name}: {traffic(plan)}, least possible {least_traffic(plan)}" for plan in plans]


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_pass(path: Path, golden: Callable[[Path, str, str], None]) -> None:
    source = Source("spec.fuse", Case.read(path).sections["spec.fuse"])
    graphs = elaborate(load(source, None))
    golden(path, "after", "\n".join(after(path.parent.name, graph) + "\n" for graph in graphs))
