"""`fusec check`: the front end alone, for editors and commit hooks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from fusec.commands.outcome import DebugOption, JsonOption, print_json, reporting
from fusec.diagnostics import Diagnostic, Source, SpecError
from fusec.driver.specs import clashes, read_specs
from fusec.ir.graph import Graph
from fusec.lang.load import load
from fusec.passes.graph.elaborate.op import elaborate

EPILOG = """[bold]Examples[/bold]

fusec check specs/

fusec check specs/rmsnorm.fuse --json

[bold]Exit codes[/bold]

0 no mistakes · 1 a spec is wrong · 2 wrong usage · 4 a fault of fusec"""


def run(
    specs: Annotated[list[Path] | None, typer.Argument(help="Folders of .fuse files, or files.")] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Check specs for mistakes; compile nothing, write nothing."""
    with reporting(as_json, debug):
        graphs = [graph for folder in specs or [Path("specs")] for graph in check_package(read_specs(folder))]
        if as_json:
            print_json({"ok": True, "ops": [graph.name for graph in graphs]})
        else:
            print(f"{len(graphs)} op{'s' * (len(graphs) != 1)}, no mistakes")


def check_package(sources: Mapping[Path, Source]) -> list[Graph]:
    """The ops of specs that make one package. Raises `SpecError` with the mistakes of all of them."""
    graphs: dict[Path, tuple[Graph, ...]] = {}
    faults: list[Diagnostic] = []
    for path, source in sources.items():
        try:
            graphs[path] = elaborate(load(source, path.parent))
        except SpecError as error:
            faults += error.diagnostics
    names = [(sources[path], [name for graph in found for name in graph.public]) for path, found in graphs.items()]
    faults += clashes(names)
    if faults:
        raise SpecError(tuple(faults))
    return [graph for found in graphs.values() for graph in found]
