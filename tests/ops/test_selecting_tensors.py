"""A tensor that may be left out selects a case, whether the case that stands for it reads it or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.driver import plan as planning
from fusec.forcing import CHIPS, on_chip
from fusec.ir.expressions import GIVEN, Choose, Const
from fusec.ir.graph import Graph
from fusec.ir.types import REAL, ValueType

TEXTS = {
    "elementwise": "op f(x: f32[M, N], bias: f32[N] = 0) -> y: f32[M, N]:\n    y = x * bias\n",
    "reduced": "op f(x: f32[M, N], bias: f32[N] = 0) -> y: f32[M, N]:\n    y = (x - amax(x, over=N)) * bias\n",
}


def unread(graph: Graph) -> Graph:
    """The graph with 3 where the tensor that may be left out was read."""
    nodes = list(graph.nodes)
    for number, node in enumerate(graph.nodes):
        if isinstance(node.expr, Choose):
            given = dict(node.expr.cases)[GIVEN]
            nodes[given] = replace(nodes[given], expr=Const(3.0), type=ValueType(REAL))
            nodes[number] = replace(node, type=ValueType(REAL))
    return replace(graph, nodes=tuple(nodes))


@pytest.mark.parametrize("shape", ["rows", "row_loop", "split_rows"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_tensor_that_no_case_reads_is_passed(
    text: str, shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    made = planning.compile_graphs
    monkeypatch.setattr(planning, "compile_graphs", lambda graphs: made(tuple(map(unread, graphs))))
    (op,) = compiled(text, tmp_path)
    x = torch.arange(12.0, device=device).reshape(3, 4)
    base = x - x.amax(1, keepdim=True) if "amax" in text else x
    with on_chip(op.module, CHIPS[shape]):
        assert torch.equal(op.call(x, torch.ones(4, device=device)), 3 * base)
        assert torch.equal(op.call(x), 0 * base)
