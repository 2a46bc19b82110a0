"""Exchange: another name for an axis of a value, by exchanging the two in all that the value is made of.

Both have one extent. Exchanging them, instead of putting one for the other, keeps a reduction inside that walks the new
name apart from what is renamed to it: it then walks the old one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from fusec.ir.bottom_up import BottomUp
from fusec.ir.expressions import Affine, Dot, FlowExpr, Index, Load, NodeId, Position, Reduce, operands, with_operands
from fusec.ir.flow import FlowBuilder
from fusec.ir.type_rules import part_axes
from fusec.ir.types import Axis, ValueType
from fusec.passes.graph.views.parts import Clash, Split, Value, axes_of
from fusec.passes.graph.views.positions import axes_of_part

_Key: TypeAlias = tuple[NodeId, frozenset[Axis]]
"""A node, and the two axes that are exchanged in it."""


class Exchange:
    """Gives axes of the values of a flow other names."""

    def __init__(self, builder: FlowBuilder) -> None:
        self._builder = builder
        self._known = BottomUp(self._read, self._made)

    def renamed(self, value: Value, old: Axis, new: Axis) -> Value:
        """The value with axis `old` under the name `new`, which it does not have."""
        if isinstance(value, NodeId):
            return self._exchanged(value, old, new)
        inside = [axes_of_part(value.axis, value.layout, k) for k in range(len(value.parts))]
        if value.axis != old:
            if any(new in axes for axes in inside):
                raise Clash(value.axis, new)
            return replace(value, parts=tuple(self.renamed(part, old, new) for part in value.parts))
        halves, others = part_axes(old), part_axes(new)
        for other in others:
            if any(other in axes_of(self._builder, part) for part in value.parts):
                raise Clash(new, other)
        if not others and halves:
            raise Clash(new, *halves)  # an axis of one position, which would have to go
        parts = value.parts
        for half, other in zip(halves, others, strict=False):
            parts = tuple(self.renamed(part, half, other) for part in parts)
        return Split(new, value.layout, parts)

    def _exchanged(self, number: NodeId, one: Axis, other: Axis) -> NodeId:
        """What is one way round is the other way round too."""
        has = {one, other}.intersection(self._builder[number].type.axes)
        return self._known((number, frozenset((one, other)))) if has else number

    def _read(self, key: _Key) -> list[_Key]:
        number, both = key
        read = operands(self._builder[number].expr)
        return [(n, both) for n in read if not both.isdisjoint(self._builder[n].type.axes)]

    def _made(self, key: _Key) -> NodeId:
        number, both = key
        node, (one, other) = self._builder[number], both

        def names(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
            return tuple(other if axis == one else one if axis == other else axis for axis in axes)

        def moved(position: Position) -> Position:
            if not isinstance(position, Affine):
                return position
            steps = (step for _, step in position.terms)
            return replace(position, terms=tuple(zip(names(position.axes), steps, strict=True)))

        expr: FlowExpr = node.expr
        match expr:
            case Load(positions=positions):
                expr = replace(expr, positions=tuple(map(moved, positions)))
            case Index(axis):
                expr = Index(*names((axis,)))
            case Reduce(axes=axes) | Dot(axes=axes):
                expr = replace(expr, axes=names(axes))
        new = tuple(self._exchanged(operand, one, other) for operand in operands(node.expr))
        type = ValueType(node.type.element, names(node.type.axes))
        return self._builder.add(with_operands(expr, new), type, node.name, node.span)
