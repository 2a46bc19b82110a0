"""How large the operands of a dot may be before the bound of the rewritten graph says nothing for them."""

from __future__ import annotations

import pytest
import torch

from fusec.diagnostics import Source
from fusec.ir.graph import Graph
from fusec.lang.load import load
from fusec.numerics.envelope import envelope
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.pipeline import GRAPH_STEPS

NORM_THEN_LINEAR = """op f(x: T[M, K], {weight}gain: T[K], weight w: T[N, K]) -> y: f32[M, N]
where T in {{f16, bf16}}:
    y = dot(rmsnorm(x, gain, 1e-6, over=K), w, over=K{precision})
"""


def lowered(text: str) -> Graph:
    (graph,) = elaborate(load(Source("f.fuse", text), None))
    for step in GRAPH_STEPS:
        graph = step(graph)
    return graph


@pytest.mark.parametrize(
    ("dtype", "x", "gain", "w", "weight", "known", "known_rounded"),
    [
        # Sums of products of f16 stay within f32, normalised or not.
        (torch.float16, 65504.0, 1.0, 65504.0, "weight ", True, True),
        (torch.float16, 2.0**-24, 1.0, 65504.0, "weight ", True, True),
        # A gain that is no weight stays beside the norm, where f16 has room for their product.
        (torch.float16, 65504.0, 2.0, 1.0, "", True, True),
        # A weight with its gain that may be rounded is a number of f16.
        (torch.float16, 1.0, 2.0, 65504.0, "weight ", True, False),
        # In bf16 a sum of products may leave f32 that would not if it were normalised first.
        (torch.bfloat16, 2.0**60, 1.0, 2.0**50, "weight ", True, True),
        (torch.bfloat16, 2.0**60, 1.0, 2.0**70, "weight ", False, False),
    ],
)
def test_the_range_that_is_kept(
    dtype: torch.dtype, x: float, gain: float, w: float, weight: str, known: bool, known_rounded: bool
) -> None:
    arguments = {
        "x": torch.full((2, 4096), x, dtype=dtype),
        "gain": torch.full((4096,), gain, dtype=dtype),
        "w": torch.full((3, 4096), w, dtype=dtype),
    }
    for precision, expected in (("", known), (", precision=T", known_rounded)):
        graph = lowered(NORM_THEN_LINEAR.format(weight=weight, precision=precision))
        bound = envelope(graph, arguments)["y"]
        assert bool((bound.low.isfinite() & bound.high.isfinite()).all()) is expected
