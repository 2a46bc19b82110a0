"""Unfuse: the plan that leaves every product to the vendor's library, and what stands around products to kernels.

Before: `y = act(dot(rmsnorm(x, gain), w, over=K) + bias)`. After, one step after another:
- a graph that stores `rmsnorm(x, gain)`, in the type that the dot multiplies in;
- the product of that tensor and `w`, stored as it is accumulated, in f32;
- a graph that makes `y` of the stored product and `bias`.
A stored operand is multiplied where it lies, and a product that is an output goes there. What follows from other
products waits for them: graphs and products take turns, as deep as dots stand within dots.

Relies on a simplified graph. It must not be one from which factors were deferred: here a computed operand is stored
anyway, and a factor that left the dot would cost a pass over its result.
"""

from __future__ import annotations

from dataclasses import dataclass

from fusec.ir.bottom_up import BottomUp
from fusec.ir.builder import Builder, keep
from fusec.ir.expressions import Cast, Dot, Expr, Input, NodeId, operands
from fusec.ir.graph import Graph, Output
from fusec.ir.multiply import F32
from fusec.ir.partition import Chain, Intermediate, LibraryProduct, Matrix
from fusec.ir.types import Axis, Storage, ValueType, union, without
from fusec.passes.graph.views.positions import positions_of, walked
from fusec.passes.partition.intermediates import Holders, multiplications, readers, step_of


def unfuse(graph: Graph) -> Chain | None:
    """The steps, or None where there is no product or the library has none like it."""
    depth = _depths(graph)
    storages = multiplications(graph, depth)
    dots = {number: expr for number in storages if isinstance(expr := graph.nodes[number].expr, Dot)}
    return _Cutter(graph, dots, storages, depth).cut() if dots else None


@dataclass(frozen=True, slots=True)
class _Result:
    """The node that a stored product stands for, and the tensor it is in."""

    node: NodeId
    tensor: Intermediate


class _Cutter:
    """Cuts a graph at its `dots`, each with the type of its operands; `depth` says how many stand within each other."""

    def __init__(
        self, graph: Graph, dots: dict[NodeId, Dot], storages: dict[NodeId, Storage], depth: list[int]
    ) -> None:
        self._graph = graph
        self._nodes = graph.nodes
        self._dots = dots
        self._storages = storages
        self._depth = depth
        self._readers = readers(graph)
        self._holders = Holders(graph)
        self._results = {number: self._result(number) for number in dots}
        self._operands: dict[tuple[NodeId, Storage], Intermediate] = {}

    def cut(self) -> Chain | None:
        products = {n: product for n in self._dots if (product := self._product(n)) is not None}
        if len(products) < len(self._dots):
            return None
        deepest = max(self._depth[root] for root in self._graph.roots)
        steps: list[Graph | LibraryProduct] = []
        for level in range(deepest + 1):
            graph = self._step(level, last=level == deepest)
            steps += [graph] if graph.roots else []
            steps += [product for number, product in products.items() if self._depth[number] == level + 1]
        outputs = {output.name for output in self._graph.outputs}
        held = {one.name: one for one in (*self._operands.values(), *(r.tensor for r in self._results.values()))}
        return Chain(tuple(one for one in held.values() if one.name not in outputs), tuple(steps))

    # Products

    def _result(self, number: NodeId) -> _Result:
        """Where a product goes: to the output that it is, if it is only that, in its type; else in f32."""
        storage = self._storages[number]
        node: NodeId = number
        element: Storage = F32
        match self._readers[number]:
            case [int(reader)]:
                expr = self._nodes[reader].expr
                if isinstance(expr, Cast) and expr.dtype == storage:
                    node, element = reader, storage
        match self._readers[node]:
            case [Output(element=written) as made] if written in (storage, element):
                if self._holders.is_stored_whole(made):
                    return _Result(node, Intermediate(made.name, written, made.dims))
        dot = self._dots[number]
        axes = [self._nodes[n].type.axes for n in (dot.a, dot.b)]
        name = self._holders.free(self._nodes[node].name or "product")
        return _Result(node, Intermediate(name, element, self._holders.dims(without(union(*axes), dot.axes))))

    def _product(self, number: NodeId) -> LibraryProduct | None:
        dot = self._dots[number]
        a, b = (self._matrix(operand, dot.axes, self._storages[number]) for operand in (dot.a, dot.b))
        if a is None or b is None:
            return None
        left, right = (walked(self._nodes[operand].type.axes) for operand in (dot.a, dot.b))
        inner = walked(dot.axes)
        tensor = self._results[number].tensor
        out = Matrix(tensor.name, positions_of(tensor.dims))
        kept = without(tuple(axis for position in out.positions for axis in position.axes), inner)
        return LibraryProduct(
            a,
            b,
            out,
            batch=tuple(axis for axis in kept if axis in left and axis in right),
            rows=tuple(axis for axis in kept if axis in left and axis not in right),
            columns=tuple(axis for axis in kept if axis in right and axis not in left),
            inner=inner,
            precision=dot.precision,
        )

    def _matrix(self, operand: NodeId, inner: tuple[Axis, ...], storage: Storage) -> Matrix | None:
        """An operand where it lies, or where it is stored before; None where a caller may leave it out."""
        if self._depth[operand] == 0:
            found = self._holders.stored(operand, storage)
            if found is not None:
                return None if self._graph.tensor(found.tensor).optional else found
        for result in self._results.values():
            if result.node == operand and result.tensor.element == storage:
                return Matrix(result.tensor.name, positions_of(result.tensor.dims))
        key = (operand, storage)
        if key not in self._operands:
            self._operands[key] = self._holders.holder(operand, storage, inner, "operand")
        held = self._operands[key]
        return Matrix(held.name, positions_of(held.dims))

    # Graphs

    def _step(self, level: int, last: bool) -> Graph:
        """What can be computed when products of `level` dots within each other are there, and has to be."""
        graph, builder = self._graph, Builder[Expr]()
        ready = {result.node: result.tensor for result in self._results.values()}
        written = {result.tensor.name for result in self._results.values()}

        def needs(number: NodeId) -> tuple[NodeId, ...]:
            return () if number in ready else operands(self._nodes[number].expr)

        def moved(number: NodeId) -> NodeId:
            node = self._nodes[number]
            if number in ready:
                element, expr = ready[number].element, Input(ready[number].name)
                return builder.add(expr, ValueType(element, node.type.axes), node.name, node.span)
            return keep(builder, node, tuple(map(move, operands(node.expr))))

        move = BottomUp(needs, moved)
        outputs = [o for o in graph.outputs if o.name not in written and self._depth[o.value] == level]
        stored = [(number, held) for (number, _), held in self._operands.items() if self._depth[number] == level]
        return step_of(graph, builder, move, outputs, stored, ready.values(), last)


def _depths(graph: Graph) -> list[int]:
    """For each node, how many dots stand within one another on its longest way in."""
    found: list[int] = []
    for node in graph.nodes:
        found.append(max((found[n] for n in operands(node.expr)), default=0) + isinstance(node.expr, Dot))
    return found
