"""The spec of an op that a command is asked about by name."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from fusec.commands.outcome import UsageError
from fusec.diagnostics import Source
from fusec.driver.specs import read_specs
from fusec.ir.graph import Graph
from fusec.lang.load import load
from fusec.passes.graph.elaborate.op import elaborate

OpArgument = Annotated[str, typer.Argument(help="The name of an op.")]
SpecsOption = Annotated[Path, typer.Option("--specs", help="The folder, or the .fuse file, that defines the op.")]


def find_op(name: str, specs: Path) -> tuple[Path, Source, Graph]:
    """The spec that defines op `name`, and its graph. Raises `UsageError` when no spec of the folder does."""
    path, source, graphs = find_spec(name, specs)
    return path, source, next(graph for graph in graphs if graph.name == name)


def find_spec(name: str, specs: Path) -> tuple[Path, Source, tuple[Graph, ...]]:
    """The spec that defines op `name`, and the graphs of its ops. Raises as `find_op` does."""
    known: list[str] = []
    sources = read_specs(specs)
    # A spec whose text has the op is read first: mostly no other one has to be.
    defines = re.compile(rf"\bop\s+{re.escape(name)}\b")
    for path, source in sorted(sources.items(), key=lambda spec: not defines.search(spec[1].text)):
        graphs = elaborate(load(source, path.parent))
        if any(graph.name == name for graph in graphs):
            return path, source, graphs
        known += [graph.name for graph in graphs]
    close = get_close_matches(name, known, n=1)
    advice = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}"
    raise UsageError(f"no op {name} in {specs}; {advice}")
