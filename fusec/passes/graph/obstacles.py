"""Obstacles: what keeps a value that is constant along contracted axes in its dot, and the words of nodes."""

from __future__ import annotations

from fusec.ir.expressions import (
    Cast,
    Const,
    Dot,
    Elementwise,
    Extent,
    Input,
    MaxOf,
    Merge,
    NodeId,
    Part,
    Reduce,
    Rename,
    Scalar,
    operands,
)
from fusec.ir.graph import Node
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import Axis, Computed
from fusec.passes.graph.factor import Nodes, product, spans
from fusec.passes.graph.marks import mark_words


def why_nothing_leaves(nodes: Nodes, dot: Dot) -> str:
    """The first condition that keeps what is constant along the contracted axes from leaving a dot."""
    both = (dot.a, dot.b)
    for operand in both:
        for factor in product(nodes, operand, dot.axes).factors:
            if (obstacle := _obstacle(nodes, factor.value, dot.axes)) is not None:
                return obstacle
    if all(not isinstance(nodes[operand].type.element, Computed) for operand in both):
        return "both operands are stored tensors, and nothing multiplies them"
    return f"every factor of the operands has the axis {' or '.join(map(str, dot.axes))}"


def words(node: Node) -> str:
    """`mul in silu(x)`: the operation, and the words of the spec it comes from; a marked one by its number."""
    expr, mark = node.expr, mark_words(node)
    if mark is not None:
        return mark
    match expr:
        case Input(param) | Scalar(param):
            return param
        case Const(value):
            return str(value)
    op = expr.op if isinstance(expr, Elementwise | Reduce) else type(expr).__name__.lower()
    text = " ".join(node.span.text.split()) if node.span else ""
    if text and isinstance(expr, Elementwise) and ELEMENTWISE[op].selects and op not in text:
        return text  # A factor that left a reduction, which a rule wrote so (`unless_empty`).
    return text if text.startswith(f"{op}(") else f"{op} in {text}" if text else node.name or op


def _obstacle(nodes: Nodes, value: NodeId, axes: tuple[Axis, ...]) -> str | None:
    """What a factor below `value` would have to pass, if there may be one."""
    if not _covers(nodes, value, axes):
        return None
    match nodes[value].expr:
        case Cast(dtype=dtype):
            return f"the declared cast to {dtype} stands in between"
        case Elementwise(op) if ELEMENTWISE[op].linear is not None:
            return f"{words(nodes[value])} is a sum, which is not taken apart"
        case _:
            return f"a factor does not pass through {words(nodes[value])}"


def _covers(nodes: Nodes, value: NodeId, axes: tuple[Axis, ...]) -> bool:
    """Whether arithmetic below `value` brings in something that has none of `axes` and is no literal."""
    stack, seen = [value], set[NodeId]()
    while stack:
        expr = nodes[stack.pop()].expr
        if not isinstance(expr, Elementwise | Cast | Part | Merge | Rename):
            continue
        for number in operands(expr):
            if spans(nodes, number, axes):
                stack += [number] if number not in seen else []
                seen.add(number)
            elif not isinstance(nodes[number].expr, Const | MaxOf | Extent):
                return True
    return False
