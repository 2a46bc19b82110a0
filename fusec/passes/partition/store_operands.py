"""Store operands first: where a graph is cut so that contractions multiply nothing but stored tensors, as TMA wants.

Before: `y = rmsnorm(cast(act(dot(rmsnorm(x, gain), w, over=K)), T))`. After, one step after another:
- a graph that stores `rmsnorm(x, gain)`, in the type that the dot multiplies in;
- a contraction of that tensor and `w`, with all that stands behind it and needs no reduction, stored at the cast;
- a graph that makes `y` of what is stored.

Steps with and without dots take turns. A value waits for the last step that it can be computed in, so that little is
stored between steps; a dot, a declared cast and an output are computed as soon as they can be: these are stored. An
operand is stored in the type it is multiplied in, rounded to it where the dot permits that (`ir/multiply.py`).
"""

from __future__ import annotations

from fusec.ir.expressions import Cast, Dot, NodeId, Reduce, operands
from fusec.ir.graph import Graph, Output, dots_among
from fusec.ir.multiply import F32
from fusec.ir.partition import STORED, Partition
from fusec.ir.types import Storage
from fusec.passes.partition.cut import Cuts, Stored, cut
from fusec.passes.partition.intermediates import Intermediates
from fusec.passes.partition.operands import (
    continues,
    is_stored,
    is_unpacked,
    made_of_reductions,
    multiplications,
    read_later,
)


def store_operands(graph: Graph, intermediates: Intermediates | None = None) -> Partition | None:
    """The steps, or None where there is no dot, or one of operands that are not stored in a type."""
    multiplied = multiplications(graph)
    if not multiplied:
        return None
    made = intermediates or Intermediates(graph)
    levels = _late(graph, _levels(graph))
    stored: dict[tuple[NodeId, Storage], Stored] = {}
    for number, dot in dots_among(graph.nodes, multiplied).items():
        for factor, storage in zip((dot.a, dot.b), multiplied[number], strict=True):
            if not is_stored(graph, factor, storage, dot.axes) and not is_unpacked(graph, factor, storage):
                stored[factor, storage] = Stored(made.of(factor, storage, dot.axes, "operand"), levels[factor])
    values = {
        number: Stored(made.of(number, _exact(graph, number), (), "kept"), levels[number])
        for number in _crossing(graph, levels)
    }
    return cut(STORED, graph, Cuts(levels, multiplied, stored, values))


def _crossing(graph: Graph, levels: list[int]) -> list[NodeId]:
    """What a step takes of an earlier one that contracts or comes behind one, operands of dots aside.

    Of the first step it takes what is reduced there, such as the scales of what is quantised.
    """
    reduced = made_of_reductions(graph)
    return sorted(number for number in read_later(graph, levels) if levels[number] or number in reduced)


def _exact(graph: Graph, number: NodeId) -> Storage:
    """The type a value is stored in between two steps: that of a cast, else f32."""
    expr = graph.nodes[number].expr
    return expr.dtype if isinstance(expr, Cast) else F32


def _levels(graph: Graph) -> list[int]:
    """The first step that each node can be computed in: odd ones contract, even ones reduce what was contracted."""
    found: list[int] = []
    for node in graph.nodes:
        before = max((found[n] for n in operands(node.expr)), default=0)
        match node.expr:
            case Dot():
                found.append(before + 1 + before % 2)
            case Reduce() if continues(graph, node.expr):
                found.append(before)
            case Reduce():
                found.append(before + before % 2)
            case _:
                found.append(before)
    return found


def _late(graph: Graph, levels: list[int]) -> list[int]:
    """The last step that each node behind a dot can wait for; dots, casts, factors of dots and outputs do not wait."""
    late = list(levels)
    for number, found in sorted(readers(graph).items(), reverse=True):
        if not levels[number] or isinstance(graph.nodes[number].expr, Dot | Cast):
            continue
        if all(isinstance(reader, int) and not isinstance(graph.nodes[reader].expr, Dot) for reader in found):
            late[number] = min(late[reader] for reader in found if isinstance(reader, int))
    return late


def readers(graph: Graph) -> dict[NodeId, list[NodeId | Output | None]]:
    """What reads each node: other nodes, outputs, and None for a write in place."""
    live = graph.live
    found: dict[NodeId, list[NodeId | Output | None]] = {number: [] for number in live}
    for number in live:
        for operand in operands(graph.nodes[number].expr):
            found[operand].append(number)
    for output in graph.outputs:
        found[output.value].append(output)
    for number in (n for scatter in graph.scatters for n in (*scatter.indices, scatter.value)):
        found[number].append(None)
    return found
