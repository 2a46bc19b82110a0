"""The dataflow of an op after every view has become an address.

Halves, pairs, parts, renames and gathers are gone: a value is made of loads with affine addresses, arithmetic and
reductions, and every root is a store. What a `Graph` says on named axes, a `Flow` says on iteration axes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

import sympy

from fusec.diagnostics import Span
from fusec.ir.builder import Builder
from fusec.ir.expressions import (
    Cast,
    Choose,
    Const,
    Dot,
    Elementwise,
    Index,
    MaxOf,
    NodeId,
    Reduce,
    Scalar,
    with_operands,
)
from fusec.ir.graph import NodeOf
from fusec.ir.types import Axis, Named, Storage, union

LEAD_AXES = (Named("lead1"), Named("lead0"))
"""The axes a kernel walks `...` by: all leading dimensions, collapsed to two that have strides of their own."""


def axes_text(axes: Iterable[Axis]) -> str:
    """`B, S`: axes in words, the two that `...` is walked by under that name."""
    return ", ".join(dict.fromkeys("..." if axis in LEAD_AXES else str(axis) for axis in axes))


@dataclass(frozen=True, slots=True)
class Affine:
    """A position along a stored dimension: `offset` plus, for each iteration axis, its coefficient times its index."""

    terms: tuple[tuple[Axis, sympy.Expr], ...]
    offset: sympy.Expr = sympy.S.Zero

    @property
    def axes(self) -> tuple[Axis, ...]:
        return tuple(axis for axis, _ in self.terms)


@dataclass(frozen=True, slots=True)
class Lookup:
    """A position read from an integer value; positions outside of the dimension, of `size`, are not accessed."""

    index: NodeId
    size: sympy.Expr


Position: TypeAlias = Affine | Lookup


@dataclass(frozen=True, slots=True)
class Pair:
    """Which of two neighbours an access means, so that one wide access moves both.

    They stand `step` apart along stored dimension `dim`; the positions of the access are those of neighbour 0.
    """

    dim: int
    step: sympy.Expr
    index: int


@dataclass(frozen=True, slots=True)
class Load:
    """Elements of the tensor parameter `param`, one position per stored dimension."""

    param: str
    positions: tuple[Position, ...]
    pair: Pair | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """An integer expression over extents, used as a number."""

    value: sympy.Expr


@dataclass(frozen=True, slots=True)
class Partial:
    """The result of a reduction of an earlier kernel: partial results in a `workspace`, combined when read.

    They lie next to each other, or `apart`: those of a split together, which are then added `as_product`, as a tensor
    that has strides and is left by one split or several. Its `noun` is what is reduced there.
    """

    workspace: str
    op: str
    axes: tuple[Axis, ...]
    apart: bool = False
    noun: str = "total"
    as_product: bool = False


FlowExpr: TypeAlias = (
    Load | Partial | Size | Scalar | Const | MaxOf | Index | Elementwise | Cast | Reduce | Dot | Choose
)
FlowNode: TypeAlias = NodeOf[FlowExpr]
FlowBuilder: TypeAlias = Builder[FlowExpr]


@dataclass(frozen=True, slots=True)
class Store:
    """Writes `value`, rounded to `element`, to the output or mutable parameter `target`.

    It reaches every place `once` where that is known; places outside of the tensor do not count.
    """

    target: str
    element: Storage
    positions: tuple[Position, ...]
    value: NodeId
    pair: Pair | None = None
    span: Span | None = field(default=None, compare=False)
    once: bool = True


@dataclass(frozen=True, slots=True)
class Flow:
    """What one op, or one kernel of it, computes: nodes in topological order and the stores they feed."""

    nodes: tuple[FlowNode, ...]
    stores: tuple[Store, ...]

    @property
    def roots(self) -> tuple[NodeId, ...]:
        """The nodes its stores read."""
        return tuple(number for store in self.stores for number in store_inputs(store))

    @property
    def live(self) -> list[NodeId]:
        """The nodes some store depends on, in topological order."""
        return sorted(flow_reachable(self.nodes, self.roots))


def flow_operands(expr: FlowExpr) -> tuple[NodeId, ...]:
    """The nodes an expression reads."""
    match expr:
        case Load(positions=positions):
            return lookups(positions)
        case Partial() | Size() | Scalar() | Const() | MaxOf() | Index():
            return ()
        case Elementwise(args=args):
            return args
        case Cast(arg=arg) | Reduce(arg=arg):
            return (arg,)
        case Dot(a=a, b=b):
            return (a, b)
        case Choose(cases=cases):
            return tuple(value for _, value in cases)
        case _:
            assert_never(expr)


def flow_with_operands(expr: FlowExpr, new: tuple[NodeId, ...]) -> FlowExpr:
    """The same expression over other nodes, given in the order of `flow_operands`."""
    if isinstance(expr, Load):
        return Load(expr.param, with_lookups(expr.positions, new), expr.pair)
    if isinstance(expr, Partial | Size):
        return expr
    changed = with_operands(expr, new)
    assert isinstance(changed, Scalar | Const | MaxOf | Index | Elementwise | Cast | Reduce | Dot | Choose)
    return changed


def lookups(positions: tuple[Position, ...]) -> tuple[NodeId, ...]:
    """The index values among the positions of an access."""
    return tuple(position.index for position in positions if isinstance(position, Lookup))


def with_lookups(positions: tuple[Position, ...], new: tuple[NodeId, ...]) -> tuple[Position, ...]:
    """The same positions with other index values, given in the order of `lookups`."""
    fresh = iter(new)
    return tuple(Lookup(next(fresh), p.size) if isinstance(p, Lookup) else p for p in positions)


def store_inputs(store: Store) -> tuple[NodeId, ...]:
    """The nodes a store reads: its value and its looked-up positions."""
    return (store.value, *lookups(store.positions))


def store_axes(flow: Flow, store: Store) -> tuple[Axis, ...]:
    """The axes a store iterates over."""
    values = (flow.nodes[n].type.axes for n in store_inputs(store))
    return union(position_axes(store.positions), *values)


def position_axes(positions: tuple[Position, ...]) -> tuple[Axis, ...]:
    """The iteration axes among the positions of an access, outermost first."""
    return union(*(position.axes for position in positions if isinstance(position, Affine)))


def flow_reachable(nodes: tuple[FlowNode, ...], roots: tuple[NodeId, ...]) -> frozenset[NodeId]:
    """All nodes that `roots` depend on, themselves included."""
    seen: set[NodeId] = set()
    stack = list(roots)
    while stack:
        number = stack.pop()
        if number not in seen:
            seen.add(number)
            stack.extend(flow_operands(nodes[number].expr))
    return frozenset(seen)
