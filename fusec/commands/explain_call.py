"""`fusec explain OP --size N=4096 M=16`: the plan that such a call takes, and why. It needs torch, and no GPU."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fusec.commands.outcome import UsageError
from fusec.diagnostics import Source
from fusec.driver.explain_call import CallError, Wanted, explain_call
from fusec.ir.graph import Graph
from fusec.runtime.explain.tree import tree


def told(source: Source, folder: Path, graph: Graph, wanted: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The plan of the call as a tree and as data. Raises `UsageError` for a call that the op does not have."""
    try:
        report = explain_call(source, folder, graph, Wanted(**wanted))
    except CallError as error:
        raise UsageError(str(error)) from error
    return tree(report), asdict(report)
