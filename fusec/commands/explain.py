"""`fusec explain`: how an op becomes kernels, and every representation on the way when asked for."""

from __future__ import annotations

from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from fusec.commands.explain_steps import show
from fusec.commands.find import OpArgument, SpecsOption, find_spec
from fusec.commands.outcome import DebugOption, JsonOption, UsageError, describe, print_json, reporting, tell_warnings
from fusec.diagnostics import Source
from fusec.driver.plan import plan_graphs
from fusec.ir.graph import Graph
from fusec.passes.explain.op import explain
from fusec.passes.explain.words import lines, title
from fusec.passes.pipeline import compile_graph
from fusec.passes.runner import StepReport
from fusec.passes.warnings import warnings_of

EPILOG = """[bold]Examples[/bold]

fusec explain rmsnorm_quantize

fusec explain rmsnorm_quantize --ir commute

fusec explain rmsnorm_quantize --ir all

fusec explain linear --size M=16 K=4096 N=4096 --dtype bf16 --with bias

fusec explain linear --size M=16 K=4096 N=4096 --layout weight=transposed --plan gemm --device h200

[bold]Exit codes[/bold]

0 explained · 1 the spec is wrong · 2 wrong usage, or no such op · 4 a fault of fusec"""


def run(
    op: OpArgument,
    specs: SpecsOption = Path("specs"),
    more: Annotated[list[str] | None, typer.Argument(metavar="[AXIS=EXTENT]...", help="Further sizes.")] = None,
    ir: Annotated[str | None, typer.Option(help="Show what this step made, or `all` steps.")] = None,
    size: Annotated[list[str] | None, typer.Option(help="The sizes of a call whose plan to tell: M=16 N=4096.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="Of the call: bf16, or T=bf16 for one type variable.")] = None,
    layout: Annotated[list[str] | None, typer.Option(help="Of the call: x=transposed, x=sliced, or x=8192x1.")] = None,
    choose: Annotated[list[str] | None, typer.Option(help="Of the call: activation=gelu.")] = None,
    given: Annotated[list[str] | None, typer.Option("--with", help="An optional tensor that the call has.")] = None,
    plan: Annotated[str | None, typer.Option(help="The plan to force, by name.")] = None,
    device: Annotated[str, typer.Option(help="The chip that the call is planned for.")] = "h200",
    registers: Annotated[bool, typer.Option("--registers", help="Compile the kernels, for registers.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Explain the plans of an op: its kernels, what each moves, where every reduction went and why.

    With sizes, explain one call: the plan that it takes and why, its launches, tiles and occupancy, the bytes that it
    really moves, and what other plans would take.
    """
    with reporting(as_json, debug):
        path, source, graphs = find_spec(op, specs)
        graph = next(graph for graph in graphs if graph.name == op)
        warnings = warnings_of([graph])
        sizes = [*(size or []), *(more or [])]
        of_call = {
            "dtypes": dtype,
            "layouts": layout,
            "choices": choose,
            "given": given,
            "plan": plan,
            "registers": registers,
        }
        if sizes or any(of_call.values()):
            asked = {name: value for name, value in of_call.items() if value}
            text, data = call_of(source, path.parent, graph, {**asked, "sizes": sizes, "device": device})
            tell_warnings(warnings)
            print_json(data) if as_json else print(text)
            return
        shown = [] if ir is None else chosen(graph, ir)
        if ir and not as_json:
            tell_warnings(warnings)
            for step in shown:
                print(f"--- {step.name} ({step.seconds * 1e3:.1f} ms)\n{show(step.result)}\n")
            return
        explained = explain(graph, plan_graphs(graphs).program(op))
        if as_json:
            plain = {**asdict(explained), "ir": {step.name: show(step.result) for step in shown}}
            print_json({**plain, "warnings": list(map(describe, warnings))})
            return
        tell_warnings(warnings)
        print("\n".join([title(graph), *lines(explained)]))


def call_of(source: Source, folder: Path, graph: Graph, wanted: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The plan of one call, as text and as data. Loads what that takes, torch above all, and nothing else does."""
    told: tuple[str, dict[str, Any]] = import_module("fusec.commands.explain_call").told(source, folder, graph, wanted)
    return told


def chosen(graph: Graph, ir: str) -> list[StepReport]:
    """The steps that `--ir` asks for. Raises `UsageError` for a step that there is not."""
    steps = [StepReport("elaborate", graph, 0.0)]
    compile_graph(graph, steps.append)
    found = [step for step in steps if ir in (step.name, "all")]
    if not found:
        raise UsageError(f"no step {ir}; there are {', '.join(step.name for step in steps)} and all")
    return found
