"""Operands: what dots multiply, and in which type it can be stored before."""

from __future__ import annotations

from collections.abc import Sequence

from fusec.ir.digits import BYTE
from fusec.ir.expressions import Choose, Dot, Gather, Input, Layout, NodeId, Part, Reduce, Rename, operands
from fusec.ir.graph import Graph, dots_among, reachable
from fusec.ir.multiply import F16, I8, is_number_of, is_of_8_bits, multiplied_as
from fusec.ir.ops import REDUCTIONS
from fusec.ir.types import Axis, Computed, Kind, Storage


def argument_of(graph: Graph, number: NodeId) -> str | None:
    """The argument that a value is, or is an evenly strided part of; None for one that is computed or looked up."""
    while True:
        match graph.nodes[number].expr:
            case Input(param):
                return param
            case Part(arg=arg, layout=layout) if layout is not Layout.PAIRS:
                number = arg
            case Rename(arg=arg):
                number = arg
            case _:
                return None


def is_stored(graph: Graph, number: NodeId, storage: Storage, over: tuple[Axis, ...]) -> bool:
    """Whether an operand of a dot `over` some axes can be read where it lies, as numbers of a type.

    Tensor cores take 8 bits along what is contracted alone: operands that lie otherwise are stored once more.
    """
    argument = argument_of(graph, number)
    if argument is None or graph.nodes[number].type.element != storage:
        return False
    dims = [dim for dim in graph.tensor(argument).dims if dim]
    return not is_of_8_bits(storage) or (bool(dims) and dims[-1][-1] in over)


def stored_as(graph: Graph, dot: Dot) -> tuple[Storage, Storage] | None:
    """The types in which the operands of a dot can be stored to be multiplied; None where there are none.

    Numbers that may be of f64 have none: what they would be stored in has fewer digits. Neither has a dot in f32 of an
    operand that takes fewer bits: threads multiply it, and read it as it is.
    """
    both = (dot.a, dot.b)
    types = multiplied_as(graph.nodes, dot)
    if types is None or any(may_be_f64(graph, number) for number in both):
        return None
    unpacked = [storage for number, storage in zip(both, types, strict=True) if is_unpacked(graph, number, storage)]
    return None if any(_most_bits(storage) > F16.bits for storage in unpacked) else types


def is_unpacked(graph: Graph, number: NodeId, storage: Storage) -> bool:
    """Whether an operand is made, tile by tile where it is multiplied, of what takes fewer bits than the type has.

    So is one that is stored in fewer bits, integers that are computed of tensors of 8 bits at most, and reals that are
    decoded of bytes. A copy, of a weight of 4 or 8 bits for f16, would take the memory that these save.
    """
    element = graph.nodes[number].type.element
    if element == storage or not is_number_of(graph.nodes, number, storage):
        return False
    if not isinstance(element, Computed):
        return True
    below = [graph.nodes[one] for one in reachable(graph.nodes, (number,))]
    if any(isinstance(node.expr, Reduce | Dot) for node in below):
        return False
    read = [node.type.element for node in below if isinstance(node.expr, Input | Gather)]
    if element.kind is not Kind.INT:
        return bool(read) and all(each == BYTE for each in read)
    return bool(read) and all(not isinstance(each, Computed) and _most_bits(each) <= I8.bits for each in read)


def _most_bits(storage: Storage) -> int:
    return max(option.bits for option in storage.options)


def multiplies_stored(graph: Graph) -> bool:
    """Whether the operands of every dot can be stored in the type that they are multiplied in."""
    return all(stored_as(graph, dot) is not None for dot in graph.dots.values())


def may_be_f64(graph: Graph, number: NodeId) -> bool:
    """Whether a value may be computed in f64: one of that type is in its arithmetic, a cast of it is not."""
    nodes = graph.nodes
    found = reachable(nodes, (number,), into=lambda n: isinstance(nodes[n].type.element, Computed))
    elements = (nodes[n].type.element for n in found)
    return any(option.name == "f64" for e in elements if not isinstance(e, Computed) for option in e.options)


def multiplications(graph: Graph) -> dict[NodeId, tuple[Storage, Storage]]:
    """The dots of a graph, each with the types that it multiplies its operands in.

    There are none where one has no such type, or may have nothing to multiply.
    """
    dots = graph.dots
    found = {number: types for number, dot in dots.items() if (types := stored_as(graph, dot)) is not None}
    return found if len(found) == len(dots) and not _may_be_left_out(graph) else {}


def depths(graph: Graph) -> list[int]:
    """For each node, how many dots stand within one another on its longest way in."""
    found: list[int] = []
    for node in graph.nodes:
        found.append(max((found[n] for n in operands(node.expr)), default=0) + isinstance(node.expr, Dot))
    return found


def made_of_reductions(graph: Graph) -> frozenset[NodeId]:
    """The values that are reduced, or made of such ones, with no more axes than these."""
    found: set[NodeId] = set()
    for number, node in enumerate(graph.nodes):
        own = {axis for operand in operands(node.expr) if operand in found for axis in graph.nodes[operand].type.axes}
        inside = any(operand in found for operand in operands(node.expr)) and own.issuperset(node.type.axes)
        if isinstance(node.expr, Reduce) or inside:
            found.add(number)
    return frozenset(found)


def read_later(graph: Graph, levels: Sequence[int]) -> set[NodeId]:
    """What is read at a later level than the one it is made at, other than to be multiplied by a dot."""
    exprs = ((number, graph.nodes[number].expr) for number in graph.live)
    pairs = ((n, number) for number, expr in exprs if not isinstance(expr, Dot) for n in operands(expr))
    return {operand for operand, number in pairs if levels[operand] < levels[number]}


def continues(graph: Graph, reduce: Reduce) -> bool:
    """Whether a sum goes on with what dots add up: it is over axes that they have in both operands, as of groups."""
    if not REDUCTIONS[reduce.op].adds:
        return False
    found = reachable(graph.nodes, (reduce.arg,), into=lambda n: not isinstance(graph.nodes[n].expr, Dot))
    dots = dots_among(graph.nodes, found).values()
    both = [graph.nodes[operand].type.axes for dot in dots for operand in (dot.a, dot.b)]
    return bool(dots) and all(set(reduce.axes) <= set(axes) for axes in both)


def _may_be_left_out(graph: Graph) -> bool:
    """Whether some product is made of an argument that a call may omit: there is then nothing to multiply."""
    optional = {tensor.name for tensor in graph.tensors if tensor.optional}
    depth = depths(graph)
    nodes = ((number, graph.nodes[number].expr) for number in graph.live)
    return any(isinstance(expr, Choose) and expr.selector in optional and depth[number] for number, expr in nodes)
