"""What a weight should hold before it is trained or loaded, from how an op uses it.

The one operand of a dot is drawn, as a linear layer's matrix is; one of integers is 0 until it is loaded. Elsewhere a
weight starts where it changes nothing: a factor at 1, a term at 0 (so the gain of `1 + weight` at 0), an optional
weight at the number that stands for it when it is omitted.
"""

from __future__ import annotations

from collections.abc import Iterable

from fusec.ir.expressions import (
    OMITTED,
    Cast,
    Choose,
    Const,
    Dot,
    Elementwise,
    Expr,
    Gather,
    Input,
    Merge,
    Part,
    Rename,
    operands,
)
from fusec.ir.graph import Graph, TensorParam, walk
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import Axis, Kind, Sum


def start_of(graph: Graph, weight: TensorParam) -> float | tuple[Axis, ...]:
    """The number that `weight` starts at everywhere, or the axes over which a dot sums it, for one that is drawn."""
    if weight.holds or (weight.element.kind is not Kind.REAL and _contracted(graph, weight)):
        return 0.0
    return _contracted(graph, weight) or _neutral(graph, weight)


def _contracted(graph: Graph, weight: TensorParam) -> tuple[Axis, ...]:
    """The axes of a dot whose operand is `weight`, perhaps with other weights, but for no axis that it lacks.

    Before: `dot(x, w * gain, over=K)` with `w: T[N, K]`, `gain: T[K]`.   After: (K,) for w, nothing for gain.
    """
    fixed: set[int] = set()
    holds: set[int] = set()
    for number, node in walk(graph):
        if isinstance(node.expr, Dot):
            for operand in (node.expr.a, node.expr.b):
                axes = graph.nodes[operand].type.axes
                if operand in fixed & holds and _rank(axes) <= _rank(axis for dim in weight.dims for axis in dim):
                    return node.expr.axes
        if _is_fixed(graph, node.expr) and fixed.issuperset(operands(node.expr)):
            fixed.add(number)
        if node.expr == Input(weight.name) or not holds.isdisjoint(operands(node.expr)):
            holds.add(number)
    return ()


def _neutral(graph: Graph, weight: TensorParam) -> float:
    """Where the first operation on `weight` lets the other operand pass as it is; 0 where none does."""
    same: set[int] = set()
    for number, node in walk(graph):
        match node.expr:
            case Input(param) if param == weight.name:
                same.add(number)
            case Choose(selector, cases) if selector == weight.name:
                omitted = graph.nodes[dict(cases)[OMITTED]].expr
                if isinstance(omitted, Const):
                    return float(omitted.value)
                same.add(number)
            case Cast() | Part() | Merge() | Rename() | Choose() if not same.isdisjoint(operands(node.expr)):
                same.add(number)
            case Elementwise(op, args) if not same.isdisjoint(args):
                return float(ELEMENTWISE[op].neutral or 0)
    return 0.0


def _is_fixed(graph: Graph, expr: Expr) -> bool:
    """Whether an expression, of operands that are, stays the same from call to call: it reads no tensor but weights."""
    return not isinstance(expr, Input | Gather) or graph.tensor(expr.param).static


def _rank(axes: Iterable[Axis]) -> int:
    """The number of axes; of `A*B + C` those of its longest part."""
    return sum(max(map(len, axis.parts)) if isinstance(axis, Sum) else 1 for axis in axes)
