"""Specs as they are given, by path or as text, and the one of them that defines an op."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import TypeVar

from fusec.diagnostics import Source
from fusec.driver.shipped import shipped_specs
from fusec.driver.specs import read_specs
from fusec.ir.graph import Graph
from fusec.lang.load import load
from fusec.passes.graph.elaborate.op import elaborate

P = TypeVar("P", Path, Path | None)


def text_of(spec: str | PathLike[str] | None) -> Source | None:
    """A spec that is given as text; None for a path. A text stands in no folder whose files it may use."""
    return Source("text.fuse", spec) if isinstance(spec, str) and ("\n" in spec or spec.startswith("op ")) else None


def given_specs(spec: str | PathLike[str] | None) -> Mapping[Path | None, Source]:
    """A text of ops, those of a file or of a folder, or by default those that come with fusec, by their paths."""
    text = text_of(spec)
    return {None: text} if text else dict(read_specs(Path(spec or shipped_specs())).items())


def defining(op: str, sources: Mapping[P, Source]) -> tuple[P, Source, tuple[Graph, ...]]:
    """The spec that defines an op, and the graphs of its ops. Raises `LookupError`, which says what there is."""
    known: list[str] = []
    # A spec whose text has the op is read first: mostly no other one has to be.
    defines = re.compile(rf"\bop\s+{re.escape(op)}\b")
    for path, source in sorted(sources.items(), key=lambda spec: not defines.search(spec[1].text)):
        graphs = elaborate(load(source, path.parent if path else None))
        if any(graph.name == op for graph in graphs):
            return path, source, graphs
        known += [graph.name for graph in graphs]
    close = get_close_matches(op, known, n=1)
    raise LookupError(f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}")
