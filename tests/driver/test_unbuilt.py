"""Specs that mean something, but for which no kernel can be built yet."""

from __future__ import annotations

import pytest

from fusec.diagnostics import Source, SpecError
from fusec.driver.compile import compile_source

SEVERAL = """op place(mut cache: f32[C], i: i32[N], x: f32[N]):
    low, high = halves(i, over=N)
    cache[join(high, low, over=N)] = x

op requests(offsets: i32[B + 1], x: f32[N]) -> y: f32[N]:
    y = x + segment(offsets, N)
"""


def faults(text: str) -> list[tuple[str, int, int]]:
    """What is missing for each place of a spec."""
    with pytest.raises(SpecError) as caught:
        compile_source(Source("spec.fuse", text), None)
    start = "no kernel can be built for this yet: "
    assert all(fault.message.startswith(start) for fault in caught.value.diagnostics)
    return [
        (fault.message.removeprefix(start).split(":")[0], *fault.span.source.position(fault.span.start))
        for fault in caught.value.diagnostics
    ]


def test_all_ops_of_a_file_are_looked_at() -> None:
    assert faults(SEVERAL) == [("a scatter index made of parts", 3, 11), ("`segment`", 6, 13)]
