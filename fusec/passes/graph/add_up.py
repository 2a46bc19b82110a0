"""Add up: `t[i] += v` as plain arithmetic, where no two values have one place.

Before: `cache[slots] += x`, with `slots` declared `distinct`; after: `cache[slots] = cache[slots] + x`. Where several
values may have one place, the write stays as it is: `postpone` makes a step of its own of it.
"""

from __future__ import annotations

from dataclasses import replace

from fusec.ir.builder import Builder
from fusec.ir.expressions import Expr, Gather, Input
from fusec.ir.graph import Graph, Scatter
from fusec.ir.places import is_injective
from fusec.passes.graph.codes import Writer


def add_up(graph: Graph) -> Graph:
    """The graph with every sum that can be made by whoever makes the value."""
    if not any(write.adds for write in graph.scatters):
        return graph
    builder = Builder[Expr]()
    for node in graph.nodes:
        builder.add(node.expr, node.type, node.name, node.span)
    writer = Writer(builder, graph.argument, None)

    def plain(write: Scatter) -> Scatter:
        if not write.adds or not is_injective(graph, write):
            return write
        held = writer.add(Gather(write.param, write.indices) if write.indices else Input(write.param))
        return replace(write, value=writer.apply("add", held, write.value), adds=False)

    scatters = tuple(map(plain, graph.scatters))
    return replace(graph, nodes=builder.nodes, scatters=scatters)


def shared_sums(graph: Graph) -> frozenset[str]:
    """The tensors that several values may be added to at one place."""
    return frozenset(write.param for write in graph.scatters if write.adds and not is_injective(graph, write))
