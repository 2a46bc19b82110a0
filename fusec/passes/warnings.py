"""What a spec is warned of: an op that is right, and does not say what was probably meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fusec.diagnostics import Diagnostic
from fusec.ir.graph import Graph
from fusec.passes.graph.unused_params import unused_params
from fusec.passes.widened_dots import widened_dots

WARNINGS: tuple[Callable[[Graph], Iterable[Diagnostic]], ...] = (unused_params, widened_dots)
"""Each finds its warnings in the elaborated graph of an op; it may run passes on it to see what becomes of it."""


def warnings_of(graphs: Iterable[Graph]) -> tuple[Diagnostic, ...]:
    """All warnings of the ops of a spec, in source order."""
    found = [warning for graph in graphs for warn in WARNINGS for warning in warn(graph)]
    return tuple(sorted(found, key=lambda d: (d.span.source.name, d.span.start, d.span.end)))
