"""Which integer parameters of a graph are positions along an axis: what is looked up, or compared with an index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sympy

from fusec.ir.expressions import (
    Cast,
    Const,
    Elementwise,
    Extent,
    Gather,
    Index,
    Input,
    NodeId,
    Rename,
    Segment,
    operands,
)
from fusec.ir.graph import Graph
from fusec.ir.types import Kind, extent, product_extent


@dataclass(frozen=True, slots=True)
class Positions:
    """Values of a parameter are positions from `least` to below `limit`.

    `ordered` ones bound segments, `distinct` ones differ.
    """

    limit: sympy.Expr
    ordered: bool = False
    distinct: bool = False
    least: int = 0


def positions(graph: Graph) -> dict[str, Positions]:
    """By parameter name. A parameter that leads to an index by way of arithmetic counts, too: it is kept in range.

    Where `s // Page` is a position below `Pages`, `s` is one below `Pages * Page`. Of several uses the first that says
    a range decides: `s % Page`, which is in range whatever `s` is, is the last that is asked. Before it comes what is
    compared with positions, such as a length in `index(S) < length`: on either side of it there are some.
    """
    found: dict[str, Positions] = {}
    compared: dict[str, Positions] = {}
    likely: dict[str, Positions] = {}
    for node in graph.nodes:
        match node.expr:
            case Segment(offsets, axis):
                bounds = Positions(product_extent((axis,)), ordered=True)
                found.update({name: bounds for name, _, _ in _sources(graph, offsets, bounds.limit)})
            case Gather(param, indices):
                _add(graph, found, likely, param, indices)
            case Elementwise(op, (left, right)) if op in _BEYOND:
                for name, place in (*_compared(graph, left, op, right), *_compared(graph, right, _TURNED[op], left)):
                    compared.setdefault(name, place)
            case _:
                pass
    for scatter in graph.scatters:
        _add(graph, found, likely, scatter.param, scatter.indices)
    return likely | compared | found


_BEYOND = {"lt": 1, "le": 1, "gt": 0, "ge": 0, "eq": 0, "ne": 0}
"""How far a number lies behind the first position at least, so that `position op number` holds for some position."""

_TURNED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}


def _compared(graph: Graph, position: NodeId, op: str, number: NodeId) -> Iterator[tuple[str, Positions]]:
    """The parameters that the number in `position op number` is computed from."""
    count = _count(graph, position)
    if count is not None:
        least = _BEYOND[op]
        for name, limit, _ in _sources(graph, number, count + least):
            yield name, Positions(limit, least=least)


def _count(graph: Graph, node: NodeId) -> sympy.Expr | None:
    """How many numbers from 0 on a node may be that counts positions, made of `index(N)` and sizes alone."""
    match graph.nodes[node].expr:
        case Index(axis):
            return extent(axis)
        case Rename(arg) | Cast(arg):
            return _count(graph, arg)
        case Elementwise("add", (left, right)):
            counts = [_count(graph, side) for side in (left, right)]
            sizes = [_size(graph, side) for side in (left, right)]
            if counts[0] is not None and counts[1] is not None:
                return counts[0] + counts[1] - 1
            whole = next((count for count in counts if count is not None), None)
            shift = next((size for size in sizes if size is not None), None)
            return None if whole is None or shift is None else whole + shift
        case Elementwise("mul", (left, right)):
            for value, by in ((left, right), (right, left)):
                count, size = _count(graph, value), _size(graph, by)
                if count is not None and size is not None:
                    return (count - 1) * size + 1
            return None
        case _:
            return None


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
        case Elementwise(op="add", args=(left, right)):
            for value, beside in ((left, right), (right, left)):
                most = _count(graph, beside)
                size = _size(graph, beside)
                shift = most - 1 if most is not None else size if size is not None else sympy.Integer(0)
                yield from _sources(graph, value, limit - shift, certain)
        case Elementwise(op="mul", args=(left, right)):
            for value, by in ((left, right), (right, left)):
                factor = _size(graph, by)
                yield from _sources(
                    graph, value, limit if factor is None else sympy.floor((limit - 1) / factor) + 1, certain
                )
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
