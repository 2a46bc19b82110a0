"""Graph passes keep the value in f32 where the graph as written has one: of nothing, of zeros, the huge and the tiny.

Both graphs are evaluated with every result rounded to f32, and quotients that are no normal numbers at 0, as on a GPU.
Where that gives a number for the graph as written, it has to give one for the rewritten graph, within its bound.
Nothing is drawn whose products among inputs leave f32: the rules do not keep that (`commute`).
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fusec.diagnostics import Source
from fusec.ir.builder import GraphBuilder, keep, rebuild
from fusec.ir.expressions import Cast, Const, Dot, Elementwise, NodeId, Reduce
from fusec.ir.graph import Graph, Node
from fusec.ir.types import BOOL, DTYPES, REAL, Computed, Kind, ValueType
from fusec.lang.load import load
from fusec.numerics.envelope import envelope
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.pipeline import GRAPH_STEPS
from fusec.reference.evaluate import evaluate

SPEC = """
op f(x: f32[M, N], g: f32[N], weight gain: f32[N], weight w: f32[L, N], s: f32[M]) -> y: f32[{axes}]:
    y = {body}
"""

FORMS = {
    "norm": ("M, N", "rmsnorm(x, g, 1e-6, over=N)"),
    "largest of a norm": ("M", "amax(abs(rmsnorm(x, g, 1e-6, over=N)), over=N)"),
    "scale": ("M", "maximum(amax(abs(rmsnorm(x, g, 1e-6, over=N)), over=N), tiny) / 448"),
    "sum of a norm": ("M", "sum(x * rsqrt(mean(x * x, over=N) + 1e-6), over=N)"),
    "least": ("M", "amin(x * exp(-amax(abs(x), over=N)), over=N)"),
    "quantised": ("M, N", "x / (maximum(amax(abs(x), over=N), tiny) / 448)"),
    "over its largest": ("M, N", "x / maximum(amax(abs(x), over=N), tiny)"),
    "over its length": ("M, N", "x / maximum(sqrt(sum(x * x, over=N)), tiny)"),
    "softmax": ("M, N", "softmax(x, over=N)"),
    "norm, linear": ("M, L", "dot(rmsnorm(x, gain, 1e-6, over=N), w, over=N)"),
    "softmax, linear": ("M, L", "dot(softmax(x, over=N) * s, w, over=N)"),
    "scaled, linear": ("M, L", "dot(x / s, w * 0.5, over=N)"),
    "mean": ("M", "mean(x ** 2, over=N) * s + 0"),
}

ROWS = (
    (0.0, 0.0, 0.0),
    (1.0, -2.0, 0.5),
    (3e19, -1.0, 2.0),
    (1e38, 1e-38, -1e38),
    (1e-40, 0.0, -1e-42),
    (1e-30, 1e30, 1.0),
    (float("inf"), 1.0, 0.0),
    (float("nan"), 1.0, 0.0),
)


def arguments(count: int) -> dict[str, Tensor]:
    x = torch.tensor([row[:count] for row in ROWS]).reshape(len(ROWS), count)
    small = torch.tensor([1.0, 0.25, 1e-3])
    scales = torch.tensor([1.0, 0.0, 1e-30, 2.0, float("inf"), 1e-3, 1.0, 1.0])
    return {"x": x, "g": small[:count], "gain": small[:count], "w": small.repeat(2, 1)[:, :count], "s": scales}


def graph_of(form: str) -> Graph:
    axes, body = FORMS[form]
    (graph,) = elaborate(load(Source("f.fuse", SPEC.format(axes=axes, body=body)), None))
    return graph


def in_f32(graph: Graph) -> Graph:
    """The graph with every real result rounded to f32, and quotients that are no normal numbers at 0."""

    def change(builder: GraphBuilder, node: Node, new: tuple[NodeId, ...]) -> NodeId:
        kept = keep(builder, node, new)
        if node.type.element != Computed(Kind.REAL) or not isinstance(node.expr, Elementwise | Reduce | Dot):
            return kept
        axes = node.type.axes
        rounded = builder.add(Cast(kept, DTYPES["f32"]), ValueType(DTYPES["f32"], axes))
        if not isinstance(node.expr, Elementwise) or node.expr.op != "div":
            return rounded
        size = builder.add(Elementwise("abs", (rounded,)), ValueType(REAL, axes))
        least = builder.add(Const(2.0**-126), ValueType(REAL))
        is_less = builder.add(Elementwise("lt", (size, least)), ValueType(BOOL, axes))
        zero = builder.add(Const(0.0), ValueType(REAL))
        return builder.add(Elementwise("where", (is_less, zero, rounded)), ValueType(REAL, axes))

    return rebuild(graph, change)


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_a_number_stays_one_and_the_same(form: str, count: int) -> None:
    graph, given = graph_of(form), arguments(count)
    rewritten = graph
    for step in GRAPH_STEPS:
        rewritten = step(rewritten)
    before, after = (evaluate(in_f32(each), given)["y"] for each in (graph, rewritten))
    bounds = [envelope(each, given)["y"] for each in (graph, rewritten)]
    # What f32 has made of a value is within the bound of the graph as written, or the two are equal.
    low, high = (torch.stack(ends).nan_to_num(nan=0.0) for ends in zip(*((b.low, b.high) for b in bounds), strict=True))
    meant = (after >= low.amin(0)) & (after <= high.amax(0)) & ~bounds[1].unknown & ~bounds[0].unknown
    assert bool((~before.isfinite() | after.isfinite()).all()), f"{before} became {after}"
    assert bool((~before.isfinite() | meant | (before == after)).all()), f"{before} became {after}"
    # A bound that tells the sign of a value goes on telling it: nothing may become 0 on the way.
    written, made = bounds
    lost = ((written.low > 0) & (made.low <= 0)) | ((written.high < 0) & (made.high >= 0))
    assert not bool(lost.any()), f"{written.low} became {made.low}"


def test_most_forms_are_rewritten() -> None:
    changed = []
    for form in FORMS:
        graph = graph_of(form)
        rewritten = graph
        for step in GRAPH_STEPS[1:]:
            rewritten = step(rewritten)
        changed.append(len(rewritten.nodes) != len(rebuild(graph, keep).nodes))
    assert sum(changed) >= 8
