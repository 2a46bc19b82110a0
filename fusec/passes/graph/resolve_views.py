"""Resolve views: turn halves, pairs, parts, renames and gathers into addresses.

Before: `a, b = halves(x, over=D)`; after: two loads of `x`, over the axis `D/2`, at offsets 0 and `D/2`. A view of a
computed value is pushed through the arithmetic down to the loads, so no kernel ever moves data between lanes for one;
a merge is pushed up to the stores. A reduction over an axis that is split elsewhere reduces the parts and combines
them, so that every load of the axis has one form. Relies on a simplified graph (no `mean`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, assert_never

import sympy

from fusec.diagnostics import Diagnostic, InternalError, SpecError
from fusec.ir.builder import Builder
from fusec.ir.expressions import (
    Cast,
    Choose,
    Const,
    Dot,
    Elementwise,
    Extent,
    Gather,
    Index,
    Input,
    Layout,
    MaxOf,
    Merge,
    NodeId,
    Part,
    Reduce,
    Rename,
    Scalar,
    Segment,
)
from fusec.ir.flow import (
    LEAD_AXES,
    Affine,
    Flow,
    FlowBuilder,
    FlowExpr,
    FlowNode,
    Load,
    Lookup,
    Pair,
    Position,
    Size,
    Store,
    flow_operands,
    flow_with_operands,
    with_lookups,
)
from fusec.ir.graph import Constraint, Graph, Node, Output, Scatter, reachable
from fusec.ir.types import (
    INT,
    REAL,
    Axis,
    Computed,
    Dim,
    Fixed,
    Lead,
    Named,
    Quotient,
    Sum,
    ValueType,
    extent,
    product_extent,
    union,
    without,
)
from fusec.ir.typing import part_axis


@dataclass(frozen=True, slots=True)
class Split:
    """A value known by its parts along `axis`."""

    axis: Axis
    layout: Layout
    parts: tuple[Value, ...]


Value: TypeAlias = NodeId | Split
Renames: TypeAlias = tuple[tuple[Axis, Axis], ...]

_COMBINE = {"sum": "add", "amax": "maximum", "amin": "minimum"}


def resolve_views(graph: Graph) -> Flow:
    """The flow of an op. A `SpecError` names the expression that has no lowering yet."""
    return _Resolver(graph).run()


class _Resolver:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._builder: FlowBuilder = Builder[FlowExpr]()
        self._values: dict[tuple[NodeId, Renames], Value] = {}
        self._pushed: dict[tuple[NodeId, Axis, Layout, int], NodeId] = {}
        self._splits = _split_axes(graph)

    def run(self) -> Flow:
        stores = [store for output in self._graph.outputs for store in self._output(output)]
        stores += [store for scatter in self._graph.scatters for store in self._scatter(scatter)]
        return Flow(self._builder.nodes, tuple(stores))

    # Roots

    def _output(self, output: Output) -> list[Store]:
        positions: tuple[Position, ...] = _all_of(output.dims)
        store = Store(output.name, output.element, positions, -1, span=output.span)
        return self._stores(store, self._value(output.value))

    def _scatter(self, scatter: Scatter) -> list[Store]:
        tensor = self._graph.tensor(scatter.param)
        looked = tuple(
            Lookup(self._plain(index), product_extent(dim))
            for index, dim in zip(scatter.indices, tensor.dims, strict=False)
        )
        positions: tuple[Position, ...] = (*looked, *_all_of(tensor.dims[len(looked) :]))
        store = Store(scatter.param, tensor.element, positions, -1, span=scatter.span)
        return self._stores(store, self._value(scatter.value))

    def _plain(self, number: NodeId) -> NodeId:
        value = self._value(number)
        if isinstance(value, Split):
            raise self._not_built(self._graph.nodes[number], "a scatter index made of parts")
        return value

    def _stores(self, store: Store, value: Value) -> list[Store]:
        if isinstance(value, Split):
            return [
                found
                for k, part in enumerate(value.parts)
                for found in self._stores(_part_of_store(store, value.axis, value.layout, k), part)
            ]
        for axis in (axis for position in store.positions if isinstance(position, Affine) for axis in position.axes):
            if axis in self._splits and axis in self._builder[value].type.axes:
                return self._stores(store, self._split(value, axis))
        return [replace(store, value=value)]

    # Values

    def _value(self, number: NodeId, renames: Renames = ()) -> Value:
        key = (number, renames)
        if key not in self._values:
            self._values[key] = self._resolved(self._graph.nodes[number], renames)
        return self._values[key]

    def _resolved(self, node: Node, renames: Renames) -> Value:
        axis_of = _renaming(renames)
        match node.expr:
            case Input(param):
                return self._load(node, param, (), axis_of)
            case Gather(param, indices):
                values = [self._value(index, renames) for index in indices]
                return self._lift(values, lambda ids: self._load(node, param, tuple(ids), axis_of))
            case Scalar() | Const() | MaxOf():
                return self._builder.add(node.expr, node.type, node.name, node.span)
            case Extent(dim):
                return self._builder.add(Size(product_extent(_flat(dim))), node.type, node.name, node.span)
            case Index(Lead()):
                raise self._not_built(node, "a position along `...`, which is any number of axes")
            case Index(axis):
                return self._builder.add(Index(axis_of(axis)), ValueType(INT, (axis_of(axis),)), node.name, node.span)
            case Elementwise(args=args):
                return self._mapped(node, [self._value(arg, renames) for arg in args])
            case Cast(arg=arg):
                return self._mapped(node, [self._value(arg, renames)])
            case Choose(cases=cases):
                return self._mapped(node, [self._value(case, renames) for _, case in cases])
            case Reduce(op, arg, axes):
                return self._reduction(node, op, arg, _flat(axes), renames)
            case Part(arg, axis, layout, index):
                return self._part(self._value(arg, renames), axis_of(axis), layout, index)
            case Merge(args, axis, layout):
                parts = tuple(self._value(arg, renames) for arg in args)
                return Split(axis_of(axis), layout, parts)
            case Rename(arg, old, new):
                kept = tuple(pair for pair in renames if pair[0] != old)
                return self._value(arg, tuple(sorted({*kept, (old, axis_of(new))}, key=str)))
            case Dot(a, b, axes):
                inner = self._inner(node, _flat(axes), renames)
                return self._contraction(node, node.expr, self._value(a, inner), self._value(b, inner), _flat(axes))
            case Segment():
                raise self._not_built(node, "`segment`: a search of the offsets inside a kernel")
            case _:
                assert_never(node.expr)

    def _load(self, node: Node, param: str, indices: tuple[NodeId, ...], axis_of: Callable[[Axis], Axis]) -> NodeId:
        tensor = self._graph.tensor(param)
        looked = tuple(Lookup(index, product_extent(dim)) for index, dim in zip(indices, tensor.dims, strict=False))
        kept = _all_of(tuple(tuple(map(axis_of, dim)) for dim in tensor.dims[len(indices) :]))
        load = Load(param, (*looked, *kept))
        axes = union(*(self._builder[index].type.axes for index in indices), *(position.axes for position in kept))
        return self._builder.add(load, ValueType(node.type.element, axes), node.name, node.span)

    def _mapped(self, node: Node, values: Sequence[Value]) -> Value:
        expr = node.expr
        assert isinstance(expr, Elementwise | Cast | Choose)

        def build(ids: Sequence[NodeId]) -> NodeId:
            axes = union(*(self._builder[number].type.axes for number in ids))
            new = flow_with_operands(expr, tuple(ids))
            return self._builder.add(new, ValueType(node.type.element, axes), node.name, node.span)

        return self._lift(values, build)

    def _lift(self, values: Sequence[Value], build: Callable[[Sequence[NodeId]], NodeId]) -> Value:
        """Apply `build` to plain values; to values in parts, part by part."""
        first = next((value for value in values if isinstance(value, Split)), None)
        if first is None:
            return build([value for value in values if isinstance(value, NodeId)])
        parts = tuple(
            self._lift([self._part(value, first.axis, first.layout, k) for value in values], build)
            for k in range(len(first.parts))
        )
        return Split(first.axis, first.layout, parts)

    def _reduction(self, node: Node, op: str, arg: NodeId, axes: tuple[Axis, ...], renames: Renames) -> Value:
        return self._reduce(node, op, self._value(arg, self._inner(node, axes, renames)), axes)

    def _inner(self, node: Node, axes: tuple[Axis, ...], renames: Renames) -> Renames:
        """The renames that reach into an expression which reduces `axes`."""
        inner = tuple(pair for pair in renames if pair[0] not in axes)
        if any(new in axes for _, new in inner):
            raise self._not_built(node, "a rename onto an axis that is reduced inside the renamed value")
        return inner

    def _reduce(self, node: Node, op: str, value: Value, axes: tuple[Axis, ...]) -> Value:
        if isinstance(value, NodeId):
            split = next((a for a in axes if a in self._splits and a in self._builder[value].type.axes), None)
            if split is None:
                return self._plain_reduction(node, op, value, axes)
            value = self._split(value, split)
        if value.axis not in axes:
            parts = tuple(self._reduce(node, op, part, axes) for part in value.parts)
            return Split(value.axis, value.layout, parts)
        rest = tuple(axis for axis in axes if axis != value.axis)
        if value.layout is not Layout.PARTS:
            # Equal parts meet element by element first: one reduction instead of two.
            met = value.parts[0]
            for part in value.parts[1:]:
                met = self._combined(node, op, met, part)
            return self._reduce(node, op, met, (*rest, part_axis(value.axis)))
        reduced = [
            self._reduce(node, op, part, (*rest, *_axes_of_part(value.axis, value.layout, k)))
            for k, part in enumerate(value.parts)
        ]
        combined = reduced[0]
        for other in reduced[1:]:
            combined = self._combined(node, op, combined, other)
        return combined

    def _plain_reduction(self, node: Node, op: str, value: NodeId, axes: tuple[Axis, ...]) -> NodeId:
        kept = tuple(axis for axis in self._builder[value].type.axes if axis not in axes)
        return self._builder.add(Reduce(op, value, axes), ValueType(node.type.element, kept), node.name, node.span)

    def _combined(self, node: Node, op: str, a: Value, b: Value) -> Value:
        def build(ids: Sequence[NodeId]) -> NodeId:
            axes = union(*(self._builder[number].type.axes for number in ids))
            element = node.type.element if isinstance(node.type.element, Computed) else REAL
            return self._builder.add(Elementwise(_COMBINE[op], tuple(ids)), ValueType(element, axes), node.name)

        return self._lift([a, b], build)

    def _contraction(self, node: Node, dot: Dot, a: Value, b: Value, axes: tuple[Axis, ...]) -> Value:
        """A dot of values in parts: over parts of another axis several dots, over parts of its own their sum."""
        for value in (a, b):
            if isinstance(value, NodeId):
                apart = (axis for axis in axes if axis in self._splits and axis in self._builder[value].type.axes)
                split, layout = next(((axis, self._splits[axis]) for axis in apart), (None, Layout.PARTS))
            else:
                split, layout = value.axis, value.layout
            if split is None:
                continue
            count = len(split.parts) if isinstance(split, Sum) else 2
            both = [(self._part(a, split, layout, k), self._part(b, split, layout, k)) for k in range(count)]
            if split not in axes:
                return Split(split, layout, tuple(self._contraction(node, dot, *pair, axes) for pair in both))
            rest = tuple(axis for axis in axes if axis != split)
            dots = [
                self._contraction(node, dot, *pair, (*rest, *_axes_of_part(split, layout, k)))
                for k, pair in enumerate(both)
            ]
            total = dots[0]
            for other in dots[1:]:
                total = self._combined(node, "sum", total, other)
            return total
        assert isinstance(a, NodeId)
        assert isinstance(b, NodeId)
        kept = union(self._builder[a].type.axes, self._builder[b].type.axes)
        type = ValueType(node.type.element, without(kept, axes))
        return self._builder.add(replace(dot, a=a, b=b, axes=axes), type, node.name, node.span)

    # Parts

    def _split(self, value: NodeId, axis: Axis) -> Split:
        layout = self._splits[axis]
        count = len(axis.parts) if isinstance(axis, Sum) else 2
        return Split(axis, layout, tuple(self._push(value, axis, layout, k) for k in range(count)))

    def _part(self, value: Value, axis: Axis, layout: Layout, k: int) -> Value:
        if isinstance(value, NodeId):
            return self._push(value, axis, layout, k)
        if value.axis != axis:
            return Split(value.axis, value.layout, tuple(self._part(p, axis, layout, k) for p in value.parts))
        if value.layout is layout:
            return value.parts[k]
        # Halves of an interleaved value are the interleaved halves of its parts, and the other way round.
        self._require_quarters(axis)
        inner = part_axis(axis)
        return Split(inner, value.layout, tuple(self._part(part, inner, layout, k) for part in value.parts))

    def _require_quarters(self, axis: Axis) -> None:
        """That the spec promises an extent whose halves have halves."""
        named = axis.of if isinstance(axis, Quotient) else axis
        parts = 4 * (axis.by if isinstance(axis, Quotient) else 1)
        if any(_divides(rule, extent(named), parts) for rule in self._graph.constraints):
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
        node = self._builder[number]
        if axis not in node.type.axes:
            return number
        key = (number, axis, layout, k)
        if key not in self._pushed:
            self._pushed[key] = self._pushed_part(node, axis, layout, k)
        return self._pushed[key]

    def _pushed_part(self, node: FlowNode, axis: Axis, layout: Layout, k: int) -> NodeId:
        expr = node.expr
        new = _axes_of_part(axis, layout, k)
        axes = tuple(item for a in node.type.axes for item in (new if a == axis else (a,)))
        type = ValueType(node.type.element, axes)
        if isinstance(expr, Index):
            return self._index_of_part(axis, layout, k)
        operands = tuple(self._push(operand, axis, layout, k) for operand in flow_operands(expr))
        if isinstance(expr, Load):
            positions, pair = _part_of_access(with_lookups(expr.positions, operands), expr.pair, axis, layout, k)
            return self._builder.add(Load(expr.param, positions, pair), type, node.name, node.span)
        return self._builder.add(flow_with_operands(expr, operands), type, node.name, node.span)

    def _index_of_part(self, axis: Axis, layout: Layout, k: int) -> NodeId:
        """`index(axis)` written on the axes of one part."""
        position = _part_of_position(Affine(((axis, sympy.Integer(1)),)), axis, layout, k)
        terms = [self._scaled(self._builder.add(Index(a), ValueType(INT, (a,))), c) for a, c in position.terms]
        if position.offset != 0:
            terms.append(self._integer(position.offset))
        total = terms[0]
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

    def _not_built(self, node: Node, what: str) -> SpecError | InternalError:
        if node.span is None:
            return InternalError("resolve_views", f"no lowering for {what} and no place in the spec to point at")
        message = f"no kernel can be built for this yet: {what}"
        help = "the reference of the op works; take this part out of the spec to build the rest"
        return SpecError((Diagnostic(message, node.span, help=help),))


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


def _split_axes(graph: Graph) -> dict[Axis, Layout]:
    """The axes that some view takes apart, each with the first layout it is taken apart in."""
    found: dict[Axis, Layout] = {}
    for number in sorted(reachable(graph.nodes, graph.roots)):
        expr = graph.nodes[number].expr
        if isinstance(expr, Part | Merge):
            found.setdefault(expr.axis, expr.layout)
    return found


def _renaming(renames: Renames) -> Callable[[Axis], Axis]:
    known = dict(renames)

    def axis_of(axis: Axis) -> Axis:
        if axis in known:
            return known[axis]
        if isinstance(axis, Quotient) and axis.of in known:
            whole = known[axis.of]
            assert isinstance(whole, Named)
            return Quotient(whole, axis.by)
        return axis

    return axis_of


def _all_of(dims: tuple[Dim, ...]) -> tuple[Affine, ...]:
    """Every position of several stored dimensions; `...` becomes the two axes it is walked by."""
    flat = (d for dim in dims for d in (((axis,) for axis in LEAD_AXES) if dim == (Lead(),) else (dim,)))
    return tuple(_whole(dim) for dim in flat)


def _flat(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    return tuple(a for axis in axes for a in (LEAD_AXES if isinstance(axis, Lead) else (axis,)))


def _whole(dim: Dim) -> Affine:
    """Every position of a stored dimension, by the indices of its axes."""
    terms = [(axis, product_extent(dim[place + 1 :])) for place, axis in enumerate(dim)]
    return Affine(tuple(terms))


def _axes_of_part(axis: Axis, layout: Layout, k: int) -> tuple[Axis, ...]:
    if layout is Layout.PARTS:
        assert isinstance(axis, Sum)
        return axis.parts[k]
    return (part_axis(axis),)


def _part_of_position(position: Affine, axis: Axis, layout: Layout, k: int) -> Affine:
    terms: list[tuple[Axis, sympy.Expr]] = []
    offset = position.offset
    for term, factor in position.terms:
        if term != axis:
            terms.append((term, factor))
            continue
        match layout:
            case Layout.HALVES:
                half = part_axis(axis)
                terms.append((half, factor))
                offset += factor * k * extent(half)
            case Layout.PAIRS:
                terms.append((part_axis(axis), 2 * factor))
                offset += factor * k
            case Layout.PARTS:
                assert isinstance(axis, Sum)
                terms += [(a, factor * c) for a, c in _whole(axis.parts[k]).terms]
                offset += factor * sympy.Add(*(product_extent(part) for part in axis.parts[:k]))
            case _:
                assert_never(layout)
    return Affine(tuple(terms), offset)


def _part_of_access(
    positions: tuple[Position, ...], pair: Pair | None, axis: Axis, layout: Layout, k: int
) -> tuple[tuple[Position, ...], Pair | None]:
    holders = [p for p in positions if isinstance(p, Affine) and axis in p.axes]
    wide = layout is Layout.PAIRS and pair is None and len(holders) == 1
    taken = tuple(
        _part_of_position(p, axis, layout, 0 if wide else k) if isinstance(p, Affine) else p for p in positions
    )
    if wide:
        place = positions.index(holders[0])
        step = next(factor for term, factor in holders[0].terms if term == axis)
        return taken, Pair(place, step, k)
    return taken, pair


def _part_of_store(store: Store, axis: Axis, layout: Layout, k: int) -> Store:
    positions, pair = _part_of_access(store.positions, store.pair, axis, layout, k)
    return replace(store, positions=positions, pair=pair)
