"""Addends: what is added to a dot behind it, and the vendor's library adds to its sums before it rounds them.

It adds a matrix of as many rows as the product and a vector of its columns: so `dot(x, w, over=K) + bias + residual`
with `bias: T[N]` and `residual: T[..., N]` is one product for it, where that is all there is to an output in T.
"""

from __future__ import annotations

from fusec.ir.expressions import GIVEN, OMITTED, Choose, Const, Dot, Elementwise, NodeId
from fusec.ir.graph import Graph, Output
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import Axis, Storage, without
from fusec.passes.partition.operands import argument_of
from fusec.passes.partition.scales import Readers


def summed(graph: Graph, number: NodeId, element: Storage, read: Readers) -> tuple[NodeId, tuple[NodeId, ...]]:
    """The dot `number` with all addends in `element` behind it, and these; itself where there are none."""
    dot = graph.nodes[number].expr
    if not isinstance(dot, Dot):
        return number, ()
    node, found = number, list[NodeId]()
    kinds = [[set(graph.nodes[number].type.axes)], _lines(graph, dot)]
    while (step := _addend(graph, node, read)) is not None:
        reader, addend = step
        axes = set(graph.nodes[addend].type.axes)
        kind = next((each for each in kinds if axes in each), None)
        given = _given(graph, addend)
        if kind is None or graph.nodes[given].type.element != element or argument_of(graph, given) is None:
            break
        kinds.remove(kind)
        node, found = reader, [*found, addend]
    return node, tuple(found)


def lie_along(graph: Graph, addends: tuple[NodeId, ...], output: Output) -> bool:
    """Whether neighbours in the memory of an output have neighbours in every addend."""
    return all(set(output.dims[-1]) <= set(graph.nodes[addend].type.axes) for addend in addends)


def _lines(graph: Graph, dot: Dot) -> list[set[Axis]]:
    """The axes of a row and of a column of a product."""
    a, b = (graph.nodes[operand].type.axes for operand in (dot.a, dot.b))
    own = (without(b, (*a, *dot.axes)), without(a, (*b, *dot.axes)))
    return [set(axes) for axes in own if axes]


def _addend(graph: Graph, node: NodeId, read: Readers) -> tuple[NodeId, NodeId] | None:
    """The sum that alone reads a node, and what it adds to that."""
    match read[node]:
        case [int(reader)]:
            expr = graph.nodes[reader].expr
            if isinstance(expr, Elementwise) and ELEMENTWISE[expr.op].is_sum:
                others = [arg for arg in expr.args if arg != node]
                return (reader, others[0]) if others else None
    return None


def _given(graph: Graph, addend: NodeId) -> NodeId:
    """The tensor that an addend is in calls that give it; one that is left out adds nothing."""
    match graph.nodes[addend].expr:
        case Choose(cases=((case, given), (other, omitted))) if (case, other) == (GIVEN, OMITTED):
            expr = graph.nodes[omitted].expr
            return given if isinstance(expr, Const) and expr.value == 0 else addend
    return addend
