"""A plan reads a tensor of all its rows as often as the build table says: every load of the interpreter is counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.forcing import CHIPS, on_chip
from fusec.interpreter import interpreting
from fusec.passes.schedule.traffic import crossings, excess_traffic
from fusec.testing.watching import watched

pytestmark = pytest.mark.skipif(not interpreting(), reason="counts loads in the interpreter")

BODIES = {
    "a norm": "y = rmsnorm(x, w, 1e-6, over=N)",
    "two statistics, one after the other": "y = layernorm(x, w, b, 1e-6, over=N)",
    "a maximum and a sum": "y = softmax(x, over=N)",
    "nothing but a sum": "y = sum(x, over=N) + w",
    "two tensors": "y = x * sum(z, over=N) + z",
    "a tensor that only the first sweep needs": "y = x * sum(z * x, over=N)",
    "halves": "u, v = halves(x, over=N)\n    y = join(v, u, over=N) * sum(u * v, over=N/2)",
    "no reduction": "y = x * w + z",
}
"""What is computed of x and z of [M, N], and of w and b of [N]."""


@pytest.mark.parametrize("shape", ["rows", "resident", "row_loop", "split_rows"])
@pytest.mark.parametrize("body", BODIES)
def test_tensors_are_read_as_often_as_is_told(body: str, shape: str, tmp_path: Path) -> None:
    names = "x: f32[M, N], z: f32[M, N], w: f32[N], b: f32[N]"
    text = f"op f({names}) -> y: f32[M, N]\nwhere N % 2 == 0:\n    {BODIES[body]}\n"
    (op,) = compiled(text, tmp_path)
    built = next((each for each in op.program.plans if each.name == shape), None)
    if built is None:
        pytest.skip("no such plan")
    sizes = {name: (3, 200) if name in "xz" else (200,) for name in "xzwb"}
    arguments = {name: torch.ones(size) for name, size in sizes.items()}
    with on_chip(op.module, CHIPS[shape]), watched(arguments) as memory:
        op.call(**arguments)
    loaded = sum((each.read for each in memory.moved), Counter[str]())
    told = crossings(built)
    read = {name: loaded[name] / arguments[name].nbytes for name in "xz" if loaded[name]}
    assert read == {name: told[name] for name in read} != {}
    above = {name for name, times in read.items() if times > 1}
    assert above == {part.split(" ")[-1] for part in excess_traffic(built).split(" + ") if part} & {"x", "z"}
