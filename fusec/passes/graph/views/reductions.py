"""Reductions and contractions of values in parts: of every part, then of the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fusec.ir.expressions import (
    BOTH,
    Affine,
    Dot,
    Elementwise,
    FlowExpr,
    Layout,
    Load,
    Neighbours,
    NodeId,
    Reduce,
)
from fusec.ir.flow import FlowBuilder
from fusec.ir.graph import Node
from fusec.ir.ops import REDUCTIONS
from fusec.ir.type_rules import part_axes
from fusec.ir.types import REAL, Axis, Computed, ValueType, union, without
from fusec.passes.graph.views.parts import Parts, Split, Value
from fusec.passes.graph.views.positions import axes_of_part


class Reductions:
    """Adds reductions and dots to a flow. The `node` of the graph gives each its type, name and place in the spec."""

    def __init__(self, parts: Parts, builder: FlowBuilder) -> None:
        self._parts = parts
        self._builder = builder

    def reduced(self, node: Node, op: str, value: Value, axes: tuple[Axis, ...]) -> Value:
        """A reduction of `node`: the parts of an axis that is reduced are reduced, then combined."""
        if isinstance(value, NodeId):
            split = self._parts.split(value, axes)
            if split is None:
                return self._plain_reduction(node, op, value, axes)
            value = split
        if value.axis not in axes:
            parts = tuple(self.reduced(node, op, part, axes) for part in value.parts)
            return Split(value.axis, value.layout, parts)
        rest = tuple(axis for axis in axes if axis != value.axis)
        if value.layout is not Layout.PARTS:
            # Equal parts meet element by element first: one reduction instead of two.
            met = value.parts[0]
            for part in value.parts[1:]:
                met = self._combined(node, op, met, part)
            return self.reduced(node, op, met, (*rest, *part_axes(value.axis)))
        reduced = [
            self.reduced(node, op, part, (*rest, *axes_of_part(value.axis, value.layout, k)))
            for k, part in enumerate(value.parts)
        ]
        combined = reduced[0]
        for other in reduced[1:]:
            combined = self._combined(node, op, combined, other)
        return combined

    def _plain_reduction(self, node: Node, op: str, value: NodeId, axes: tuple[Axis, ...]) -> NodeId:
        if not axes:
            return value
        kept = tuple(axis for axis in self._builder[value].type.axes if axis not in axes)
        return self._builder.add(Reduce(op, value, axes), ValueType(node.type.element, kept), node.name, node.span)

    def _combined(self, node: Node, op: str, a: Value, b: Value) -> Value:
        def build(ids: Sequence[NodeId]) -> NodeId:
            axes = union(*(self._builder[number].type.axes for number in ids))
            element = node.type.element if isinstance(node.type.element, Computed) else REAL
            combine = Elementwise(REDUCTIONS[op].combine, tuple(ids))
            return self._builder.add(combine, ValueType(element, axes), node.name)

        return self._parts.lift([a, b], build)

    def contracted(self, node: Node, dot: Dot, a: Value, b: Value, axes: tuple[Axis, ...]) -> Value:
        """A dot of values in parts: over parts of another axis several dots, over parts of its own their sum."""
        a, b = self._apart(a, b, axes)
        if (product := self._by_turns(node, dot, a, b, axes)) is not None:
            return product
        found = next((value for value in (a, b) if isinstance(value, Split)), None)
        if found is not None:
            split, layout, part = found.axis, found.layout, self._parts.part
            pairs = [(part(a, split, layout, k), part(b, split, layout, k)) for k in range(len(found.parts))]
            if split not in axes:
                return Split(split, layout, tuple(self.contracted(node, dot, *pair, axes) for pair in pairs))
            rest = tuple(axis for axis in axes if axis != split)
            dots = [
                self.contracted(node, dot, *pair, (*rest, *axes_of_part(split, layout, k)))
                for k, pair in enumerate(pairs)
            ]
            total = dots[0]
            for other in dots[1:]:
                total = self._combined(node, "sum", total, other)
            return total
        assert isinstance(a, NodeId)
        assert isinstance(b, NodeId)
        kept = union(self._builder[a].type.axes, self._builder[b].type.axes)
        type = ValueType(node.type.element, without(kept, axes))
        if not axes:
            return self._builder.add(Elementwise("mul", (a, b)), type, node.name, node.span)
        return self._builder.add(replace(dot, a=a, b=b, axes=axes), type, node.name, node.span)

    def _by_turns(self, node: Node, dot: Dot, a: Value, b: Value, axes: tuple[Axis, ...]) -> NodeId | None:
        """One product of operands that are known by their pairs, as both numbers of a byte; None where it is none."""
        pairs = next((value for value in (a, b) if isinstance(value, Split) and value.axis in axes), None)
        if pairs is None or pairs.layout is not Layout.PAIRS or not (half := part_axes(pairs.axis)):
            return None
        both = (self._neighbours(value, pairs.axis, *half) for value in (a, b))
        operands = tuple(number for number in both if number is not None)
        if len(operands) < 2:
            return None
        contracted = (*without(axes, (pairs.axis,)), *half)
        kept = without(union(*(self._builder[number].type.axes for number in operands)), contracted)
        new = replace(dot, a=operands[0], b=operands[1], axes=contracted)
        return self._builder.add(new, ValueType(node.type.element, kept), node.name, node.span)

    def _neighbours(self, value: Value, axis: Axis, half: Axis) -> NodeId | None:
        """The pairs of an operand by turns; those that one access moves are loaded in their order."""
        parts = [self._parts.part(value, axis, Layout.PAIRS, place) for place in (0, 1)]
        first, second = parts
        if not isinstance(first, NodeId) or not isinstance(second, NodeId):
            return None
        one, other = self._builder[first], self._builder[second]
        if half not in one.type.axes or half not in other.type.axes:
            return None
        if isinstance(one.expr, Load) and one.expr.pair is not None and _by_one_access(one.expr, other.expr, half):
            both = replace(one.expr, pair=replace(one.expr.pair, index=BOTH))
            return self._builder.add(both, one.type, one.name, one.span)
        element = one.type.element if one.type.element == other.type.element else Computed(one.type.kind)
        type = ValueType(element, union(one.type.axes, other.type.axes))
        return self._builder.add(Neighbours((first, second), half), type, None, one.span)

    def _apart(self, a: Value, b: Value, axes: tuple[Axis, ...]) -> tuple[Value, Value]:
        """Plain operands of a dot, one of them by its parts along an axis that is contracted and taken apart."""
        if not isinstance(a, NodeId) or not isinstance(b, NodeId):
            return a, b
        for axis in axes:
            one, other = self._parts.split(a, (axis,)), self._parts.split(b, (axis,))
            both = (*self._builder[a].type.axes, *self._builder[b].type.axes)
            if one is not None and other is not None and not self._parts.clash(axis, one.layout, both):
                return one, other
        return a, b


def _by_one_access(one: Load, other: FlowExpr, half: Axis) -> bool:
    """Whether the neighbours that two loads mean, at all positions of an axis, lie one after the other."""
    if one.pair is None or not isinstance(other, Load) or other.pair != replace(one.pair, index=1):
        return False
    at = one.positions[one.pair.dim]
    holders = [position for position in one.positions if isinstance(position, Affine) and half in position.axes]
    walked = isinstance(at, Affine) and holders == [at] and dict(at.terms)[half] == 2 * one.pair.step
    return walked and (one.param, one.positions) == (other.param, other.positions)
