"""Cut: what plans that keep tensors between their steps need to know of a graph, and how those tensors are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from fusec.ir.builder import Builder
from fusec.ir.expressions import Choose, Dot, Expr, Input, NodeId, operands
from fusec.ir.flow import Affine, Load
from fusec.ir.graph import Graph, Output, TensorParam, reachable
from fusec.ir.multiply import is_number_of, multiplied_as
from fusec.ir.partition import Intermediate, Matrix
from fusec.ir.reserved import another, is_word
from fusec.ir.types import Axis, Computed, Dim, Lead, Storage, union, without
from fusec.passes.graph.resolve_views import resolve_views


class Holders:
    """Makes the tensors that a plan for a graph keeps: each the output that a value is anyway, or one of its own."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes = graph.nodes
        self._order = union(*(dim for output in graph.outputs for dim in output.dims))
        self._taken = {named.name for named in (*graph.params, *graph.outputs, *graph.variables, *graph.solves)}

    def stored(self, operand: NodeId, storage: Storage) -> Matrix | None:
        """The argument of type `storage`, or the part of one, that an operand is."""
        node = self._nodes[operand]
        if node.type.element != storage:
            return None
        output = Output("operand", storage, self.dims(node.type.axes), operand)
        flow = resolve_views(replace(self._graph, outputs=(output,), scatters=()))
        if len(flow.stores) != 1:
            return None
        expr = flow.nodes[flow.stores[0].value].expr
        if not isinstance(expr, Load) or expr.pair is not None:
            return None
        positions = tuple(position for position in expr.positions if isinstance(position, Affine))
        return Matrix(expr.param, positions) if len(positions) == len(expr.positions) else None

    def holder(self, value: NodeId, storage: Storage, inner: tuple[Axis, ...], otherwise: str) -> Intermediate:
        """The output that a value is, or a new tensor for it, with the axes `inner` innermost; it has its name."""
        for output in self._graph.outputs:
            if output.value == value and output.element == storage and self.is_stored_whole(output):
                return Intermediate(output.name, storage, output.dims)
        axes = self._nodes[value].type.axes
        name = self.free(self._nodes[value].name or otherwise)
        return Intermediate(name, storage, self.dims(without(axes, inner), inner))

    def is_stored_whole(self, output: Output) -> bool:
        """Whether every element of an output is one of its value's."""
        return {axis for dim in output.dims for axis in dim} == set(self._nodes[output.value].type.axes)

    def dims(self, axes: tuple[Axis, ...], inner: tuple[Axis, ...] = ()) -> tuple[Dim, ...]:
        """A dimension for each axis: `...` first, then as the outputs have them, then the rest and `inner`."""
        lead = tuple(axis for axis in axes if isinstance(axis, Lead))
        ordered = tuple(axis for axis in self._order if axis in axes)
        return tuple((axis,) for axis in union(lead, ordered, axes, inner))

    def free(self, wanted: str) -> str:
        """`wanted`, or a name like it that nothing else has."""
        while wanted in self._taken or is_word(wanted):
            wanted = another(wanted)
        self._taken.add(wanted)
        return wanted


def stored_as(graph: Graph, dot: Dot) -> Storage | None:
    """The one type in which both operands of a dot can be stored to be multiplied; None where there is none.

    Numbers that may be of f64 have none: what they would be stored in has fewer digits. Neither has a stored operand
    that is of fewer bits: a copy in more bits, of a weight of 8 bits for f16, would take the memory that these save.
    """
    both = (dot.a, dot.b)
    storage = multiplied_as(graph.nodes, dot)
    if storage is None or any(may_be_f64(graph, number) for number in both):
        return None
    for number in both:
        element = graph.nodes[number].type.element
        is_copied = element != storage and is_number_of(graph.nodes, number, storage)
        if is_copied and not isinstance(element, Computed):
            return None
    return storage


def multiplies_stored(graph: Graph) -> bool:
    """Whether the operands of every dot can be stored in the type that they are multiplied in."""
    exprs = (graph.nodes[number].expr for number in reachable(graph.nodes, graph.roots))
    return all(stored_as(graph, expr) is not None for expr in exprs if isinstance(expr, Dot))


def may_be_f64(graph: Graph, number: NodeId) -> bool:
    """Whether a value may be computed in f64: one of that type is in its arithmetic, a cast of it is not."""
    seen: set[NodeId] = set()
    stack = [number]
    while stack:
        number = stack.pop()
        if number in seen:
            continue
        seen.add(number)
        element, expr = graph.nodes[number].type.element, graph.nodes[number].expr
        if not isinstance(element, Computed) and any(option.name == "f64" for option in element.options):
            return True
        if isinstance(element, Computed):
            stack += operands(expr)
    return False


def multiplications(graph: Graph, depth: list[int]) -> dict[NodeId, Storage]:
    """The dots of a graph, each with the type it multiplies in.

    There are none where one has no such type, or may have nothing to multiply. What follows from no dot has `depth` 0.
    """
    live = sorted(reachable(graph.nodes, graph.roots))
    dots = {number: expr for number in live if isinstance(expr := graph.nodes[number].expr, Dot)}
    found = {number: storage for number, dot in dots.items() if (storage := stored_as(graph, dot)) is not None}
    return found if len(found) == len(dots) and not may_be_left_out(graph, depth) else {}


def step_of(
    graph: Graph,
    builder: Builder[Expr],
    move: Callable[[NodeId], NodeId],
    outputs: Iterable[Output],
    stored: Iterable[tuple[NodeId, Intermediate]],
    earlier: Iterable[Intermediate],
    last: bool,
) -> Graph:
    """A step of a graph that is cut: it makes some of its `outputs` and what is `stored` for later steps.

    `move` brings a node into `builder`; for what is read there of the tensors that `earlier` steps stored, the step has
    parameters. The `last` one writes in place.
    """
    made = [replace(output, value=move(output.value)) for output in outputs]
    named = {output.name for output in made}
    made += [Output(held.name, held.element, held.dims, move(n)) for n, held in stored if held.name not in named]
    scatters = tuple(
        replace(scatter, indices=tuple(map(move, scatter.indices)), value=move(scatter.value))
        for scatter in (graph.scatters if last else ())
    )
    read = {node.expr.param for node in builder.nodes if isinstance(node.expr, Input)}
    tensors = {held.name: held for held in earlier if held.name in read}
    params = (*graph.params, *(TensorParam(held.name, held.element, held.dims) for held in tensors.values()))
    return replace(graph, params=params, outputs=tuple(made), nodes=builder.nodes, scatters=scatters)


def may_be_left_out(graph: Graph, depth: list[int]) -> bool:
    """Whether some product is made of an argument that a call may omit: there is then nothing to multiply."""
    optional = {tensor.name for tensor in graph.tensors if tensor.optional}
    nodes = ((number, graph.nodes[number].expr) for number in reachable(graph.nodes, graph.roots))
    return any(isinstance(expr, Choose) and expr.selector in optional and depth[number] for number, expr in nodes)


def readers(graph: Graph) -> dict[NodeId, list[NodeId | Output | None]]:
    """What reads each node: other nodes, outputs, and None for a write in place."""
    live = sorted(reachable(graph.nodes, graph.roots))
    found: dict[NodeId, list[NodeId | Output | None]] = {number: [] for number in live}
    for number in live:
        for operand in operands(graph.nodes[number].expr):
            found[operand].append(number)
    for output in graph.outputs:
        found[output.value].append(output)
    for number in (n for scatter in graph.scatters for n in (*scatter.indices, scatter.value)):
        found[number].append(None)
    return found
