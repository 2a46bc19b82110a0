"""Evaluates a flow on tensors, as `reference.evaluate` does a graph: what kernels made of it would store.

It knows nothing of tiles and masks, so it sees what views became, in a fraction of the time that kernels take. Every
element of an output has to be written, once; an access outside of its tensor, where no index is looked up, is a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import assert_never

import sympy
import torch
from torch import Tensor

from fusec.ir.expressions import (
    Affine,
    Cast,
    Choose,
    Const,
    Dot,
    Elementwise,
    Index,
    Load,
    Lookup,
    MaxOf,
    Neighbours,
    NodeId,
    Pair,
    Partial,
    Position,
    Reduce,
    Scalar,
    Size,
)
from fusec.ir.flow import LEAD_AXES, Flow, FlowNode, Store, store_axes, two_apart
from fusec.ir.graph import Graph
from fusec.ir.layout import stored_dims
from fusec.ir.types import Axis, Dim, symbol, union, without
from fusec.reference.axes import Array
from fusec.reference.bind import Binding, bind
from fusec.reference.evaluate import dims_of, dot, picked, source
from fusec.reference.meaning import elementwise, reduction
from fusec.reference.rounding import as_kind, round_to, widen
from fusec.testing.cases import Argument


class FlowFault(AssertionError):
    """A flow that reads or writes what it must not, or leaves something out."""


def evaluate_flow(flow: Flow, graph: Graph, arguments: Mapping[str, Argument]) -> dict[str, Tensor]:
    """The outputs of a flow of `graph`, and the new contents of its `mut` tensors, by name."""
    binding = bind(graph, arguments)
    lead1, lead0 = (axis.name for axis in LEAD_AXES)
    binding = replace(binding, extents={**binding.extents, lead1: 1, lead0: binding.extents.get("lead", 1)})
    return _Walk(flow, graph, binding).results()


@dataclass(slots=True)
class _Walk:
    flow: Flow
    graph: Graph
    binding: Binding
    known: dict[NodeId, Array] = field(default_factory=dict)

    def results(self) -> dict[str, Tensor]:
        outputs = {output.name: output.dims for output in self.graph.outputs}
        dims = outputs | {tensor.name: tensor.dims for tensor in self.graph.tensors if tensor.mutable}
        flat: dict[str, Tensor] = {}
        count = {name: torch.zeros(prod(self._sizes(dims[name])), dtype=torch.int64) for name in dims}
        for store in self.flow.stores:
            held = self._array(store.value)
            if store.target in outputs:
                flat.setdefault(store.target, torch.zeros_like(count[store.target], dtype=held.tensor.dtype))
            else:
                flat.setdefault(store.target, widen(self.binding.tensors[store.target]).flatten().clone())
            self._store(store, held, self._sizes(dims[store.target]), flat[store.target], count[store.target])
        for name in outputs:
            if name not in flat or not bool((count[name] == 1).all()):
                raise FlowFault(f"an element of {name} is not written, or written twice")
        return {name: values.reshape(self.binding.shape(dims[name])) for name, values in flat.items()}

    def _store(self, store: Store, held: Array, shape: tuple[int, ...], flat: Tensor, count: Tensor) -> None:
        axes = store_axes(self.flow, store)
        at, inside = self._place(store.positions, store.pair, shape, axes)
        values = held.over(axes, self.binding).to(flat.dtype).flatten()
        where = inside.flatten()
        flat[at.flatten()[where]] = values[where]
        count.index_put_((at.flatten()[where],), torch.ones((), dtype=torch.int64), accumulate=True)

    def _array(self, number: NodeId) -> Array:
        if number not in self.known:
            node = self.flow.nodes[number]
            found = self._value(node)
            if set(found.axes) != set(node.type.axes):
                raise FlowFault(f"%{number} has the axes {found.axes}, and says that it has {node.type.axes}")
            self.known[number] = found
        return self.known[number]

    def _value(self, node: FlowNode) -> Array:
        expr, axes = node.expr, node.type.axes
        match expr:
            case Load():
                return self._load(expr)
            case Scalar() | Const() | MaxOf() | Index():
                return source(self.graph, expr, self.binding)
            case Size(value):
                return Array(torch.tensor(self._number(value)), ())
            case Elementwise(op, args):
                parts = [self._array(arg) for arg in args]
                axes = union(*(part.axes for part in parts))
                return Array(elementwise(op, tuple(part.along(axes) for part in parts)), axes)
            case Cast(arg, dtype):
                held = self._array(arg)
                return Array(round_to(held.tensor, self.binding.storage(dtype)), held.axes)
            case Reduce(op, arg, over):
                held = self._array(arg)
                return Array(reduction(op, held.tensor, dims_of(held, over)), without(held.axes, over))
            case Dot(a, b, over):
                pairs = zip(self._elements(a), self._elements(b), strict=True)
                products = [dot(one, other, over) for one, other in pairs]
                total = sum((product.along(products[0].axes) for product in products[1:]), products[0].tensor)
                return Array(as_kind(total, node.type.kind), products[0].axes)
            case Choose():
                held = self._array(picked(expr, self.binding))
                return Array(as_kind(held.over(axes, self.binding), node.type.kind), axes)
            case Neighbours(args=args):
                # Only its axes: a dot reads the elements.
                return next(each for each in map(self._array, args) if set(each.axes) == set(axes))
            case Partial():
                raise FlowFault("a partial result is no part of a whole flow")
            case _:
                assert_never(expr)

    def _elements(self, number: NodeId) -> tuple[Array, ...]:
        """What an operand of a dot has at each position: one element, or two."""
        parts = two_apart(self.flow.nodes, number)
        if not parts:
            return (self._array(number),)
        return tuple(self._array(part) if isinstance(part, NodeId) else self._load(part) for part in parts)

    def _load(self, load: Load) -> Array:
        stored = widen(self.binding.tensors[load.param])
        shape = self._sizes(self.graph.tensor(load.param).dims)
        axes = self._axes_of(load.positions)
        at, inside = self._place(load.positions, load.pair, shape, axes)
        absent = torch.nan if stored.is_floating_point() else 0
        if not stored.numel():
            return Array(stored.new_full(at.shape, absent), axes)
        found = stored.flatten()[torch.where(inside, at, 0)]
        return Array(torch.where(inside, found, absent) if not bool(inside.all()) else found, axes)

    def _axes_of(self, positions: tuple[Position, ...]) -> tuple[Axis, ...]:
        each = (p.axes if isinstance(p, Affine) else self._array(p.index).axes for p in positions)
        return union(*each)

    def _place(
        self, positions: tuple[Position, ...], pair: Pair | None, shape: tuple[int, ...], axes: tuple[Axis, ...]
    ) -> tuple[Tensor, Tensor]:
        """Which element of a row-major tensor an access means, over `axes`, and where it is inside of it."""
        extents = [self.binding.extent(axis) for axis in axes]
        at = torch.zeros(extents, dtype=torch.int64)
        inside = torch.ones(extents, dtype=torch.bool)
        for dim, (position, size) in enumerate(zip(positions, shape, strict=True)):
            if isinstance(position, Lookup):
                index = self._array(position.index).along(axes)
                if self._number(position.size) != size:
                    raise FlowFault(f"a dimension of {size} is looked up as one of {self._number(position.size)}")
                inside = inside & (index >= 0) & (index < size)
            else:
                index = self._affine(position).along(axes)
                if pair is not None and pair.dim == dim:
                    index = index + self._number(pair.step) * pair.index
                if index.numel() and at.numel() and not bool(((index >= 0) & (index < size)).all()):
                    raise FlowFault(f"{position} is outside of a dimension of {size}")
            at = at * size + index
        return at, inside

    def _affine(self, position: Affine) -> Array:
        total = Array(torch.tensor(self._number(position.offset)), ())
        for axis, factor in position.terms:
            step = Array(torch.arange(self.binding.extent(axis)) * self._number(factor), (axis,))
            axes = union(total.axes, step.axes)
            total = Array(total.along(axes) + step.along(axes), axes)
        return total

    def _sizes(self, dims: tuple[Dim, ...]) -> tuple[int, ...]:
        return tuple(self.binding.size(dim) for dim in stored_dims(dims))

    def _number(self, value: sympy.Expr) -> int:
        return int(sympy.sympify(value).subs({symbol(name): size for name, size in self.binding.extents.items()}))
