"""Addend: what is added to a dot behind it, and the vendor's library adds to its sums before it rounds them.

It adds a matrix of as many rows as the product, or one row to all of them: so `dot(x, w, over=K) + bias` with
`bias: T[N]`, or `+ residual` with `residual: T[..., N]`, is one product for it, where that is all there is to an output
in T. Of two addends it would round the sum of one before it adds the other, and chooses itself which.
"""

from __future__ import annotations

from fusec.ir.expressions import Dot, Elementwise, NodeId
from fusec.ir.graph import Graph, Output, where_given
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import Axis, Storage, without
from fusec.passes.partition.operands import argument_of
from fusec.passes.partition.scales import Readers


def summed(graph: Graph, number: NodeId, element: Storage, read: Readers) -> tuple[NodeId, NodeId | None]:
    """The sum of the dot `number` and an addend in `element`, and that; the dot itself where there is none."""
    dot, step = graph.nodes[number].expr, _addend(graph, number, read)
    if not isinstance(dot, Dot) or step is None:
        return number, None
    reader, addend = step
    given = where_given(graph.nodes, addend)
    fits = set(graph.nodes[addend].type.axes) in [set(graph.nodes[number].type.axes), *_lines(graph, dot)]
    if not fits or graph.nodes[given].type.element != element or argument_of(graph, given) is None:
        return number, None
    return reader, addend


def lies_along(graph: Graph, addend: NodeId | None, output: Output) -> bool:
    """Whether neighbours in the memory of an output have neighbours in an addend, if there is one."""
    return addend is None or set(output.dims[-1]) <= set(graph.nodes[addend].type.axes)


def _lines(graph: Graph, dot: Dot) -> list[set[Axis]]:
    """The axes of a row and of a column of a product, for all of a batch and for each of it."""
    a, b = (graph.nodes[operand].type.axes for operand in (dot.a, dot.b))
    own = (without(b, (*a, *dot.axes)), without(a, (*b, *dot.axes)))
    batch = (set(a) & set(b)) - set(dot.axes)
    return [each for axes in own if axes for each in (set(axes), {*axes, *batch})]


def _addend(graph: Graph, node: NodeId, read: Readers) -> tuple[NodeId, NodeId] | None:
    """The sum that alone reads a node, and what it adds to that."""
    match read[node]:
        case [int(reader)]:
            expr = graph.nodes[reader].expr
            if isinstance(expr, Elementwise) and ELEMENTWISE[expr.op].is_sum:
                others = [arg for arg in expr.args if arg != node]
                return (reader, others[0]) if others else None
    return None
