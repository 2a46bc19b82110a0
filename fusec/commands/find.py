"""The spec of an op that a command is asked about by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusec.commands.outcome import UsageError
from fusec.diagnostics import Source
from fusec.driver.find import defining
from fusec.driver.specs import read_specs
from fusec.ir.graph import Graph

OpArgument = Annotated[str, typer.Argument(help="The name of an op.")]
SpecsOption = Annotated[Path, typer.Option("--specs", help="The folder, or the .fuse file, that defines the op.")]


def find_op(name: str, specs: Path) -> tuple[Path, Source, Graph]:
    """The spec that defines op `name`, and its graph. Raises `UsageError` when no spec of the folder does."""
    path, source, graphs = find_spec(name, specs)
    return path, source, next(graph for graph in graphs if graph.name == name)


def find_spec(name: str, specs: Path) -> tuple[Path, Source, tuple[Graph, ...]]:
    """The spec that defines op `name`, and the graphs of its ops. Raises as `find_op` does."""
    try:
        return defining(name, read_specs(specs))
    except LookupError as error:
        raise UsageError(f"no op {name} in {specs}; {error}") from error
