"""Postpone: writes in place that have to wait until all that is read has been read.

Before: `y = cache[src]; cache[dst] = y * 2`. After: a graph that makes `y` and stores `y * 2`, rounded to the type of
`cache`, in a tensor of its own; and a graph that does nothing but write this to `cache[dst]`, which runs last. What is
cheap to compute and reads nothing that is written is not stored, but computed where it is written.

A sum `cache[slots] += x` for which several values may have one place is such a write, too. Each place has one writer,
the first of those that add to it, which adds up what all of them add, in fixed order:

    same = slots == slots'                      # of every pair of writers
    total = sum(where(same, x', 0), over=L')
    first = amin(where(same, index(L'), L), over=L') == index(L)
    at = where(first, slots, -1)
    cache[at] = cache[at] + total

This reads every value once for each writer. Values made of parts of an axis are stored before: the axis has a second
name here, under which nothing is taken apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

from fusec.diagnostics import Diagnostic, InternalError, SpecError
from fusec.ir.builder import Builder, keep
from fusec.ir.expressions import (
    Const,
    Dot,
    Elementwise,
    Expr,
    Extent,
    Gather,
    Index,
    Input,
    Merge,
    NodeId,
    Part,
    Reduce,
    Rename,
    Segment,
    operands,
)
from fusec.ir.graph import Graph, Output, Scatter, TensorParam, reachable
from fusec.ir.partition import Intermediate
from fusec.ir.type_rules import infer
from fusec.ir.types import DTYPES, Axis, Kind, Lead, Storage, Twin, ValueType, union
from fusec.passes.partition.intermediates import Intermediates


@dataclass(frozen=True, slots=True)
class Postponed:
    """An op in two graphs: `first` has outputs for what is `held` until `last` writes it; None if nothing waits."""

    first: Graph
    held: tuple[Intermediate, ...] = ()
    last: Graph | None = None


def postpone(graph: Graph, names: frozenset[str]) -> Postponed:
    """The graph with all writes into the tensors `names` left to a last step."""
    return _Postponer(graph).split(names) if names else Postponed(graph)


class _Postponer:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes = graph.nodes
        self._mutable = {tensor.name for tensor in graph.tensors if tensor.mutable}
        self._intermediates = Intermediates(graph)
        self._held: dict[tuple[NodeId, Storage], Intermediate] = {}
        self._builder = Builder[Expr]()
        self._moved: dict[NodeId, NodeId] = {}

    def split(self, names: frozenset[str]) -> Postponed:
        graph = self._graph
        last = tuple(self._added(w) if w.adds else self._written(w) for w in graph.scatters if w.param in names)
        made = {output.name for output in graph.outputs}
        held = {one.name: one for one in self._held.values() if one.name not in made}
        outputs = tuple(Output(one.name, one.element, one.dims, n) for (n, _), one in self._held.items())
        outputs = tuple(output for output in outputs if output.name in held)
        first = tuple(write for write in graph.scatters if write.param not in names)
        read = {one.name: TensorParam(one.name, one.element, one.dims) for one in self._held.values()}
        return Postponed(
            replace(graph, outputs=(*graph.outputs, *outputs), scatters=first),
            tuple(held.values()),
            replace(
                graph, params=(*graph.params, *read.values()), outputs=(), nodes=self._builder.nodes, scatters=last
            ),
        )

    def _written(self, write: Scatter) -> Scatter:
        value = self._read(write.value, self._graph.tensor(write.param).element)
        indices = tuple(self._read(index, DTYPES["i64"]) for index in write.indices)
        return replace(write, indices=indices, value=value)

    def _added(self, write: Scatter) -> Scatter:
        """A sum of what all writers of a place add, written by the first of them."""
        indices = tuple(self._whole(index, DTYPES["i64"]) for index in write.indices)
        value = self._whole(write.value, self._storage_of_sums(write))
        axes = union(*(self._axes(index) for index in indices))
        if Lead() in axes:
            raise _unnamed(write)
        others = tuple(self._of_others(index, axes) for index in indices)
        same = [self._apply("eq", one, other) for one, other in zip(indices, others, strict=True)]
        is_same = reduce(lambda one, other: self._apply("and", one, other), same)
        terms = self._apply("where", is_same, self._of_others(value, axes), self._add(Const(0)))
        twins = tuple(map(Twin, axes))
        total = self._add(Reduce("sum", terms, twins))
        count = self._add(Extent(axes))
        writer = self._apply("where", is_same, self._number(twins), count)
        is_first = self._apply("eq", self._add(Reduce("amin", writer, twins)), self._number(axes))
        # Whoever is not the first writes outside of the tensor, where nothing is written.
        places = (self._apply("where", is_first, indices[0], self._add(Const(-1))), *indices[1:])
        held = self._add(Gather(write.param, places))
        return replace(write, indices=places, value=self._apply("add", held, total), adds=False)

    def _storage_of_sums(self, write: Scatter) -> Storage:
        """The type that values are kept in before they are added up: that of the sum."""
        if self._graph.tensor(write.param).element.kind is Kind.INT:
            return DTYPES["i64"]
        options = (option.name for tensor in self._graph.tensors for option in tensor.element.options)
        return DTYPES["f64" if "f64" in options else "f32"]

    def _of_others(self, number: NodeId, axes: tuple[Axis, ...]) -> NodeId:
        """A value along the twins of its axes."""
        for axis in axes:
            if axis in self._axes(number):
                number = self._add(Rename(number, axis, Twin(axis)))
        return number

    def _number(self, axes: tuple[Axis, ...]) -> NodeId:
        """The positions along several axes, counted as one."""
        number = self._add(Index(axes[0]))
        for axis in axes[1:]:
            wide = self._apply("mul", number, self._add(Extent((axis,))))
            number = self._apply("add", wide, self._add(Index(axis)))
        return number

    # Nodes of the last graph

    def _read(self, number: NodeId, storage: Storage) -> NodeId:
        """A value in the last step: computed there if that is right and cheap, else kept from the first one."""
        return self._move(number) if self._is_light(number) else self._kept(number, storage)

    def _whole(self, number: NodeId, storage: Storage) -> NodeId:
        """The same, of no parts: an axis that is taken apart has no twin."""
        exprs = (self._nodes[n].expr for n in reachable(self._nodes, (number,)))
        made_of_parts = any(isinstance(expr, Part | Merge) for expr in exprs)
        return self._kept(number, storage) if made_of_parts else self._read(number, storage)

    def _kept(self, number: NodeId, storage: Storage) -> NodeId:
        if (number, storage) not in self._held:
            self._held[number, storage] = self._intermediates.of(number, storage, (), "written")
        held, node = self._held[number, storage], self._nodes[number]
        return self._builder.add(Input(held.name), ValueType(held.element, node.type.axes), node.name, node.span)

    def _is_light(self, number: NodeId) -> bool:
        """Whether a value is made of loads and arithmetic, and of nothing that an op writes to."""
        exprs = [self._nodes[n].expr for n in reachable(self._nodes, (number,))]
        written = any(isinstance(expr, Input | Gather) and expr.param in self._mutable for expr in exprs)
        return not written and not any(isinstance(expr, Reduce | Dot | Segment) for expr in exprs)

    def _move(self, number: NodeId) -> NodeId:
        if number not in self._moved:
            node = self._nodes[number]
            self._moved[number] = keep(self._builder, node, tuple(map(self._move, operands(node.expr))))
        return self._moved[number]

    def _axes(self, number: NodeId) -> tuple[Axis, ...]:
        return self._builder[number].type.axes

    def _apply(self, op: str, *args: NodeId) -> NodeId:
        return self._add(Elementwise(op, args))

    def _add(self, expr: Expr) -> NodeId:
        return self._builder.add(expr, infer(expr, lambda number: self._builder[number].type, self._graph.tensor))


def _unnamed(write: Scatter) -> SpecError | InternalError:
    if write.span is None:
        return InternalError("postpone", "a sum over `...` and no place in the spec to point at")
    message = "no kernel can be built for this yet: `+=` at places that `...` tells, of which several may be the same"
    help = "give these axes names, as in `slots: i32[B, S]`, or declare the indices as `distinct`"
    return SpecError((Diagnostic(message, write.span, help=help),))
