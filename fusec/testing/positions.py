"""Which integer parameters of a graph are positions along an axis: what a gather, a scatter or a segment reads."""

from __future__ import annotations

from dataclasses import dataclass

from fusec.ir.expressions import Gather, Input, NodeId, Segment, operands
from fusec.ir.graph import Graph
from fusec.ir.types import Dim, Kind


@dataclass(frozen=True, slots=True)
class Positions:
    """Values of a parameter are positions within the dimension `within`; `ordered` ones bound segments of it."""

    within: Dim
    ordered: bool = False


def positions(graph: Graph) -> dict[str, Positions]:
    """By parameter name. A parameter that leads to an index by way of arithmetic counts, too: it is kept in range."""
    found: dict[str, Positions] = {}
    for node in graph.nodes:
        match node.expr:
            case Segment(offsets, axis):
                found.update({name: Positions((axis,), ordered=True) for name in _sources(graph, offsets)})
            case Gather(param, indices):
                _add(graph, found, param, indices)
            case _:
                pass
    for scatter in graph.scatters:
        _add(graph, found, scatter.param, scatter.indices)
    return found


def _add(graph: Graph, found: dict[str, Positions], param: str, indices: tuple[NodeId, ...]) -> None:
    for index, dim in zip(indices, graph.tensor(param).dims, strict=False):
        for name in _sources(graph, index):
            found.setdefault(name, Positions(dim))


def _sources(graph: Graph, node: NodeId) -> set[str]:
    """The integer tensors that a node is computed from."""
    expr = graph.nodes[node].expr
    if isinstance(expr, Input):
        return {expr.param} if graph.nodes[node].type.kind is Kind.INT else set()
    found = {name for operand in operands(expr) for name in _sources(graph, operand)}
    if isinstance(expr, Gather) and graph.nodes[node].type.kind is Kind.INT:
        found.add(expr.param)
    return found
