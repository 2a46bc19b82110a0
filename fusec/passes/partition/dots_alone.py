"""Dots alone: where a graph is cut so that every dot is a step of its own, which the vendor's library can make.

Before: `y = act(dot(rmsnorm(x, gain), w, over=K) + bias)`. After, one step after another:
- a graph that stores `rmsnorm(x, gain)`, in the type that the dot multiplies in;
- the dot of that tensor and `w`, stored as it is accumulated, in f32;
- a graph that makes `y` of the stored product and `bias`.
A stored operand is multiplied where it lies, and a product that is an output goes there. What follows from other
products waits for them: graphs and products take turns, as deep as dots stand within dots.

Relies on a simplified graph. It must not be one from which factors were deferred: here a computed operand is stored
anyway, and a factor that left the dot would cost a pass over its result.
"""

from __future__ import annotations

from fusec.ir.expressions import Cast, Input, NodeId, Reduce
from fusec.ir.graph import Graph, dots_among
from fusec.ir.multiply import F32, I8, I32, MULTIPLIED, is_of_8_bits
from fusec.ir.partition import LIBRARY, Intermediate, Partition
from fusec.ir.types import Kind, Storage
from fusec.passes.partition.addend import lies_along, summed
from fusec.passes.partition.cut import Cuts, Stored, cut
from fusec.passes.partition.intermediates import Intermediates
from fusec.passes.partition.operands import (
    argument_of,
    continues,
    depths,
    is_stored,
    is_unpacked,
    made_of_reductions,
    multiplications,
    read_later,
)
from fusec.passes.partition.scales import Readers, scaled
from fusec.passes.partition.store_operands import readers


def dots_alone(graph: Graph, intermediates: Intermediates | None = None) -> Partition | None:
    """The steps, or None where there is no dot, or one whose operands are not stored in a type.

    Nor where a sum over groups goes on with a dot that the library does not scale by group: all of the groups' products
    would have to be stored. Nor where an operand is unpacked where it is multiplied.
    """
    multiplied = multiplications(graph)
    depth = depths(graph)
    dots = dots_among(graph.nodes, multiplied)
    if not dots or any(_is_optional(graph, factor) for dot in dots.values() for factor in (dot.a, dot.b)):
        return None
    factors = ((f, s) for number, dot in dots.items() for f, s in zip((dot.a, dot.b), multiplied[number], strict=True))
    if any(is_unpacked(graph, factor, storage) for factor, storage in factors):
        return None
    made = intermediates or Intermediates(graph)
    # Between the levels of two graphs, each dot that is as deep has one of its own.
    step = len(dots) + 1
    levels = [deep * step for deep in depth]
    values: dict[NodeId, Stored] = {}
    read = readers(graph)
    products = {number: scaled(graph, number, read, depth) for number in multiplied}
    if not _continued(graph).issubset(top for top, _ in products.values()):
        return None
    for place, (number, types) in enumerate(multiplied.items()):
        top, scales = products[number]
        node, tensor = _result(graph, top, types[0], read, made)
        values[node] = Stored(tensor, levels[number] - step + 1 + place)
        for scale in scales:
            if isinstance(graph.nodes[top].expr, Reduce):
                # The library reads the scales of a group for one row after the other.
                made.put_lead_innermost(scale)
            if not isinstance(graph.nodes[scale].expr, Input):
                values[scale] = Stored(made.of(scale, F32, (), "scale"), levels[scale])
    for number in _reduced_before(graph, levels):
        if number not in values:
            values[number] = Stored(made.of(number, F32, (), "kept"), levels[number])
    stored: dict[tuple[NodeId, Storage], Stored] = {}
    for number, dot in dots.items():
        for factor, storage in zip((dot.a, dot.b), multiplied[number], strict=True):
            is_result = factor in values and values[factor].tensor.element == storage
            if not is_result and not is_stored(graph, factor, storage, dot.axes):
                stored[factor, storage] = Stored(made.of(factor, storage, dot.axes, "operand"), levels[factor])
    return cut(LIBRARY, graph, Cuts(levels, multiplied, stored, values))


def _continued(graph: Graph) -> set[NodeId]:
    """The sums that go on with what dots add up."""
    live = ((number, graph.nodes[number].expr) for number in graph.live)
    return {number for number, expr in live if isinstance(expr, Reduce) and continues(graph, expr)}


def _reduced_before(graph: Graph, levels: list[int]) -> list[NodeId]:
    """What is reduced before a dot and read behind it, such as the scales of what is quantised."""
    reduced = made_of_reductions(graph)
    return sorted(n for n in read_later(graph, levels) & reduced if graph.nodes[n].type.kind is Kind.REAL)


def _is_optional(graph: Graph, factor: NodeId) -> bool:
    argument = argument_of(graph, factor)
    return argument is not None and graph.tensor(argument).optional


def _result(
    graph: Graph, number: NodeId, storage: Storage, read: Readers, made: Intermediates
) -> tuple[NodeId, Intermediate]:
    """Where a product goes: to the output that it is, an addend included, if it is only that; else to a tensor in f32.

    The library rounds a product of f8 to every type of at least 16 bits, and leaves one of i8 in i32.
    """
    for output in graph.outputs:
        top, addend = summed(graph, number, output.element, read)
        node, element = _rounded(graph, top, storage, read)
        if read[node] != [output] or (addend is not None and is_of_8_bits(storage)):
            continue
        is_typed = output.element == element or _rounds_to(output.element, storage)
        if is_typed and made.is_stored_whole(output.name) and lies_along(graph, addend, output):
            return node, Intermediate(output.name, output.element, output.dims)
    node, element = _rounded(graph, number, storage, read)
    return node, made.own(node, element, (), "product")


def _rounded(graph: Graph, node: NodeId, storage: Storage, read: Readers) -> tuple[NodeId, Storage]:
    """What the library makes of a sum: itself, or the cast that alone reads it, and the type of that."""
    match read[node]:
        case [int(reader)]:
            expr = graph.nodes[reader].expr
            if isinstance(expr, Cast) and _rounds_to(expr.dtype, storage):
                return reader, expr.dtype
    return node, I32 if storage == I8 else F32


def _rounds_to(written: Storage, storage: Storage) -> bool:
    """Whether the library rounds a product of operands in `storage` to a type."""
    if not is_of_8_bits(storage):
        return written == storage
    return storage != I8 and MULTIPLIED.issuperset(written.options)
