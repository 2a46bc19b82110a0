"""Refuse: the first condition that keeps a reduction from being rid of what it waits for.

Reads a graph after `commute` and walks the way a factor would have to take, from the reduction down to the factor.
"""

from __future__ import annotations

from collections.abc import Iterator

from fusec.ir.graph import Cast, Elementwise, Merge, Node, NodeId, Part, Reduce, Rename, operands
from fusec.ir.types import Axis, Kind
from fusec.passes.plan.commute import is_positive, reduces_over
from fusec.passes.plan.marks import mark_of

_SIGNED = ("abs", "neg")
"""Operations of one operand that only a positive factor passes through."""

_ADDITIVE = ("add", "sub", "maximum", "minimum")
"""Operations that a factor which all of their operands have passes through."""


def factors(nodes: tuple[Node, ...], reduce: Reduce) -> tuple[NodeId, ...]:
    """The values without the reduced axes that a reduction waits for: each needs a reduction over one of these axes."""
    return tuple(dict.fromkeys(_factors(nodes, reduce.arg, reduce.axes, set())))


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


def spans(nodes: tuple[Node, ...], value: NodeId, axes: tuple[Axis, ...]) -> bool:
    """Whether a value has one of `axes`."""
    return any(axis in nodes[value].type.axes for axis in axes)


def words(node: Node) -> str:
    """`mul in silu(x)`: the operation, and the words of the spec it comes from; a marked reduction by its number."""
    number, expr = mark_of(node), node.expr
    if number is not None:
        return f"reduction {number}"
    op = expr.op if isinstance(expr, Elementwise | Reduce) else type(expr).__name__.lower()
    text = " ".join(node.span.text.split()) if node.span else ""
    return text if text.startswith(f"{op}(") else f"{op} in {text}" if text else node.name or op


def _factors(nodes: tuple[Node, ...], value: NodeId, axes: tuple[Axis, ...], seen: set[NodeId]) -> Iterator[NodeId]:
    if value in seen or not reduces_over(nodes, value, axes):
        return
    seen.add(value)
    if not spans(nodes, value, axes):
        yield value
        return
    for operand in operands(nodes[value].expr):
        yield from _factors(nodes, operand, axes, seen)
