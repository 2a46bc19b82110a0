"""Partition: the alternatives to computing an op of dots in one step.

Before: the graph of an op, simplified, with nothing deferred. After: partitions, each of which computes all of it:
- contractions of operands that are stored before (`store_operands.py`);
- every dot a step of its own (`dots_alone.py`), and that once more, with fewer steps, for calls that leave out tensors.
"""

from __future__ import annotations

from dataclasses import replace

from fusec.ir.graph import Graph
from fusec.ir.partition import Partition
from fusec.passes.graph.omit import omit
from fusec.passes.graph.simplify import simplify
from fusec.passes.partition.dots_alone import dots_alone
from fusec.passes.partition.intermediates import Intermediates
from fusec.passes.partition.store_operands import store_operands


def partition(graph: Graph) -> tuple[Partition, ...]:
    """The partitions of an op that has dots; none where they cannot be cut off.

    An op with f64 computes in it throughout: it has no contractions in tiles.
    """
    intermediates = Intermediates(graph)
    alone = dots_alone(graph, intermediates)
    special = _for_less(graph, alone) if alone else None
    stored = None if graph.may_be_wide else store_operands(graph, intermediates)
    return tuple(found for found in (special, alone, stored) if found is not None)


def _for_less(graph: Graph, general: Partition) -> Partition | None:
    """The partition for calls without some tensors, where they need fewer steps."""

    def shorter(omitted: set[str]) -> Partition | None:
        # Not checked: a value that omitted tensors gave an axis has it still.
        special = dots_alone(simplify(omit(graph, frozenset(omitted))))
        return special if special and len(special.steps) < len(general.steps) else None

    omitted = {tensor.name for tensor in graph.tensors if tensor.optional}
    for name in sorted(omitted):
        if shorter(omitted - {name}):
            omitted.remove(name)
    special = shorter(omitted)
    if special is None or not set(special.holds) <= set(general.holds):
        return None
    return replace(special, omits=tuple(sorted(omitted)))
