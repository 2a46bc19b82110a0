"""Store operands first: the partition whose contractions multiply nothing but stored tensors, which TMA can load.

Before: `y = rmsnorm(cast(act(dot(rmsnorm(x, gain), w, over=K)), T))`. After, one step after another:
- a graph that stores `rmsnorm(x, gain)`, in the type that the dot multiplies in;
- a contraction of that tensor and `w`, with all that stands behind it and needs no reduction, stored at the cast;
- a graph that makes `y` of what is stored.

Steps with and without dots take turns. A value waits for the last step that it can be computed in, so that little is
kept between steps; a dot, a declared cast and an output are computed as soon as they can be: these are kept. An
operand is stored in the type it is multiplied in, rounded to it where the dot permits that (`ir/multiply.py`).
"""

from __future__ import annotations

from fusec.ir.bottom_up import BottomUp
from fusec.ir.builder import Builder, keep
from fusec.ir.expressions import Cast, Dot, Expr, Input, NodeId, Reduce, operands
from fusec.ir.graph import Graph, reachable
from fusec.ir.multiply import F32
from fusec.ir.partition import Chain, Intermediate
from fusec.ir.types import Storage, ValueType
from fusec.passes.partition.intermediates import Holders, multiplications, readers, step_of


def store_operands(graph: Graph) -> Chain | None:
    """The steps, all of them graphs, or None where there is no dot, or one of operands that are not stored in a type.

    Every other step, from the first or from the second one on, contracts.
    """
    levels = _levels(graph)
    storages = multiplications(graph, levels)
    return _Cutter(graph, storages, _late(graph, levels)).cut() if storages else None


class _Cutter:
    """Cuts a graph between the steps, `levels`, that its nodes are computed in."""

    def __init__(self, graph: Graph, storages: dict[NodeId, Storage], levels: list[int]) -> None:
        self._graph = graph
        self._nodes = graph.nodes
        self._levels = levels
        self._live = sorted(reachable(graph.nodes, graph.roots))
        self._holders = Holders(graph)
        self._factors: dict[tuple[NodeId, Storage], Intermediate] = {}
        self._storages = storages
        for number, storage in storages.items():
            dot = self._nodes[number].expr
            assert isinstance(dot, Dot)
            for factor in (dot.a, dot.b):
                if self._holders.stored(factor, storage) is None and (factor, storage) not in self._factors:
                    held = self._holders.holder(factor, storage, dot.axes, "operand")
                    self._factors[factor, storage] = held
        self._values = {number: self._kept(number) for number in self._crossing()}
        self._last = max(levels[root] for root in graph.roots)

    def cut(self) -> Chain:
        steps = (self._step(level) for level in range(self._last + 1))
        outputs = {output.name for output in self._graph.outputs}
        held = {one.name: one for one in (*self._factors.values(), *self._values.values()) if one.name not in outputs}
        return Chain(tuple(held.values()), tuple(step for step in steps if step.roots))

    def _crossing(self) -> list[NodeId]:
        """What a step takes of an earlier one that contracts or comes behind one, factors of dots aside."""
        levels = self._levels
        taken = {
            operand
            for number in self._live
            if number not in self._storages
            for operand in operands(self._nodes[number].expr)
            if 0 < levels[operand] < levels[number]
        }
        return sorted(taken)

    def _kept(self, number: NodeId) -> Intermediate:
        """A value between two steps: at a cast in its type, else in f32."""
        expr = self._nodes[number].expr
        exact = expr.dtype if isinstance(expr, Cast) else F32
        return self._holders.holder(number, exact, (), "kept")

    def _step(self, level: int) -> Graph:
        """What is computed in one step, of what earlier ones have kept."""
        graph, builder = self._graph, Builder[Expr]()

        def read_as(reader: NodeId | None, number: NodeId) -> tuple[NodeId, Intermediate | None]:
            """A node, and the tensor of an earlier step that it is to a reader, if it is one."""
            held = self._factors.get((number, self._storages[reader])) if reader in self._storages else None
            return number, held or (self._values.get(number) if self._levels[number] < level else None)

        def needs(key: tuple[NodeId, Intermediate | None]) -> list[tuple[NodeId, Intermediate | None]]:
            number, held = key
            return [] if held else [read_as(number, n) for n in operands(self._nodes[number].expr)]

        def moved(key: tuple[NodeId, Intermediate | None]) -> NodeId:
            number, held = key
            node = self._nodes[number]
            if held:
                return builder.add(Input(held.name), ValueType(held.element, node.type.axes), node.name, node.span)
            return keep(builder, node, tuple(map(of, needs(key))))

        of = BottomUp(needs, moved)

        def move(number: NodeId) -> NodeId:
            return of(read_as(None, number))

        outputs = [output for output in graph.outputs if self._levels[output.value] == level]
        kept = [*((number, held) for (number, _), held in self._factors.items()), *self._values.items()]
        stored = [(number, held) for number, held in kept if self._levels[number] == level]
        return step_of(graph, builder, move, outputs, stored, [held for _, held in kept], level == self._last)


def _levels(graph: Graph) -> list[int]:
    """The first step that each node can be computed in: odd ones contract, even ones reduce what was contracted."""
    found: list[int] = []
    for node in graph.nodes:
        before = max((found[n] for n in operands(node.expr)), default=0)
        match node.expr:
            case Dot():
                found.append(before + 1 + before % 2)
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
