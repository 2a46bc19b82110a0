"""Integers: prove in which limits an integer value lies, so that arithmetic that may leave 32 bits is done in 64.

An op means exact integers. A kernel takes what is stored in less than 32 bits as 32 bits, and what is stored in more as
it is; the result of an addition, a subtraction or a product that is not proved to fit 32 bits is made in 64.
"""

from __future__ import annotations

from fusec.ir.expressions import Elementwise, NodeId, Scalar
from fusec.ir.flow import Flow
from fusec.ir.graph import Graph, ScalarParam
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.ranges import INTEGER, Range, hull
from fusec.ir.traits import ElementwiseOp, Result
from fusec.ir.types import Kind
from fusec.ir.value_ranges import ValueRanges

_BITS = 32
_LEAST, _MOST = -(2 ** (_BITS - 1)), 2 ** (_BITS - 1) - 1


def long_values(flow: Flow, graph: Graph) -> frozenset[NodeId]:
    """The nodes of integer arithmetic that 32 bits are not proved to hold."""

    def scalar(number: NodeId) -> Range | None:
        expr = flow.nodes[number].expr
        if not isinstance(expr, Scalar) or flow.nodes[number].type.kind is not Kind.INT:
            return None
        param = graph.param(expr.param)
        assert isinstance(param, ScalarParam)
        return known.stored(param.dtype)

    known = ValueRanges(flow.nodes, scalar)
    integers = (n for n, node in enumerate(flow.nodes) if node.type.kind is Kind.INT)
    return frozenset(n for n in integers if _is_long(known, n, flow.nodes[n].expr))


def _is_long(known: ValueRanges, number: NodeId, expr: object) -> bool:
    if not isinstance(expr, Elementwise):
        return False
    op, result, args = ELEMENTWISE[expr.op], known(number), [known(arg) for arg in expr.args]
    if op.shifts and not args[1].within(0, _BITS - 1):
        return True
    return not result.within(_LEAST, _MOST) and (_leaves(op, result, args) or _is_of_digits(op))


def _leaves(op: ElementwiseOp, result: Range, args: list[Range]) -> bool:
    """Whether a result may lie beyond the operands. Those of which nothing is known may come in fewer bits."""
    operands = hull(args)
    return op.grows and (operands == INTEGER or not result.within(operands.low, operands.high))


def _is_of_digits(op: ElementwiseOp) -> bool:
    """Whether an operation must not mix widths: to Triton a literal of 32 digits has no sign."""
    return op.result is Result.INT and not op.shifts
