"""A flow whose axes do not fit together is a fault of the compiler, told before a kernel is made of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fusec.diagnostics import InternalError, Source
from fusec.ir.expressions import Load
from fusec.ir.flow import Flow
from fusec.ir.types import Named, ValueType
from fusec.ir.verify_flow import verify_flow
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.resolve_views import resolve_views


@pytest.fixture
def flow() -> Flow:
    text = "op f(x: f32[M, N]) -> (y: f32[M, N], z: f32[M]):\n    y = x * 2.0\n    z = sum(x, over=N)\n"
    (graph,) = elaborate(load(Source("f.fuse", text), None))
    return resolve_views(graph)


def test_a_flow_of_an_op_is_well_formed(flow: Flow) -> None:
    assert verify_flow(flow) is flow


def test_a_value_has_the_axes_that_it_is_made_of(flow: Flow) -> None:
    for number in flow.live:
        wrong = replace(flow.nodes[number], type=ValueType(flow.nodes[number].type.element, (Named("E"),)))
        nodes = (*flow.nodes[:number], wrong, *flow.nodes[number + 1 :])
        with pytest.raises(InternalError, match=f"%{number} is over E"):
            verify_flow(replace(flow, nodes=nodes))


def test_a_value_is_stored_with_all_its_axes(flow: Flow) -> None:
    y, z = flow.stores
    with pytest.raises(InternalError, match="z is stored without N"):
        verify_flow(replace(flow, stores=(y, replace(z, value=y.value))))


def test_an_access_walks_an_axis_once(flow: Flow) -> None:
    place, node = next((n, node) for n, node in enumerate(flow.nodes) if isinstance(node.expr, Load))
    assert isinstance(node.expr, Load)
    twice = replace(node.expr, positions=(node.expr.positions[0],) * 2)
    nodes = list(flow.nodes)
    nodes[place] = replace(node, expr=twice, type=ValueType(node.type.element, (Named("M"),)))
    with pytest.raises(InternalError, match=f"%{place} walks one axis twice"):
        verify_flow(replace(flow, nodes=tuple(nodes)))
