"""Where each plan quantises: in which kernel a value is cast to 8 bits, and why there.

Decides nothing. A cast is known in the graphs of steps by where it stands in the spec.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fusec.ir.expressions import Cast, Dot, Input, NodeId, Reduce, operands
from fusec.ir.graph import Graph, Node, reachable, walk
from fusec.ir.partition import FUSED, LIBRARY, STORED, VECTOR, Partition, Step
from fusec.ir.program import Program
from fusec.ir.types import Computed
from fusec.passes.graph.obstacles import words


@dataclass(frozen=True, slots=True)
class Quantisation:
    """A cast to 8 bits, counted from 1, in the words of its spec, and where plans make it, each with a reason."""

    number: int
    words: str
    places: tuple[str, ...]


_BITS = 8

_PARTITIONS = {FUSED: "all in one", VECTOR: "single vectors", STORED: "products of ours", LIBRARY: "the library's"}


def quantisations(graph: Graph, program: Program) -> tuple[Quantisation, ...]:
    """The casts to 8 bits of an op that it computes something for, with their places in `program`."""
    found = {_key(node): node for _, node in walk(graph) if _quantises(graph, node)}
    return tuple(
        Quantisation(number, words(node), tuple(dict.fromkeys(_places(key, program))))
        for number, (key, node) in enumerate(found.items(), 1)
    )


def _quantises(graph: Graph, node: Node) -> bool:
    expr = node.expr
    if not isinstance(expr, Cast) or not node.type.axes or any(o.bits != _BITS for o in expr.dtype.options):
        return False
    return isinstance(graph.nodes[expr.arg].type.element, Computed)


def _key(node: Node) -> object:
    assert isinstance(node.expr, Cast)
    return node.expr.dtype.kind, node.span


def _places(key: object, program: Program) -> Iterator[str]:
    """Every place, and for which partitions where there are several."""
    if program.once and _cast(program.once, key) is not None:
        yield "once, and kept: it follows from weights alone"
    found: dict[str, dict[str, None]] = {}
    for partition in program.partitions:
        for step in partition.steps:
            number = _cast(step.graph, key)
            if number is not None:
                found.setdefault(_place(partition, step, number), {})[_PARTITIONS[partition.name]] = None
    for place, names in found.items():
        yield f"{place} ({' and '.join(names)})" if len(found) > 1 else place


def _cast(graph: Graph, key: object) -> NodeId | None:
    return next((n for n, node in walk(graph) if isinstance(node.expr, Cast) and _key(node) == key), None)


def _dots(graph: Graph) -> set[NodeId]:
    return {number for number, node in walk(graph) if isinstance(node.expr, Dot)}


def _place(partition: Partition, step: Step, cast: NodeId) -> str:
    graph, place = step.graph, partition.steps.index(step)
    before, dots = reachable(graph.nodes, (cast,)), _dots(graph)
    read = {expr.param for n in before if isinstance(expr := graph.nodes[n].expr, Input)}
    reduced = [n for n in before if isinstance(graph.nodes[n].expr, Reduce)]
    if dots & before:
        return "in the epilogue of the product: its scale is known before, and results are rounded as they are stored"
    if any(cast in reachable(graph.nodes, operands(graph.nodes[dot].expr)) for dot in dots):
        return "as operand of the product: a program has all that its scale is made of"
    if read & {output.name for each in partition.steps[:place] if _dots(each.graph) for output in each.graph.outputs}:
        why = "its scale is of whole rows, and a tile has parts" if reduced else "the library rounds to no such type"
        return f"in a kernel behind the product: {why}"
    if len([name for name in read if graph.tensor(name).dims]) > 1 or len(reduced) > 1:
        return "in the kernel that makes what is quantised: there it is in registers"
    made = {output.name for output in graph.outputs if output.value == cast}
    if any(made & each.reads and _dots(each.graph) for each in partition.steps[place + 1 :]):
        return "in a kernel of rows before the product, whose tiles would quantise it again and again"
    return "in a kernel of its own: what is quantised is an argument"
