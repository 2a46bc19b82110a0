"""Intermediates: the tensors that are stored between two steps of an op, and what they are called."""

from __future__ import annotations

from fusec.ir.expressions import NodeId
from fusec.ir.graph import Graph
from fusec.ir.partition import Intermediate
from fusec.ir.reserved import another, is_word
from fusec.ir.types import Axis, Dim, Lead, Storage, union, without


class Intermediates:
    """Makes the tensors that steps of a graph store: each the output that a value is anyway, or one of its own.

    What several partitions store alike is one tensor.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes = graph.nodes
        self._order = union(*(dim for output in graph.outputs for dim in output.dims))
        self._taken = {named.name for named in (*graph.params, *graph.outputs, *graph.variables, *graph.solves)}
        self._made: dict[tuple[NodeId, Storage, tuple[Dim, ...]], Intermediate] = {}
        self._innermost: set[NodeId] = set()

    def put_lead_innermost(self, value: NodeId) -> None:
        """From now on tensors for a value have the positions of `...` next to each other, for who reads them so."""
        self._innermost.add(value)

    def of(self, value: NodeId, storage: Storage, inner: tuple[Axis, ...], otherwise: str) -> Intermediate:
        """The output that a value is, or a tensor for it, with the axes `inner` innermost; it has the value's name."""
        for output in self._graph.outputs:
            if output.value == value and output.element == storage and self.is_stored_whole(output.name):
                return Intermediate(output.name, storage, output.dims)
        return self.own(value, storage, inner, otherwise)

    def own(self, value: NodeId, storage: Storage, inner: tuple[Axis, ...], otherwise: str) -> Intermediate:
        """The same, but never an output."""
        dims = self._dims(without(self._nodes[value].type.axes, inner), inner)
        key = value, storage, dims
        if key not in self._made:
            name = self._free(self._nodes[value].name or otherwise)
            self._made[key] = Intermediate(name, storage, dims, value in self._innermost and dims[0] == (Lead(),))
        return self._made[key]

    def is_stored_whole(self, name: str) -> bool:
        """Whether every element of an output is one of its value's."""
        (output,) = (output for output in self._graph.outputs if output.name == name)
        return {axis for dim in output.dims for axis in dim} == set(self._nodes[output.value].type.axes)

    def _dims(self, axes: tuple[Axis, ...], inner: tuple[Axis, ...]) -> tuple[Dim, ...]:
        """A dimension for each axis: `...` first, then as the outputs have them, then the rest and `inner`."""
        lead = tuple(axis for axis in axes if isinstance(axis, Lead))
        ordered = tuple(axis for axis in self._order if axis in axes)
        return tuple((axis,) for axis in union(lead, ordered, axes, inner))

    def _free(self, wanted: str) -> str:
        """`wanted`, or a name like it that nothing else has."""
        while wanted in self._taken or is_word(wanted):
            wanted = another(wanted)
        self._taken.add(wanted)
        return wanted
