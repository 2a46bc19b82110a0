"""What specs mean: the typed graph, the way every extent is found, the checks. The examples of the language first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fusec.diagnostics import Source
from fusec.ir.show import show_graph
from fusec.ir.verify import verify_graph
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.testing.golden import Case

CASES = sorted(Path(__file__).with_name("graphs").glob("*.case"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_graph(path: Path, tmp_path: Path, golden: Callable[[Path, str, str], None]) -> None:
    sections = Case.read(path).sections
    for name, text in sections.items():
        if name.endswith(".fuse"):
            (tmp_path / name).write_text(text, encoding="utf-8")
    graphs = elaborate(load(Source("spec.fuse", sections["spec.fuse"]), tmp_path))
    for graph in graphs:
        verify_graph(graph)
    golden(path, "graph", "\n".join(show_graph(graph) + "\n" for graph in graphs))
