"""Refuse: the first condition that keeps a reduction from being rid of what it waits for, or a dot of a factor.

Reads a graph and walks the way a factor would have to take, from the reduction down to the factor.
"""

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
from fusec.ir.types import Axis, Computed, Kind
from fusec.passes.plan.commute import is_positive, reduces_over
from fusec.passes.plan.factor import Nodes, product, spans
from fusec.passes.plan.marks import mark_words

_SIGNED = ("abs", "neg")
"""Operations of one operand that only a positive factor passes through."""

_ADDITIVE = ("add", "sub", "maximum", "minimum")
"""Operations that a factor which all of their operands have passes through."""


def factors(nodes: tuple[Node, ...], reduce: Reduce) -> tuple[NodeId, ...]:
    """The values without the reduced axes that a reduction waits for: each needs a reduction over one of these axes."""
    found: list[NodeId] = []
    stack, seen = [reduce.arg], set[NodeId]()
    while stack:
        value = stack.pop()
        if value in seen or not reduces_over(nodes, value, reduce.axes):
            continue
        seen.add(value)
        if spans(nodes, value, reduce.axes):
            stack += reversed(operands(nodes[value].expr))
        else:
            found.append(value)
    return tuple(found)


def why_not_commuted(nodes: tuple[Node, ...], reduce: Reduce) -> str:
    """The first condition that keeps what a reduction waits for from leaving it. It has to wait for something."""
    value, positive, shared = reduce.arg, reduce.op != "sum", ""
    while spans(nodes, value, reduce.axes):
        node = nodes[value]
        waiting = [n for n in operands(node.expr) if reduces_over(nodes, n, reduce.axes)]
        match node.expr:
            case Cast(dtype=dtype):
                return f"the declared cast to {dtype} stands in between"
            case Elementwise(op="mul"):
                value = waiting[0]
            case Elementwise(op="div", args=(above, below)):
                if below in waiting:
                    return f"it is divided by {words(nodes[below])}, and only a factor can leave"
                value = above
            case Elementwise(op=op) if op in _SIGNED:
                value, positive = waiting[0], True
            case Elementwise(op=op, args=args) if op in _ADDITIVE:
                if not all(n in waiting and spans(nodes, n, reduce.axes) for n in args):
                    return f"{words(node)} does not multiply all of it, and only a factor can leave"
                value, shared = waiting[0], shared or words(node)
                positive = positive or op in ("maximum", "minimum")
            case Merge():
                value, shared = waiting[0], shared or words(node)
            case Part() | Rename():
                value = waiting[0]
            case _:
                return f"a factor does not pass through {words(node)}"
    if nodes[value].type.kind is not Kind.REAL:
        return f"{words(nodes[value])} is no real number"
    if positive and not is_positive(nodes, value):
        return f"{words(nodes[value])} is not proved positive"
    return f"not all that meets in {shared} has the factor" if shared else "a view takes an axis of the factor apart"


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
    if op == "where" and text and "where" not in text:
        return text  # A factor that left a reduction, which a rule wrote so (`unless_empty`).
    return text if text.startswith(f"{op}(") else f"{op} in {text}" if text else node.name or op


def _obstacle(nodes: Nodes, value: NodeId, axes: tuple[Axis, ...]) -> str | None:
    """What a factor below `value` would have to pass, if there may be one."""
    if not _covers(nodes, value, axes):
        return None
    match nodes[value].expr:
        case Cast(dtype=dtype):
            return f"the declared cast to {dtype} stands in between"
        case Elementwise(op="add" | "sub"):
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
