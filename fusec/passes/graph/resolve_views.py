"""Resolve views: turn halves, pairs, parts, renames and gathers into addresses.

Before: `a, b = halves(x, over=D)`; after: two loads of `x`, over the axis `D/2`, at offsets 0 and `D/2`. A view of a
computed value is pushed through the arithmetic down to the loads, so no kernel ever moves data between lanes for one;
a merge is pushed up to the stores. A rename exchanges two axes of one extent in all that a value is made of. A
reduction over an axis that is split elsewhere reduces the parts and combines them, so that every load of the axis has
one form. Relies on a simplified graph (no `mean`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

import sympy

from fusec.diagnostics import Diagnostic, InternalError, Span, SpecError
from fusec.ir.bottom_up import BottomUp
from fusec.ir.builder import Builder
from fusec.ir.expressions import (
    Affine,
    Cast,
    Choose,
    Const,
    Dot,
    Elementwise,
    Extent,
    FlowExpr,
    Gather,
    Index,
    Input,
    Layout,
    Load,
    Lookup,
    MaxOf,
    Merge,
    NodeId,
    Part,
    Position,
    Reduce,
    Rename,
    Scalar,
    Segment,
    Size,
    lookups,
    operands,
    position_axes,
    with_lookups,
    with_operands,
)
from fusec.ir.flow import Flow, FlowBuilder, Store
from fusec.ir.graph import Graph, Node, Output, Scatter
from fusec.ir.places import is_injective
from fusec.ir.types import INT, Axis, Dim, Lead, Sum, ValueType, extent, product_extent, union
from fusec.ir.verify_flow import verify_flow
from fusec.passes.graph.views.exchange import Exchange
from fusec.passes.graph.views.parts import Clash, Parts, Split, Value
from fusec.passes.graph.views.positions import part_of_store, positions_of, walked
from fusec.passes.graph.views.reductions import Reductions


def resolve_views(graph: Graph) -> Flow:
    """The flow of an op. A `SpecError` names the expression that has no lowering yet."""
    return verify_flow(_Resolver(graph).run())


class _Resolver:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._builder: FlowBuilder = Builder[FlowExpr]()
        self._value = BottomUp(lambda number: operands(graph.nodes[number].expr), self._made)
        self._parts = Parts(graph, self._builder)
        self._exchange = Exchange(self._builder)
        self._reductions = Reductions(self._parts, self._builder)

    def run(self) -> Flow:
        stores = [store for output in self._graph.outputs for store in self._output(output)]
        stores += [store for scatter in self._graph.scatters for store in self._scatter(scatter)]
        return Flow(self._builder.nodes, tuple(stores))

    # Roots

    def _output(self, output: Output) -> list[Store]:
        positions: tuple[Position, ...] = positions_of(output.dims)
        store = Store(output.name, output.element, positions, -1, span=output.span)
        return self._stores(store, self._value(output.value))

    def _scatter(self, scatter: Scatter) -> list[Store]:
        tensor = self._graph.tensor(scatter.param)
        if scatter.adds:
            raise InternalError("resolve_views", "a sum in place is left that no step has made a write of")
        looked = tuple(
            self._position(self._plain(index), dim) for index, dim in zip(scatter.indices, tensor.dims, strict=False)
        )
        positions: tuple[Position, ...] = (*looked, *positions_of(tensor.dims[len(looked) :]))
        once = is_injective(self._graph, scatter)
        store = Store(scatter.param, tensor.element, positions, -1, span=scatter.span, once=once)
        return self._stores(store, self._value(scatter.value))

    def _position(self, index: NodeId, dim: Dim) -> Position:
        """The position an index names; `index(N)` along an axis of that extent is no look-up."""
        expr = self._builder[index].expr
        if isinstance(expr, Index) and extent(expr.axis) == product_extent(dim):
            return Affine(((expr.axis, sympy.S.One),))
        return Lookup(index, product_extent(dim))

    def _plain(self, number: NodeId) -> NodeId:
        value = self._value(number)
        if isinstance(value, Split):
            raise self._not_built(self._graph.nodes[number], "a scatter index made of parts")
        return value

    def _stores(self, store: Store, value: Value) -> list[Store]:
        indices = (self._builder[index].type.axes for index in lookups(store.positions))
        stored = union(position_axes(store.positions), *indices)
        if isinstance(value, Split):
            if clash := self._parts.clash(value.axis, value.layout, stored):
                raise self._taken_twice(clash, store.span)
            return [
                found
                for k, part in enumerate(value.parts)
                for found in self._stores(self._part_of(store, value.axis, value.layout, k), part)
            ]
        split = self._parts.split(value, stored)
        if split is not None and self._parts.clash(split.axis, split.layout, stored) is None:
            return self._stores(store, split)
        return [replace(store, value=value)]

    def _part_of(self, store: Store, axis: Axis, layout: Layout, k: int) -> Store:
        """The store of part `k` of what a store writes, at that part of what its positions are looked up by."""
        parts = (self._parts.part(index, axis, layout, k) for index in lookups(store.positions))
        indices = tuple(part for part in parts if isinstance(part, NodeId))
        return part_of_store(replace(store, positions=with_lookups(store.positions, indices)), axis, layout, k)

    # Values

    def _made(self, number: NodeId) -> Value:
        node = self._graph.nodes[number]
        try:
            return self._resolved(node)
        except Clash as clash:
            raise self._taken_twice(clash, node.span) from None

    def _resolved(self, node: Node) -> Value:
        match node.expr:
            case Input(param):
                return self._load(node, param, ())
            case Gather(param, indices):
                values = [self._value(index) for index in indices]
                return self._parts.lift(values, lambda ids: self._load(node, param, tuple(ids)))
            case Scalar() | Const() | MaxOf():
                return self._builder.add(node.expr, node.type, node.name, node.span)
            case Extent(dim):
                return self._builder.add(Size(product_extent(walked(dim))), node.type, node.name, node.span)
            case Index(Lead()):
                raise self._not_built(node, "a position along `...`, which is any number of axes")
            case Index(axis):
                return self._builder.add(Index(axis), ValueType(INT, (axis,)), node.name, node.span)
            case Elementwise(args=args):
                return self._mapped(node, [self._value(arg) for arg in args])
            case Cast(arg=arg):
                return self._mapped(node, [self._value(arg)])
            case Choose(cases=cases):
                return self._mapped(node, [self._value(case) for _, case in cases])
            case Reduce(op, arg, axes):
                return self._reductions.reduced(node, op, self._value(arg), walked(axes))
            case Part(arg, axis, layout, index):
                return self._parts.part(self._value(arg), axis, layout, index)
            case Merge(args, axis, layout):
                return self._parts.merged(tuple(map(self._value, args)), axis, layout)
            case Rename(arg, old, new):
                value = self._value(arg)
                if (isinstance(old, Sum) or isinstance(new, Sum)) and self._parts.knows_by_parts(value, old):
                    raise self._not_built(node, f"`{new}` as another name for `{old}`, which is computed part by part")
                return self._exchange.renamed(value, old, new)
            case Dot(a, b, axes):
                return self._reductions.contracted(node, node.expr, self._value(a), self._value(b), walked(axes))
            case Segment():
                raise self._not_built(node, "`segment`: a search of the offsets inside a kernel")
            case _:
                assert_never(node.expr)

    def _load(self, node: Node, param: str, indices: tuple[NodeId, ...]) -> NodeId:
        tensor = self._graph.tensor(param)
        looked = tuple(self._position(index, dim) for index, dim in zip(indices, tensor.dims, strict=False))
        kept = positions_of(tensor.dims[len(indices) :])
        load = Load(param, (*looked, *kept))
        axes = union(*(self._builder[index].type.axes for index in indices), *(position.axes for position in kept))
        return self._builder.add(load, ValueType(node.type.element, axes), node.name, node.span)

    def _mapped(self, node: Node, values: Sequence[Value]) -> Value:
        expr = node.expr
        assert isinstance(expr, Elementwise | Cast | Choose)

        def build(ids: Sequence[NodeId]) -> NodeId:
            axes = union(*(self._builder[number].type.axes for number in ids))
            new = with_operands(expr, tuple(ids))
            return self._builder.add(new, ValueType(node.type.element, axes), node.name, node.span)

        return self._parts.lift(values, build)

    def _taken_twice(self, clash: Clash, span: Span | None) -> SpecError | InternalError:
        message = f"this takes `{clash.axis}` apart beside an axis `{clash.part}` of its own"
        if span is None:
            return InternalError("resolve_views", f"{message}, and there is no place in the spec to point at")
        help = f"give that axis another name: `rename(..., {clash.part} -> NAME)`"
        return SpecError((Diagnostic(message, span, help=help),))

    def _not_built(self, node: Node, what: str) -> SpecError | InternalError:
        if node.span is None:
            return InternalError("resolve_views", f"no lowering for {what} and no place in the spec to point at")
        message = f"no kernel can be built for this yet: {what}"
        help = "the reference of the op works; take this part out of the spec to build the rest"
        return SpecError((Diagnostic(message, node.span, help=help),))
