"""`fusec explain`: how an op becomes kernels, and every representation on the way when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from fusec.codegen.triton import kernel_lines
from fusec.commands.find import OpArgument, SpecsOption, find_op
from fusec.commands.outcome import DebugOption, JsonOption, UsageError, print_json, reporting
from fusec.commands.outline import outline
from fusec.driver.compile import plan_records
from fusec.driver.record import PlanRecord
from fusec.ir.graph import Graph
from fusec.ir.program import BuiltGroup, Program
from fusec.ir.show import show_graph
from fusec.passes.pipeline import StepReport, compile_graph

EPILOG = """[bold]Examples[/bold]

fusec explain rmsnorm_quantize

fusec explain rmsnorm_quantize --ir commute

fusec explain rmsnorm_quantize --ir all

[bold]Exit codes[/bold]

0 explained · 1 the spec is wrong · 2 wrong usage, or no such op · 4 a fault of fusec"""


def run(
    op: OpArgument,
    specs: SpecsOption = Path("specs"),
    ir: Annotated[str | None, typer.Option(help="Show what this step made, or `all` steps.")] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Explain the plans of an op: its kernels, what each moves, where every reduction went and why."""
    with reporting(as_json, debug):
        _, _, graph = find_op(op, specs)
        steps = [StepReport("elaborate", graph, 0.0)]
        program = compile_graph(graph, steps.append)
        plans = plan_records(program)
        shown = chosen(steps, ir)
        if as_json:
            print_json({**to_json(graph, plans), "ir": {step.name: show(step.result) for step in shown}})
        elif ir:
            for step in shown:
                print(f"--- {step.name} ({step.seconds * 1e3:.1f} ms)\n{show(step.result)}\n")
        else:
            print("\n".join(explanation(program, plans)))


def chosen(steps: Sequence[StepReport], ir: str | None) -> list[StepReport]:
    """The steps that `--ir` asks for. Raises `UsageError` for a step that there is not."""
    if ir is None:
        return []
    found = [step for step in steps if ir in (step.name, "all")]
    if not found:
        raise UsageError(f"no step {ir}; there are {', '.join(step.name for step in steps)} and all")
    return found


def explanation(program: Program, plans: Sequence[PlanRecord]) -> list[str]:
    """The plans of an op, in words."""
    graph = program.graph
    lines = [f"{graph.name}: {graph.doc.strip().splitlines()[0] if graph.doc.strip() else 'no description'}", ""]
    for number, plan in enumerate(plans, 1):
        lines += [
            f"plan {number}, {plan.name}: {plan.words}",
            f"    kernels  {', '.join(plan.kernels)}",
            f"    moves    {plan.moved}",
            f"    least    {plan.least}",
        ]
    return lines


def to_json(graph: Graph, plans: Sequence[PlanRecord]) -> dict[str, Any]:
    """The explanation as plain values."""
    return {"op": graph.name, "plans": [asdict(plan) for plan in plans]}


def show(result: Any) -> str:
    """A representation as text: a graph line by line, kernels as the Triton they become, others by their fields."""
    match result:
        case Graph():
            return show_graph(result)
        case (BuiltGroup(), *_):
            kernels = {k.name: k for group in result for plan in group.all_plans() for k in plan.kernels}
            return "\n\n".join(
                "\n".join([f"kernel {kernel.name}", *(f"    {line}" for line in kernel_lines(kernel, "tl.float32"))])
                for kernel in kernels.values()
            )
        case _:
            return outline(result)
