"""Scales: the factors behind a dot of f8 that the vendor's library multiplies its sums with, before it rounds them.

It takes a scale for each row of the product and one for each column, or one number for each operand: so
`dot(q, w, over=K) * s * t` with `s: f32[M]` and `t: f32[N]`, or with `s: f32[]` and `t: f32[]`, is one product for it.
So is `sum(dot(q, w, over=L) * s * t, over=G)`, whose groups of 128 have scales of their own: `s: f32[M, G]` for each
row and `t: f32[N, G]`, or `t: f32[P, G]` for the 128 rows of each block of `w: f8e4m3[P*R, G*L]`.

It multiplies a sum with the scale of the column and then with that of the row, or with the product of two numbers,
which another order may have room for where this one has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fusec.ir.builder import GraphBuilder, keep, rebuild
from fusec.ir.expressions import Choose, Dot, Elementwise, Input, NodeId, Reduce
from fusec.ir.fixed_extents import fixed_extents, known_extent
from fusec.ir.graph import Graph, Node, Output
from fusec.ir.multiply import F32, SCALED_GROUP, Sums, sums_of
from fusec.ir.ops import ELEMENTWISE, REDUCTIONS
from fusec.ir.types import REAL, Axis, Computed, ValueType, without
from fusec.passes.partition.operands import depths
from fusec.passes.partition.store_operands import readers

Readers = Mapping[NodeId, Sequence[NodeId | Output | None]]


def scaled(graph: Graph, number: NodeId, read: Readers, depth: Sequence[int]) -> tuple[NodeId, tuple[NodeId, ...]]:
    """The dot `number` with all scales behind it, and the sum over groups, and these scales.

    Itself where there are none.
    """
    dot = graph.nodes[number].expr
    assert isinstance(dot, Dot)
    if sums_of(graph.nodes, dot) not in (Sums.PARTS, Sums.FAST):
        return number, ()
    a, b = (set(without(graph.nodes[operand].type.axes, dot.axes)) for operand in (dot.a, dot.b))
    node, found, left = number, list[NodeId](), [a, b]
    if a & b:
        return _scaled_groups(graph, number, dot, read, depth)
    if not (a and b):
        return number, ()
    while (step := _factor(graph, node, read)) is not None:
        reader, factor = step
        axes = set(graph.nodes[factor].type.axes)
        alike = all(bool(axes) == bool(graph.nodes[other].type.axes) for other in found)
        side = next((place for place, own in enumerate(left) if axes == own or (own and not axes)), None)
        if side is None or not alike or depth[factor] >= depth[number] or not _is_single(graph, factor):
            break
        left[side] = set[Axis]()
        node, found = reader, [*found, factor]
    return node, tuple(found)


def _scaled_groups(
    graph: Graph, number: NodeId, dot: Dot, read: Readers, depth: Sequence[int]
) -> tuple[NodeId, tuple[NodeId, ...]]:
    """The same of a dot over 128 positions of each group, with a scale of both operands for every group."""
    known = fixed_extents(graph)
    sides = [without(graph.nodes[operand].type.axes, dot.axes) for operand in (dot.a, dot.b)]
    groups = tuple(axis for axis in sides[0] if axis in sides[1])
    if [known_extent(axis, known) for axis in dot.axes] != [SCALED_GROUP] or len(groups) != 1:
        return number, ()
    node, found, shared = number, list[NodeId](), list[tuple[Axis, ...]]()
    while sides and (step := _factor(graph, node, read)) is not None:
        reader, factor = step
        axes = graph.nodes[factor].type.axes
        side = next((own for own in sides if set(groups) <= set(axes) <= set(own)), None)
        if side is None or depth[factor] >= depth[number] or not _is_single(graph, factor):
            return number, ()
        sides.remove(side)
        shared.append(without(side, axes))
        node, found = reader, [*found, factor]
    # One of the two may have its scales by blocks.
    are_blocks = sorted([known_extent(axis, known) for axis in axes] for axes in shared) in (
        [[], []],
        [[], [SCALED_GROUP]],
    )
    top = _sum_over(graph, node, groups, read) if not sides and are_blocks else None
    return (number, ()) if top is None else (top, tuple(found))


def _sum_over(graph: Graph, node: NodeId, axes: tuple[Axis, ...], read: Readers) -> NodeId | None:
    """The sum over some axes that alone reads a node."""
    match read[node]:
        case [int(reader)]:
            expr = graph.nodes[reader].expr
            return reader if isinstance(expr, Reduce) and REDUCTIONS[expr.op].adds and expr.axes == axes else None
    return None


def as_the_library_scales(graph: Graph) -> tuple[Graph, ...]:
    """Graphs with every sum multiplied with its two scales in the order of the library; none where it has none.

    How it takes those of groups is not known: there is a graph for each order.
    """
    read, depth = readers(graph), depths(graph)
    every = {top: (dot, *factors) for dot in graph.dots for top, factors in [scaled(graph, dot, read, depth)]}
    found: dict[NodeId, tuple[NodeId, ...]] = {}
    in_groups: set[NodeId] = set()
    for top, parts in every.items():
        expr = graph.nodes[top].expr
        if len(parts) == 3 and isinstance(expr, Reduce):
            in_groups.add(expr.arg)
            found[expr.arg] = parts
        elif len(parts) == 3:
            found[top] = parts

    def ordered(group: tuple[int, ...]) -> Graph:
        known: dict[NodeId, NodeId] = {}
        numbers = iter(graph.live)

        def change(builder: GraphBuilder, node: Node, args: tuple[NodeId, ...]) -> NodeId:
            number = next(numbers)
            known[number] = keep(builder, node, args)
            if number in found:
                dot, first, second = (known[n] for n in found[number])
                order = group if number in in_groups else _order(builder, dot, first)
                known[number] = _scaled_again(builder, node, dot, (first, second), order)
            return known[number]

        return rebuild(graph, change)

    return tuple(map(ordered, _ORDERS if in_groups else _ORDERS[:1])) if found else ()


_ORDERS = ((0, 1), (1, 0), ())
"""The order in which sums of groups may be multiplied with two scales; () with their product."""


def _order(builder: GraphBuilder, dot: NodeId, first: NodeId) -> tuple[int, ...]:
    """That of the library where there are no groups: columns, then rows; of two numbers their product."""
    expr, axes = builder[dot].expr, builder[first].type.axes
    assert isinstance(expr, Dot)
    rows = set(without(builder[expr.a].type.axes, expr.axes))
    return () if not axes else (1, 0) if set(axes) == rows else (0, 1)


def _scaled_again(
    builder: GraphBuilder, node: Node, dot: NodeId, factors: tuple[NodeId, NodeId], order: tuple[int, ...]
) -> NodeId:
    def product(a: NodeId, b: NodeId) -> NodeId:
        found = {*builder[a].type.axes, *builder[b].type.axes}
        axes = tuple(axis for axis in node.type.axes if axis in found)
        return builder.add(Elementwise("mul", (a, b)), ValueType(REAL, axes), span=node.span)

    if order:
        first, second = (factors[place] for place in order)
        inner = (product(dot, first), second)
    else:
        inner = (dot, product(*factors))
    return builder.add(Elementwise("mul", inner), node.type, node.name, node.span)


def _factor(graph: Graph, node: NodeId, read: Readers) -> tuple[NodeId, NodeId] | None:
    """The product that alone reads a node, and what it multiplies that with."""
    match read[node]:
        case [int(reader)]:
            expr = graph.nodes[reader].expr
            if isinstance(expr, Elementwise) and ELEMENTWISE[expr.op].multiplies:
                (factor,) = (arg for arg in expr.args if arg != node) if len(set(expr.args)) == 2 else (node,)
                return (reader, factor) if factor != node else None
    return None


def _is_single(graph: Graph, factor: NodeId) -> bool:
    """Whether a factor is stored in f32, or is computed and can be."""
    node = graph.nodes[factor]
    if isinstance(node.expr, Input):
        return node.type.element == F32 and not graph.tensor(node.expr.param).optional
    # A number that no tensor tells is no work behind the product.
    return isinstance(node.type.element, Computed) and (bool(node.type.axes) or isinstance(node.expr, Choose | Reduce))
