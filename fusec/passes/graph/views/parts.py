"""Parts: values known by the parts of an axis, and how a part of a plain value is taken at its loads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import sympy

from fusec.diagnostics import Diagnostic, InternalError, SpecError
from fusec.ir.bottom_up import BottomUp
from fusec.ir.expressions import (
    Affine,
    Const,
    Dot,
    Elementwise,
    Index,
    Layout,
    Load,
    Merge,
    NodeId,
    Part,
    Reduce,
    Rename,
    Size,
    operands,
    with_lookups,
    with_operands,
)
from fusec.ir.flow import FlowBuilder
from fusec.ir.graph import Constraint, Graph
from fusec.ir.type_rules import part_axes
from fusec.ir.types import INT, Axis, Fixed, Quotient, Sum, ValueType, extent, union, without
from fusec.passes.graph.views.positions import axes_of_part, part_of_access, part_of_position


@dataclass(frozen=True, slots=True)
class Split:
    """A value known by its parts along `axis`."""

    axis: Axis
    layout: Layout
    parts: tuple[Value, ...]


Value: TypeAlias = NodeId | Split

_Key: TypeAlias = tuple[NodeId, Axis, Layout, int]
"""A node, and which part of it along which axis."""


class Clash(Exception):
    """A value that is taken apart along `axis` has the axis `part` of its parts already."""

    def __init__(self, axis: Axis, part: Axis) -> None:
        super().__init__(f"{axis} has the part {part}")
        self.axis = axis
        self.part = part


def axes_of(builder: FlowBuilder, value: Value) -> tuple[Axis, ...]:
    """The axes of a value, those of its parts aside."""
    if isinstance(value, NodeId):
        return builder[value].type.axes
    inside = (
        without(axes_of(builder, part), axes_of_part(value.axis, value.layout, k)) for k, part in enumerate(value.parts)
    )
    return union(*inside, (value.axis,))


class Parts:
    """Takes values apart. `apart` holds the axes some view takes apart, each with the first layout it does so in."""

    def __init__(self, graph: Graph, builder: FlowBuilder) -> None:
        self._graph = graph
        self._builder = builder
        self._pushed = BottomUp(self._with_axis, self._pushed_part)
        self.apart = _split_axes(graph)

    def split(self, value: NodeId, axes: tuple[Axis, ...]) -> Split | None:
        """A plain value by its parts along one of `axes` that some view takes apart; None where there is none."""
        for axis in axes:
            if axis in self._builder[value].type.axes and axis in self.apart:
                layout = self.apart[axis]
                try:
                    return Split(axis, layout, tuple(self._push(value, axis, layout, k) for k in range(_count(axis))))
                except Clash:
                    continue  # Nothing asks for parts of this value: it stays whole.
        return None

    def clash(self, axis: Axis, layout: Layout, axes: tuple[Axis, ...]) -> Clash | None:
        """Why what has these axes, `axis` or not, cannot stand beside parts of it."""
        inside = union(*(axes_of_part(axis, layout, k) for k in range(_count(axis))))
        found = next((part for part in inside if part in axes), None)
        return None if found is None else Clash(axis, found)

    def knows_by_parts(self, value: Value, axis: Axis) -> bool:
        """Whether a value is made of computed parts along an axis."""
        if isinstance(value, NodeId):
            return False
        return value.axis == axis or any(self.knows_by_parts(part, axis) for part in value.parts)

    def merged(self, parts: tuple[Value, ...], axis: Axis, layout: Layout) -> Split:
        """The value that has these parts along an axis."""
        for k, part in enumerate(parts):
            rest = without(axes_of(self._builder, part), axes_of_part(axis, layout, k))
            if clash := self.clash(axis, layout, rest):
                raise clash
        return Split(axis, layout, parts)

    def part(self, value: Value, axis: Axis, layout: Layout, k: int) -> Value:
        """Part `k` of a value; a value without the axis is the same in every part."""
        if clash := self.clash(axis, layout, axes_of(self._builder, value)):
            raise clash
        if isinstance(value, NodeId):
            return self._push(value, axis, layout, k)
        if value.axis != axis:
            return Split(value.axis, value.layout, tuple(self.part(p, axis, layout, k) for p in value.parts))
        if value.layout is layout:
            return value.parts[k]
        # Halves of an interleaved value are the interleaved halves of its parts, and the other way round.
        self._require_quarters(axis)
        (inner,) = part_axes(axis)
        return Split(inner, value.layout, tuple(self.part(part, inner, layout, k) for part in value.parts))

    def lift(self, values: Sequence[Value], build: Callable[[Sequence[NodeId]], NodeId]) -> Value:
        """Apply `build` to plain values; to values in parts, part by part."""
        first = next((value for value in values if isinstance(value, Split)), None)
        if first is None:
            return build([value for value in values if isinstance(value, NodeId)])
        parts = tuple(
            self.lift([self.part(value, first.axis, first.layout, k) for value in values], build)
            for k in range(len(first.parts))
        )
        return Split(first.axis, first.layout, parts)

    def _require_quarters(self, axis: Axis) -> None:
        """That the spec promises an extent whose halves have halves."""
        named = axis.of if isinstance(axis, Quotient) else axis
        parts = 4 * (axis.by if isinstance(axis, Quotient) else 1)
        rules = self._graph.constraints
        if any(_divides(rule, size, parts) for size in _equal(extent(named), rules) for rule in rules):
            return
        if isinstance(axis, Fixed) and axis.extent % 4 == 0:
            return
        places = (n.span for n in self._graph.nodes if isinstance(n.expr, Part) and n.expr.axis == axis)
        span = next((span for span in places if span), None)
        if span is None:
            raise InternalError("resolve_views", f"`{axis}` is taken apart in two ways and nowhere in the spec")
        message = f"this takes `{axis}` apart in two ways, halves and pairs, which needs quarters of it"
        help = f"add `where {named} % {parts} == 0`"
        raise SpecError((Diagnostic(message, span, help=help),))

    def _push(self, number: NodeId, axis: Axis, layout: Layout, k: int) -> NodeId:
        """Part `k` of a plain value, made by taking the part of everything it is made of."""
        return self._pushed((number, axis, layout, k)) if axis in self._builder[number].type.axes else number

    def _with_axis(self, key: _Key) -> list[_Key]:
        number, axis, layout, k = key
        read = operands(self._builder[number].expr)
        return [(n, axis, layout, k) for n in read if axis in self._builder[n].type.axes]

    def _pushed_part(self, key: _Key) -> NodeId:
        number, axis, layout, k = key
        node = self._builder[number]
        expr = node.expr
        new = axes_of_part(axis, layout, k)
        bound = expr.axes if isinstance(expr, Reduce | Dot) else ()
        if clash := self.clash(axis, layout, (*node.type.axes, *bound)):
            raise clash
        axes = tuple(item for a in node.type.axes for item in (new if a == axis else (a,)))
        type = ValueType(node.type.element, axes)
        if isinstance(expr, Index):
            return self._index_of_part(axis, layout, k)
        args = tuple(self._push(operand, axis, layout, k) for operand in operands(expr))
        if isinstance(expr, Load):
            positions, pair = part_of_access(with_lookups(expr.positions, args), expr.pair, axis, layout, k)
            return self._builder.add(Load(expr.param, positions, pair), type, node.name, node.span)
        return self._builder.add(with_operands(expr, args), type, node.name, node.span)

    def _index_of_part(self, axis: Axis, layout: Layout, k: int) -> NodeId:
        """`index(axis)` written on the axes of one part."""
        position = part_of_position(Affine(((axis, sympy.Integer(1)),)), axis, layout, k)
        terms = [self._scaled(self._builder.add(Index(a), ValueType(INT, (a,))), c) for a, c in position.terms]
        if position.offset != 0:
            terms.append(self._integer(position.offset))
        total = terms[0] if terms else self._integer(sympy.S.Zero)
        for term in terms[1:]:
            axes = union(self._builder[total].type.axes, self._builder[term].type.axes)
            total = self._builder.add(Elementwise("add", (total, term)), ValueType(INT, axes))
        return total

    def _scaled(self, value: NodeId, factor: sympy.Expr) -> NodeId:
        if factor == 1:
            return value
        factor_id = self._integer(factor)
        return self._builder.add(Elementwise("mul", (value, factor_id)), self._builder[value].type)

    def _integer(self, value: sympy.Expr) -> NodeId:
        if value.is_Integer:
            return self._builder.add(Const(int(value)), ValueType(INT))
        return self._builder.add(Size(value), ValueType(INT))


def _count(axis: Axis) -> int:
    """How many parts an axis has."""
    return len(axis.parts) if isinstance(axis, Sum) else 2


def _divides(rule: Constraint, size: sympy.Expr, parts: int) -> bool:
    """Whether a constraint promises that `size` is a multiple of `parts`."""
    if rule.relation != "==" or not rule.right.is_Integer:
        return False
    if rule.left == size:
        return bool(rule.right % parts == 0)
    return (
        rule.right == 0
        and isinstance(rule.left, sympy.Mod)
        and bool(rule.left.args[0] == size and rule.left.args[1] % parts == 0)
    )


def _equal(size: sympy.Expr, rules: tuple[Constraint, ...]) -> set[sympy.Expr]:
    """The extents that constraints say are `size`, itself among them."""
    found = {size}
    pairs = [(rule.left, rule.right) for rule in rules if rule.relation == "=="]
    for _ in pairs:
        found |= {side for pair in pairs if not found.isdisjoint(pair) for side in pair}
    return found


def _split_axes(graph: Graph) -> dict[Axis, Layout]:
    """The axes that some view takes apart, under all their names, each with the first layout it is taken apart in."""
    found: dict[Axis, Layout] = {}
    renames: list[tuple[Axis, Axis]] = []
    for number in graph.live:
        match graph.nodes[number].expr:
            case Part(axis=axis, layout=layout) | Merge(axis=axis, layout=layout):
                found.setdefault(axis, layout)
            case Rename(old=old, new=new):
                renames += [(old, new), (new, old)]
    for _ in renames:
        for old, new in renames:
            if old in found and not isinstance(new, Sum) and not isinstance(old, Sum):
                found.setdefault(new, found[old])
    return found
