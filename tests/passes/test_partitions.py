"""What the cutter takes for granted: which operands lie in memory, and that a dot alone is one for the library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from reference_specs import CONTRACTIONS, specs

from fusec.diagnostics import Source
from fusec.ir.expressions import Affine, Load, NodeId
from fusec.ir.graph import Graph, Output
from fusec.ir.partition import LIBRARY, Partition
from fusec.ir.schedule import Library
from fusec.lang.load import load
from fusec.passes.graph.commute import commute
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.reciprocate import reciprocate
from fusec.passes.graph.regroup import regroup
from fusec.passes.graph.resolve_views import resolve_views
from fusec.passes.graph.simplify import simplify
from fusec.passes.partition.alternatives import partition
from fusec.passes.partition.operands import argument_of
from fusec.passes.partition.prepare import prepare
from fusec.passes.schedule.library import library
from fusec.testing.random_specs import text as random_spec

VIEWS = """
op parts(x: T[B, K], w: T[N, K], v: T[D + E, K], s: T[D]) -> (y: T[B, N/2], z: T[B, E])
where T in {f16}, N % 2 == 0:
    a, b = halves(w, over=N)
    y = dot(x, b, over=K)
    l, r = split(v, D, E)
    z = dot(x, r, over=K)

op interleaved(x: T[B, K], w: T[N, K]) -> y: T[B, N/2]
where T in {f16}, N % 2 == 0:
    a, b = pairs(w, over=N)
    y = dot(x, b, over=K)

op renamed(x: T[B, K], w: T[L, K]) -> y: T[B, N]
where T in {f16}, L == N:
    y = dot(x, rename(w, L -> N), over=K)

op looked_up(x: T[B, K], w: T[E, N, K], e: i32[B]) -> y: T[B, N]
where T in {f16}:
    y = dot(x, w[e], over=K)

op joined(x: T[B, K], w: T[N, K/2], v: T[N, K/2]) -> y: T[B, N]
where T in {f16}, K % 2 == 0:
    y = dot(x, join(w, v, over=K), over=K)
"""
TEXTS = (*specs(), CONTRACTIONS, *map(random_spec, range(60)))


def graphs(text: str) -> Iterator[Graph]:
    """The graphs of a text that are cut."""
    for graph in elaborate(load(Source("spec.fuse", text), None)):
        yield prepare(reciprocate(regroup(commute(simplify(graph))))).each


def lies_in_memory(graph: Graph, number: NodeId) -> bool:
    """Whether a value is a single load at even strides, when its views are resolved."""
    node = graph.nodes[number]
    if argument_of(graph, number) is None and node.type.element not in [t.element for t in graph.tensors]:
        return False
    output = Output("operand", node.type.element, tuple((axis,) for axis in node.type.axes), number)
    flow = resolve_views(replace(graph, outputs=(output,), scatters=()))
    exprs = [flow.nodes[store.value].expr for store in flow.stores]
    return len(exprs) == 1 and all(
        isinstance(expr, Load) and expr.pair is None and all(isinstance(p, Affine) for p in expr.positions)
        for expr in exprs
    )


@pytest.mark.parametrize("text", [VIEWS, *TEXTS], ids=range(1 + len(TEXTS)))
def test_an_operand_is_read_where_it_lies_if_it_lies_there(text: str) -> None:
    for graph in graphs(text):
        for dot in graph.dots.values():
            for factor in (dot.a, dot.b):
                assert (argument_of(graph, factor) is not None) == lies_in_memory(graph, factor), graph.name


@pytest.mark.parametrize("text", [VIEWS, *TEXTS], ids=range(1 + len(TEXTS)))
def test_a_dot_alone_is_one_for_the_library(text: str) -> None:
    for graph in graphs(text):
        found: tuple[Partition, ...] = partition(graph) if graph.dots else ()
        for cut in (each for each in found if each.name == LIBRARY):
            dots = [step.graph for step in cut.steps if step.graph.dots]
            assert dots
            for alone in dots:
                product = library(resolve_views(alone))
                assert isinstance(product, Library), product
