"""Which integer parameters of a graph are positions along an axis: what a gather, a scatter or a segment reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sympy

from fusec.ir.expressions import Const, Elementwise, Extent, Gather, Input, NodeId, Segment, operands
from fusec.ir.graph import Graph
from fusec.ir.types import Kind, product_extent


@dataclass(frozen=True, slots=True)
class Positions:
    """Values of a parameter are positions below `limit`; `ordered` ones bound segments, `distinct` ones differ."""

    limit: sympy.Expr
    ordered: bool = False
    distinct: bool = False


def positions(graph: Graph) -> dict[str, Positions]:
    """By parameter name. A parameter that leads to an index by way of arithmetic counts, too: it is kept in range.

    Where `s // Page` is a position below `Pages`, `s` is one below `Pages * Page`. Of several uses the first that says
    a range decides: `s % Page`, which is in range whatever `s` is, is the last that is asked.
    """
    found: dict[str, Positions] = {}
    likely: dict[str, Positions] = {}
    for node in graph.nodes:
        match node.expr:
            case Segment(offsets, axis):
                bounds = Positions(product_extent((axis,)), ordered=True)
                found.update({name: bounds for name, _, _ in _sources(graph, offsets, bounds.limit)})
            case Gather(param, indices):
                _add(graph, found, likely, param, indices)
            case _:
                pass
    for scatter in graph.scatters:
        _add(graph, found, likely, scatter.param, scatter.indices)
    return likely | found


def _add(
    graph: Graph, found: dict[str, Positions], likely: dict[str, Positions], param: str, indices: tuple[NodeId, ...]
) -> None:
    for index, dim in zip(indices, graph.tensor(param).dims, strict=False):
        for name, limit, certain in _sources(graph, index, product_extent(dim)):
            place = Positions(limit, distinct=graph.tensor(name).distinct)
            (found if certain else likely).setdefault(name, place)


def _sources(
    graph: Graph, node: NodeId, limit: sympy.Expr, certain: bool = True
) -> Iterator[tuple[str, sympy.Expr, bool]]:
    """The integer tensors that a node below `limit` is computed from, what they are below, and whether for certain."""
    expr = graph.nodes[node].expr
    whole = graph.nodes[node].type.kind is Kind.INT
    match expr:
        case Input(param):
            if whole:
                yield param, limit, certain
        case Elementwise(op="floordiv", args=(value, by)) if (factor := _size(graph, by)) is not None:
            yield from _sources(graph, value, limit * factor, certain)
        case Elementwise(op="mod", args=args):
            for arg in args:
                yield from _sources(graph, arg, limit, certain=False)
        case _:
            if isinstance(expr, Gather) and whole:
                yield expr.param, limit, certain
            for operand in operands(expr):
                yield from _sources(graph, operand, limit, certain and not isinstance(expr, Gather))


def _size(graph: Graph, node: NodeId) -> sympy.Expr | None:
    """An integer that a call is known to have: a literal or an extent."""
    match graph.nodes[node].expr:
        case Const(int(value)):
            return sympy.Integer(value)
        case Extent(dim):
            return product_extent(dim)
        case _:
            return None
