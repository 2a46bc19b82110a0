"""What must hold of every flow: each value has the axes of what it is made of, each store those of its value."""

from __future__ import annotations

from collections.abc import Iterator

from fusec.diagnostics import InternalError
from fusec.ir.expressions import (
    Affine,
    Dot,
    Index,
    Load,
    NodeId,
    Partial,
    Position,
    Reduce,
    lookups,
    operands,
    position_axes,
)
from fusec.ir.flow import Flow
from fusec.ir.show_flow import show_flow
from fusec.ir.types import Axis, union, without


def verify_flow(flow: Flow, step: str = "resolve_views") -> Flow:
    """The flow. Raises `InternalError`, in the name of `step`, when it is not well formed."""
    fault = next(_faults(flow), None)
    if fault:
        raise InternalError(step, fault, show_flow(flow))
    return flow


def _faults(flow: Flow) -> Iterator[str]:
    for number in flow.live:
        node = flow.nodes[number]
        own = node.type.axes
        if set(own) != set(_axes(flow, number)) or len(own) != len(set(own)):
            yield f"%{number} is over {_words(own)}, and made of what is over {_words(_axes(flow, number))}"
        if isinstance(node.expr, Load):
            yield from _doubled(node.expr.positions, f"%{number}")
    for store in flow.stores:
        looked = union(*(flow.nodes[index].type.axes for index in lookups(store.positions)))
        left = without(flow.nodes[store.value].type.axes, union(position_axes(store.positions), looked))
        # A tensor that is written through indices may be written once for each of such axes: the order is not defined.
        if left and not looked:
            yield f"{store.target} is stored without {_words(left)}"
        yield from _doubled(store.positions, store.target)


def _axes(flow: Flow, number: NodeId) -> tuple[Axis, ...]:
    """The axes that the operands of a node give it."""
    expr = flow.nodes[number].expr
    inside = union(*(flow.nodes[operand].type.axes for operand in operands(expr)))
    match expr:
        case Load(positions=positions):
            return union(inside, position_axes(positions))
        case Partial(axes=axes):
            return axes
        case Index(axis):
            return (axis,)
        case Reduce(axes=axes) | Dot(axes=axes):
            return without(inside, axes)
        case _:
            return inside


def _doubled(positions: tuple[Position, ...], what: str) -> Iterator[str]:
    axes = [axis for position in positions if isinstance(position, Affine) for axis in position.axes]
    if len(axes) != len(set(axes)):
        yield f"{what} walks one axis twice: {_words(tuple(axes))}"


def _words(axes: tuple[Axis, ...]) -> str:
    return ", ".join(map(str, axes)) or "no axes"
