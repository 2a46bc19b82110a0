"""Cut: a graph in steps, at the levels that its nodes are computed in.

Before: a graph, and `Cuts` that say of each node its level, and of some that they are stored for later levels.
After: a `Partition`, a graph for each level at which something is made. What is stored is an output of the step that
makes it and a parameter of those that read it; anything else that several steps need is computed in each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fusec.ir.expressions import Input, NodeId
from fusec.ir.graph import Graph, Output, TensorParam
from fusec.ir.partition import Intermediate, Partition, Step
from fusec.ir.types import Storage
from fusec.passes.partition.reading import Reading


@dataclass(frozen=True, slots=True)
class Stored:
    """A value that steps after `level`, where it is made, find in a tensor."""

    tensor: Intermediate
    level: int


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where a graph is cut: the first level at which each node may be computed, and what is stored.

    `multiplied` has the types that each dot multiplies its operands in. What dots multiply is stored by type in
    `operands`, `values` are for all other readers.
    """

    levels: Sequence[int]
    multiplied: Mapping[NodeId, tuple[Storage, Storage]]
    operands: Mapping[tuple[NodeId, Storage], Stored]
    values: Mapping[NodeId, Stored]

    @property
    def stored(self) -> list[tuple[NodeId, Stored]]:
        """All that is stored."""
        return [*((number, stored) for (number, _), stored in self.operands.items()), *self.values.items()]

    def read(self, reader: NodeId | None, number: NodeId, level: int) -> Intermediate | None:
        """The tensor of an earlier step that a node is to one of its readers, in the step at `level`."""
        types = self.multiplied.get(reader, ()) if reader is not None else ()
        found = (self.operands.get((number, storage)) for storage in types)
        stored = next((one for one in found if one is not None), None) or self.values.get(number)
        return stored.tensor if stored and stored.level < level else None


def cut(name: str, graph: Graph, cuts: Cuts) -> Partition:
    """The steps of a graph; writes in place are left to the last of them."""
    last = max(cuts.levels[root] for root in graph.roots)
    levels = sorted({*(cuts.levels[root] for root in graph.roots), *(stored.level for _, stored in cuts.stored)})
    steps = tuple(step for level in levels if (step := _step(graph, cuts, level, level == last)).roots)
    outputs = {output.name for output in graph.outputs}
    tensors = dict.fromkeys(stored.tensor for _, stored in cuts.stored)
    return Partition(name, tuple(map(Step, steps)), tuple(tensor for tensor in tensors if tensor.name not in outputs))


def _step(graph: Graph, cuts: Cuts, level: int, last: bool) -> Graph:
    """What is computed at one level, of what earlier ones have stored."""
    step = Reading(graph, lambda reader, number: cuts.read(reader, number, level))
    stored = {value.tensor.name: (number, value) for number, value in cuts.stored}
    elsewhere = {name for name, (_, value) in stored.items() if value.level != level}
    here = (o for o in graph.outputs if cuts.levels[o.value] == level and o.name not in elsewhere)
    made = [replace(output, value=step.value(output.value)) for output in here]
    named = {output.name for output in made}
    for name, (number, value) in stored.items():
        if value.level == level and name not in named:
            made.append(Output(name, value.tensor.element, value.tensor.dims, step.value(number)))
    scatters = tuple(map(step.write, graph.scatters if last else ()))
    loaded = {node.expr.param for node in step.builder.nodes if isinstance(node.expr, Input)}
    tensors = {name: value.tensor for name, (_, value) in stored.items() if name in loaded}
    params = (*graph.params, *(TensorParam(tensor.name, tensor.element, tensor.dims) for tensor in tensors.values()))
    return replace(graph, params=params, outputs=tuple(made), nodes=step.builder.nodes, scatters=scatters)
