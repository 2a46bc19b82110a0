"""What each pass makes of a situation it is there for, or refuses: a folder per pass, a file per situation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fusec.commands.explain_steps import show
from fusec.diagnostics import Source, SpecError
from fusec.ir.flow import Flow
from fusec.ir.graph import Graph
from fusec.ir.program import Program
from fusec.lang.load import load
from fusec.passes.graph.add_up import add_up
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.omit import omit
from fusec.passes.graph.resolve_views import resolve_views
from fusec.passes.graph.simplify import simplify
from fusec.passes.pipeline import GRAPH_STEPS, StepReport, compile_graph
from fusec.passes.schedule.gemv import expand_dots
from fusec.passes.schedule.traffic import least_traffic, traffic
from fusec.testing.golden import Case

CASES = sorted(Path(__file__).parent.glob("*/*.case"))


ALONE: dict[str, Callable[[Graph], Graph | Flow]] = {
    "add_up": add_up,
    "expand_dots": lambda graph: expand_dots(resolve_views(simplify(graph))),
    "omit": lambda graph: simplify(omit(graph, frozenset(tensor.name for tensor in graph.tensors if tensor.optional))),
}
"""Steps that the runner tells nobody of."""


def after(step: str, graph: Graph) -> str:
    """What the step made of an op, or the errors it stopped at."""
    if step in ALONE:
        return show(ALONE[step](graph))
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
    return next(show(report.result) for report in steps if report.name == step)


def moved(program: Program) -> list[str]:
    plans = [built.plan for group in program.groups for built in group.all_plans()]
    return [f"{plan.name}: {traffic(plan)}, least possible {least_traffic(plan)}" for plan in plans]


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_pass(path: Path, golden: Callable[[Path, str, str], None]) -> None:
    source = Source("spec.fuse", Case.read(path).sections["spec.fuse"])
    graphs = elaborate(load(source, None))
    golden(path, "after", "\n".join(after(path.parent.name, graph) + "\n" for graph in graphs))
