"""What must hold of every graph, whichever pass made it."""

from __future__ import annotations

from collections.abc import Iterator

from fusec.diagnostics import InternalError
from fusec.ir.expressions import Choose, Expr, Gather, Input, NodeId, Reduce, Scalar, operands
from fusec.ir.graph import ChoiceParam, Graph, ScalarParam
from fusec.ir.ops import REDUCTIONS
from fusec.ir.show import show_graph
from fusec.ir.type_rules import TypeFault, infer
from fusec.ir.types import REAL, ValueType, union, without

_PARTS_OF_MEANS = frozenset(op.averages for op in REDUCTIONS.values())
"""The reductions that others divide by a count."""


def verify_graph(graph: Graph, step: str = "verify_graph") -> None:
    """Raises `InternalError`, in the name of `step`, when the graph is not well formed.

    Operands stand before their users, every node has the type its operands give it, every parameter that is named
    exists and is of the right sort, what is stored fits its declaration.
    """
    fault = next(_faults(graph), None)
    if fault:
        raise InternalError(step, fault, show_graph(graph))


def _faults(graph: Graph) -> Iterator[str]:
    for number, node in enumerate(graph.nodes):
        if any(not 0 <= operand < number for operand in operands(node.expr)):
            yield f"%{number} reads a node that does not stand before it"
            return
        unknown = _unknown_param(graph, node.expr)
        if unknown:
            yield f"%{number} names {unknown}, which is no such parameter"
            return
        try:
            type = infer(node.expr, lambda n: graph.nodes[n].type, graph.argument)
        except TypeFault as fault:
            yield f"%{number} has no type: {fault.message}"
            return
        if isinstance(node.expr, Reduce) and node.expr.op in _PARTS_OF_MEANS and node.type.element == REAL:
            # Integers may be added as reals, as for a mean: their sum might not fit.
            type = ValueType(REAL, type.axes)
        if (type.element, set(type.axes)) != (node.type.element, set(node.type.axes)):
            yield f"%{number} is said to be {node.type} but is {type}"
    for output in graph.outputs:
        if _outside(graph, output.value):
            yield f"output {output.name} names a node that is not there"
            continue
        extra = without(graph.nodes[output.value].type.axes, union(*output.dims))
        if extra:
            yield f"output {output.name} is stored without axis {extra[0]}"
    for scatter in graph.scatters:
        if not graph.tensor(scatter.param).mutable:
            yield f"{scatter.param} is written but not mutable"
        if any(_outside(graph, node) for node in (*scatter.indices, scatter.value)):
            yield f"the write to {scatter.param} names a node that is not there"


def _outside(graph: Graph, node: NodeId) -> bool:
    return not 0 <= node < len(graph.nodes)


def _unknown_param(graph: Graph, expr: Expr) -> str | None:
    """The parameter that an expression names although there is none of that sort."""
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    match expr:
        case Input(param) | Gather(param):
            return None if param in tensors else param
        case Scalar(param):
            return None if any(isinstance(p, ScalarParam) and p.name == param for p in graph.params) else param
        case Choose(selector):
            choices = {p.name for p in graph.params if isinstance(p, ChoiceParam)}
            optional = {name for name, tensor in tensors.items() if tensor.optional}
            return None if selector in choices | optional else selector
        case _:
            return None
