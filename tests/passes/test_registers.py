"""The registers that a thread is expected to hold, as `fusec explain` says it."""

from __future__ import annotations

import pytest

from fusec.diagnostics import Source
from fusec.lang.load import load
from fusec.passes.graph.elaborate.op import elaborate
from fusec.passes.pipeline import compile_graph
from fusec.passes.schedule.registers import Residency, residency, widest

SPEC = """op f(x: f32[M, N], h: f16[M, N], w: f32[N]) -> y: f32[M{kept}]:
    y = {body}
"""


def held(body: str, kept: str = ", N") -> dict[str, Residency]:
    """What a thread holds in each stage of the plans of an op."""
    (graph,) = elaborate(load(Source("f.fuse", SPEC.format(body=body, kept=kept)), None))
    plans = [plan for group in compile_graph(graph).groups for plan in group.all_plans()]
    return {stage.kernel: residency(stage, widest) for plan in plans for stage in plan.stages}


@pytest.mark.parametrize(
    ("body", "formula"),
    [
        ("x / sum(x, over=N)", "(N) / threads + 16"),
        ("x / sum(h, over=N)", "(N) / threads + 16"),
        ("x * w / sum(x, over=N)", "(2 * N) / threads + 16"),
        ("sin(x) / sum(x, over=N)", "(N) / threads + 32"),
    ],
)
def test_inputs_wait_in_their_own_dtype(body: str, formula: str) -> None:
    assert str(held(body)["resident"]) == formula


BESIDE = """op f(x: f16[M, N], w: f16[N]) -> (first: f16[{kept}], q: {narrow}[M, N]):
    first = {first}
    q = cast(x * rsqrt(mean(x * x, over=N) + 1) * w, {narrow})
"""


@pytest.mark.parametrize(
    ("first", "kept", "narrow", "words"),
    [
        ("x", "M, N", "f8e4m3", 1.75),
        ("x", "M, N", "i8", 1.75),
        ("x", "M, N", "f16", 1.5),
        ("amax(x, over=N)", "M", "f8e4m3", 1.5),
    ],
)
def test_bytes_change_their_layout_beside_a_wider_output(first: str, kept: str, narrow: str, words: float) -> None:
    """A thread has all of them when it stores them: a sum of 16 bits and its norm in f8 spilled at 32 elements each."""
    (graph,) = elaborate(load(Source("f.fuse", BESIDE.format(first=first, kept=kept, narrow=narrow)), None))
    plans = [plan for group in compile_graph(graph).groups for plan in group.all_plans()]
    (stage,) = (stage for plan in plans for stage in plan.stages if stage.kernel == "resident")
    assert residency(stage, widest).words == words


def test_the_fullest_point_counts() -> None:
    """`x` and `w` are under way together; after the sum their product is left."""
    op = held("x * w / sum(x, over=N)")["resident"]
    assert [[str(tile) for tile in point] for point in op.points] == [["2 * N"], ["N"]]
    assert op.registers(8) == 16 + 2 * 8


def test_a_smaller_tile_takes_one_element() -> None:
    op = held("x * w / sum(x, over=N)")["rows"]
    assert str(op) == "(row * N + N) / threads + 16"
    assert op.registers(8) == 16 + 8 + 1


def test_a_loop_keeps_its_accumulators() -> None:
    assert str(held("sum(x, over=N) + amax(x, over=N)", kept="")["row_loop"]) == "(3 * N) / threads + 16"
