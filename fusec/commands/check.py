"""`fusec check`: the front end alone, for editors and commit hooks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from fusec.commands.outcome import DebugOption, JsonOption, describe, print_json, reporting, tell_warnings
from fusec.diagnostics import Diagnostic, Severity, Source, SpecError
from fusec.driver.specs import clashes, read_specs
from fusec.ir.graph import Graph
from fusec.lang.load import load
from fusec.passes.graph.elaborate.op import elaborate
from fusec.passes.warnings import warnings_of

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
    """Check specs for mistakes; compile nothing, write nothing. A warning is no mistake."""
    with reporting(as_json, debug):
        checked = [check_package(read_specs(folder)) for folder in specs or [Path("specs")]]
        graphs = [graph for found, _ in checked for graph in found]
        warnings = [warning for _, told in checked for warning in told]
        if as_json:
            print_json({"ok": True, "ops": [graph.name for graph in graphs], "warnings": list(map(describe, warnings))})
        else:
            tell_warnings(warnings)
            found = _counted(len(warnings), "warning") if warnings else "no mistakes"
            print(f"{_counted(len(graphs), 'op')}, {found}")


def check_package(sources: Mapping[Path, Source]) -> tuple[list[Graph], list[Diagnostic]]:
    """The ops of specs that make one package, and the warnings. Raises `SpecError` with all that there is to say."""
    graphs: dict[Path, tuple[Graph, ...]] = {}
    told: list[Diagnostic] = []
    for path, source in sources.items():
        try:
            graphs[path] = elaborate(load(source, path.parent))
            told += warnings_of(graphs[path])
        except SpecError as error:
            told += error.diagnostics
    names = [(sources[path], [name for graph in found for name in graph.public]) for path, found in graphs.items()]
    told += clashes(names)
    if any(diagnostic.severity is Severity.ERROR for diagnostic in told):
        raise SpecError(tuple(told))
    return [graph for found in graphs.values() for graph in found], told


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
