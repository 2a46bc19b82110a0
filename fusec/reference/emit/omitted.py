"""Omitted tensors as numbers: a cast of a tensor that may be omitted is written for the tensor, not for its default.

Before: `cast(bias, T)`, where `bias` may be 0; after: 0, or else `cast(bias, T)`. So that 0 need not be made a tensor.
"""

from __future__ import annotations

from fusec.ir.builder import GraphBuilder, keep, rebuild
from fusec.ir.expressions import GIVEN, Cast, Choose, Const, NodeId, operands
from fusec.ir.graph import Graph, Node, walk
from fusec.ir.types import Computed, ValueType

_EXACT = (0, 1)
"""Numbers that every type has."""


def cast_where_given(graph: Graph) -> Graph:
    """The same op, with such casts in the case of the tensor."""
    casts = {id(node) for number, node in walk(graph) if isinstance(node.expr, Cast) and _is_alone(graph, number)}

    def changed(builder: GraphBuilder, node: Node, args: tuple[NodeId, ...]) -> NodeId:
        match node.expr:
            case Cast(_, dtype) if id(node) in casts:
                chosen = builder[args[0]].expr
                assert isinstance(chosen, Choose)
                (_, given), omitted = chosen.cases
                cast = builder.add(Cast(given, dtype), ValueType(dtype, builder[given].type.axes), span=node.span)
                type = ValueType(Computed(node.type.kind), node.type.axes)
                return builder.add(Choose(chosen.selector, ((GIVEN, cast), omitted)), type, node.name, node.span)
            case _:
                return keep(builder, node, args)

    return rebuild(graph, changed) if casts else graph


def _is_alone(graph: Graph, number: NodeId) -> bool:
    """Whether a cast alone reads a tensor, or the number that stands for it when it is omitted."""
    (arg,) = operands(graph.nodes[number].expr)
    match graph.nodes[arg].expr:
        case Choose(_, ((case, _), (_, omitted))) if case == GIVEN:
            default = graph.nodes[omitted].expr
            readers = [other for other, node in walk(graph) if arg in operands(node.expr)]
            return isinstance(default, Const) and default.value in _EXACT and readers == [number]
        case _:
            return False
