"""A tensor that may be left out selects a case, whether the case that stands for it reads it or not."""

from __future__ import annotations

import re
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


CASES = {
    "made into another result": ("y: f32[M, N], z: f32[M, N]", "y = act(x)\n    z = silu(x) + 1"),
    "a result itself": ("y: f32[M, N], z: f32[M, N]", "y = act(x) * 2\n    z = silu(x)"),
    "what another result is scaled by": ("y: f32[M, N], z: f32[M]", "y = act(x)\n    z = sum(silu(x), over=N)"),
    "two choices": ("y: f32[M, N], z: f32[M, N]", "y = act(x)\n    z = act(x) * act(x + 1)"),
}
"""The value of one case of a choice is also something else."""


@pytest.mark.parametrize("shape", ["rows", "row_loop", "split_rows"])
@pytest.mark.parametrize("case", CASES)
def test_what_a_case_shares_with_others_is_there_in_every_case(
    case: str, shape: str, tmp_path: Path, device: torch.device
) -> None:
    results, body = CASES[case]
    text = f"op f(x: f32[M, N], act: {{silu, relu, gelu}} = silu) -> ({results}):\n    {body}\n"
    (op,) = compiled(text, tmp_path)
    x = torch.linspace(-3, 3, 3 * 37, device=device).reshape(3, 37)
    functions = {"silu": torch.nn.functional.silu, "relu": torch.relu, "gelu": torch.nn.functional.gelu}
    for name, act in functions.items():
        silu = functions["silu"](x)
        wanted = {
            "made into another result": (act(x), silu + 1),
            "a result itself": (act(x) * 2, silu),
            "what another result is scaled by": (act(x), silu.sum(1)),
            "two choices": (act(x), act(x) * act(x + 1)),
        }[case]
        with on_chip(op.module, CHIPS[shape]):
            for found, right in zip(op.call(x, name), wanted, strict=True):
                torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)


def test_what_is_written_in_place_is_said_to_be(tmp_path: Path) -> None:
    """The schema of the operator, by which PyTorch knows what a call changes."""
    spec = "op f(mut c: f32[M, N], x: f32[M, N], b: f32[N] = 0) -> y: f32[M, N]:\n    y = c + x\n    c[...] = x + b\n"
    (op,) = compiled(spec, tmp_path)
    (text,) = re.findall(r'"f\((.*)\) -> Tensor"', Path(op.module.__file__ or "").read_text())
    assert text == "Tensor(a!) c, Tensor x, Tensor? b"
