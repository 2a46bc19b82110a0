"""Values are called by what they are, and two of one name by the half or the output that they are for."""

from __future__ import annotations

import pytest

from fusec.diagnostics import Source
from fusec.ir.kernel import Kernel
from fusec.ir.schedule import SplitRows
from fusec.ir.statements import Assign, LoadTile, Point, every
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.pipeline import compile_graph

CALLED = {
    "sum_of_squares rstd": "op f(x: f32[M, N]) -> y: f32[M, N]:\n    y = x * rsqrt(mean(x * x, over=N) + 1)",
    "x_low x_high": "op f(x: f32[M, N], c: f32[N], s: f32[N]) -> y: f32[M, N]:\n    y = rope(x, c, s, over=N)",
    "c_low c_high s_low": "op f(x: f32[M, N], c: f32[N], s: f32[N]) -> y: f32[M, N]:\n    y = rope(x, c, s, over=N)",
    "product": "op f(x: f32[M, K], w: f32[N, K], b: f32[N]) -> y: f32[M, N]:\n    y = dot(x, w, over=K) + b",
    "largest": "op f(x: f32[M, N]) -> y: f32[M, N]:\n    y = x / amax(abs(x), over=N)",
}


def kernels(text: str) -> tuple[Kernel, ...]:
    (graph,) = elaborate(load(Source("f.fuse", text + "\n"), None))
    return compile_graph(graph).kernels


def made(kernel: Kernel) -> set[str]:
    """The values that a kernel computes or reads."""
    found: set[str] = set()
    for node in every(kernel.skeleton):
        if isinstance(node, Assign):
            found.add(node.name.text)
        elif isinstance(node, LoadTile):
            found |= {name.text for name in node.names}
    return found


@pytest.mark.parametrize("words", CALLED)
def test_values_have_words_for_what_they_are(words: str) -> None:
    names = set().union(*map(made, kernels(CALLED[words])))
    assert set(words.split()) <= names
    assert not any(name.rpartition("_")[2].isdigit() for name in names)


@pytest.mark.parametrize("text", CALLED.values())
def test_no_pointer_stands_alone_that_one_access_uses_as_it_is(text: str) -> None:
    for kernel in kernels(text):
        nodes = list(every(kernel.skeleton))
        points = {node.name for node in nodes if isinstance(node, Point)}
        bare = [node.address.pointer for node in nodes if isinstance(node, LoadTile) and not node.address.along]
        assert all(bare.count(name) != 1 or nodes.count(name) > 2 for name in points)


def test_no_two_workspaces_of_a_call_have_one_name() -> None:
    """They are called by what is reduced, then by outputs: names of a spec must not make one of the other."""
    text = """op f(x: f32[M, N], z: f32[M, N]) -> (q_y: f32[M], y: f32[M], partial_total: f32[M]):
    total = sum(x, over=N)
    total_q = sum(z, over=N)
    q_y = total + sum(x * 2, over=N)
    y = total_q * amax(z, over=N)
    partial_total = sum(x + 1, over=N)
"""
    (graph,) = elaborate(load(Source("f.fuse", text), None))
    program = compile_graph(graph)
    split = [plan for group in program.groups for plan in group.all_plans() if isinstance(plan, SplitRows)]
    left = [partial.workspace for plan in split for stage in plan.partials for partial in stage.partials]
    assert len(left) == 5
    assert len({*left, *program.spelled.stored}) == len(left) + len(program.spelled.stored)
