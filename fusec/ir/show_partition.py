"""Partitions as text: their steps, what is stored between these, and their groups once they are scheduled."""

from __future__ import annotations

from collections.abc import Iterator

from fusec.ir.partition import FUSED, Partition, Step
from fusec.ir.show import show_graph
from fusec.ir.show_flow import show_flow
from fusec.ir.show_schedule import show_group
from fusec.ir.types import product_text


def show_partition(partition: Partition) -> str:
    """What is held between the steps, a line each, then the steps in the last form that they have."""
    return "\n".join(_lines(partition))


def _lines(partition: Partition) -> Iterator[str]:
    if partition.name != FUSED:
        without = f", without {' and '.join(partition.omits)}" if partition.omits else ""
        yield f"partition {partition.name}{without}"
    for tensor in partition.holds:
        how = ", ... innermost" if tensor.innermost else ""
        yield f"hold {tensor.name}: {tensor.element}[{', '.join(map(product_text, tensor.dims))}]{how}"
    yield from map(_step, partition.steps)


def _step(step: Step) -> str:
    if step.groups:
        return "\n\n".join(map(show_group, step.groups))
    return show_flow(step.flow) if step.flow else show_graph(step.graph)
