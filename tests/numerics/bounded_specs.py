"""Ops for the tests of the bound, and ways to compute them that are right or wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from fusec.diagnostics import Source
from fusec.ir.builder import GraphBuilder, keep, rebuild
from fusec.ir.expressions import Cast, NodeId
from fusec.ir.graph import Graph, Node
from fusec.ir.types import DType, ValueType
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.reference.bind import bind
from fusec.reference.evaluate import evaluate
from fusec.reference.rounding import round_to, torch_dtype
from fusec.testing.cases import Argument

SPECS = Path(__file__).parents[2] / "specs"


def graph_of(text: str) -> Graph:
    (graph,) = elaborate(load(Source("spec.fuse", text), None))
    return graph


def spec(name: str) -> Graph:
    """The op `name` of the specs of the repository."""
    found = {
        graph.name: graph
        for path in sorted(SPECS.glob("*.fuse"))
        if f"op {name}(" in (text := path.read_text())
        for graph in elaborate(load(Source(path.name, text), None))
    }
    return found[name]


def rounded_at(graph: Graph, number: NodeId, dtype: DType) -> Graph:
    """The op with one value rounded to `dtype` on its way."""
    target = graph.nodes[number]

    def change(builder: GraphBuilder, node: Node, new: tuple[NodeId, ...]) -> NodeId:
        kept = keep(builder, node, new)
        return builder.add(Cast(kept, dtype), ValueType(dtype, node.type.axes)) if node is target else kept

    return rebuild(graph, change)


def stored(graph: Graph, arguments: Mapping[str, Argument]) -> dict[str, Tensor]:
    """The outputs of an exact evaluation, rounded to their dtypes."""
    binding, exact = bind(graph, arguments), evaluate(graph, arguments)
    dtypes = {output.name: binding.storage(output.element) for output in graph.outputs}
    return {name: round_to(exact[name], dtype).to(torch_dtype(dtype)) for name, dtype in dtypes.items()}
