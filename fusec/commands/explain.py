"""`fusec explain`: how an op becomes kernels, and every representation on the way when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
from fusec.ir.program import BuiltGroup, BuiltPlan, Program
from fusec.ir.show import show_graph
from fusec.passes.pipeline import StepReport, compile_graph
from fusec.passes.plan.justify import Placement, justify, live_registers

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
        plans = [
            explain(built, record, steps) for built, record in zip(_built(program), plan_records(program), strict=True)
        ]
        shown = chosen(steps, ir)
        if as_json:
            print_json({**to_json(graph, plans), "ir": {step.name: show(step.result) for step in shown}})
        elif ir:
            for step in shown:
                print(f"--- {step.name} ({step.seconds * 1e3:.1f} ms)\n{show(step.result)}\n")
        else:
            print("\n".join(explanation(graph, plans)))


def chosen(steps: Sequence[StepReport], ir: str | None) -> list[StepReport]:
    """The steps that `--ir` asks for. Raises `UsageError` for a step that there is not."""
    if ir is None:
        return []
    found = [step for step in steps if ir in (step.name, "all")]
    if not found:
        raise UsageError(f"no step {ir}; there are {', '.join(step.name for step in steps)} and all")
    return found


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan, where its reductions went, and for each kernel how many registers its tiles are expected to take."""

    plan: PlanRecord
    reductions: tuple[Placement, ...]
    registers: tuple[str, ...]


def explain(built: BuiltPlan, record: PlanRecord, steps: Sequence[StepReport]) -> Explanation:
    """The explanation of one plan, from the plan and what the steps before it made."""
    made = {step.name: step.result for step in steps}
    registers = tuple(f"{stage.name}: {live_registers(stage)}" for stage in built.plan.stages)
    return Explanation(record, justify(built.plan, made["simplify"], made["commute"]), registers)


def explanation(graph: Graph, plans: Sequence[Explanation]) -> list[str]:
    """The plans of an op, in words."""
    lines = [f"{graph.name}: {graph.doc.strip().splitlines()[0] if graph.doc.strip() else 'no description'}"]
    for number, plan in enumerate(plans, 1):
        lines += ["", f"plan {number}, {plan.plan.name}: {plan.plan.words}"]
        lines += [f"    kernel     {kernel}" for kernel in plan.plan.kernels]
        lines += [f"    moves      {plan.plan.moved} (least possible: {plan.plan.least})"]
        lines += [f"    registers  {text}" for text in plan.registers]
        for placement in plan.reductions:
            lines.append(f"    {placement.reduction}  ->  {placement.place}")
            lines += [f"        {rule}" for rule in placement.applied]
            lines += [f"        refused: {rule}" for rule in placement.refused]
    return lines


def to_json(graph: Graph, plans: Sequence[Explanation]) -> dict[str, Any]:
    """The explanation as plain values."""
    return {"op": graph.name, "plans": [asdict(plan) for plan in plans]}


def _built(program: Program) -> list[BuiltPlan]:
    return [built for group in program.groups for built in group.all_plans()]


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
