"""What is computed once for weights: the object that keeps it."""

from __future__ import annotations

from fusec.codegen.names import OpNames
from fusec.codegen.signature import literal, sequence
from fusec.ir.graph import Graph


def prepared_lines(once: Graph, names: OpNames) -> list[str]:
    """The statement that makes the object."""
    weights = sequence(literal(tensor.name) for tensor in once.tensors)
    made = sequence(literal(output.name) for output in once.outputs)
    return [f"{names.prepared} = Prepare({names.prepare}, weights={weights}, names={made})"]
