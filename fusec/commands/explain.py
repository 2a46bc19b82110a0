"""`fusec explain`: how an op becomes kernels, and every representation on the way when asked for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fusec.commands.explain_steps import show
from fusec.commands.find import OpArgument, SpecsOption, find_op
from fusec.commands.outcome import DebugOption, JsonOption, UsageError, describe, print_json, reporting, tell_warnings
from fusec.ir.graph import Graph
from fusec.passes.explain.op import explain
from fusec.passes.explain.words import lines, title
from fusec.passes.pipeline import StepReport, compile_graph
from fusec.passes.warnings import warnings_of

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
        warnings = warnings_of([graph])
        shown = [] if ir is None else chosen(graph, ir)
        if ir and not as_json:
            tell_warnings(warnings)
            for step in shown:
                print(f"--- {step.name} ({step.seconds * 1e3:.1f} ms)\n{show(step.result)}\n")
            return
        explained = explain(graph)
        if as_json:
            plain = {**asdict(explained), "ir": {step.name: show(step.result) for step in shown}}
            print_json({**plain, "warnings": list(map(describe, warnings))})
            return
        tell_warnings(warnings)
        print("\n".join([title(graph), *lines(explained)]))


def chosen(graph: Graph, ir: str) -> list[StepReport]:
    """The steps that `--ir` asks for. Raises `UsageError` for a step that there is not."""
    steps = [StepReport("elaborate", graph, 0.0)]
    compile_graph(graph, steps.append)
    found = [step for step in steps if ir in (step.name, "all")]
    if not found:
        raise UsageError(f"no step {ir}; there are {', '.join(step.name for step in steps)} and all")
    return found
