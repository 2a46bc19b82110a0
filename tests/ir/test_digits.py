"""Values that are computed of one byte are known for every byte, whatever operations make them."""

from __future__ import annotations

from math import isnan

import pytest

from fusec.diagnostics import Source
from fusec.ir.digits import of_a_byte
from fusec.ir.expressions import Input, Merge
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def decoded(text: str) -> list[tuple[float, ...] | None]:
    """What the value of an op is for every byte; of packed numbers those of both halves."""
    (graph,) = elaborate(load(Source("f.fuse", f"op f(x: {text}"), None))
    (output,) = graph.outputs
    expr = graph.nodes[output.value].expr
    numbers = expr.args if isinstance(expr, Merge) else (output.value,)
    found = [of_a_byte(graph.nodes, number) for number in numbers]
    assert all(each is None or isinstance(graph.nodes[each[0]].expr, Input) for each in found)
    return [None if each is None else each[1] for each in found]


def test_four_bits() -> None:
    low, high = decoded("f4e2m1[K]) -> y: f32[K]:\n    y = x")
    numbers = [*E2M1, *(-number for number in E2M1)]
    assert low == tuple(numbers[byte & 15] for byte in range(256))
    assert high == tuple(numbers[byte >> 4] for byte in range(256))


def test_powers_of_two() -> None:
    (values,) = decoded("f8e8m0[K]) -> y: f32[K]:\n    y = x")
    assert values is not None
    assert values[:255] == tuple(2.0 ** (byte - 127) for byte in range(255))
    assert isnan(values[255])


@pytest.mark.parametrize(
    "text",
    [
        "u8[K], y: u8[K]) -> z: f32[K]:\n    z = x * y * 1.0",
        "f32[K]) -> y: f32[K]:\n    y = x",
        "u8[K], a: f32 = 1) -> y: f32[K]:\n    y = x * a",
        "u8[K]) -> y: f32[]:\n    y = sum(x * 1.0, over=K)",
        "f32[K]) -> y: f32[]:\n    y = 2.0",
    ],
)
def test_of_what_else_nothing_is_known(text: str) -> None:
    assert decoded(text) == [None]
