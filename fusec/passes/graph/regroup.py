"""Regroup: the scales of groups leave a dot over all of what is contracted, which becomes a sum over groups.

Before: `dot(a * s, w * t, over=(G, L))` with `a: f8e4m3[M, G*L]`, `s: f32[M, G]`, and `w` and `t` alike, as the product
of what was dequantised is written; after: `sum(dot(a, w, over=L) * s * t, over=G)`. Tensor cores multiply what stays,
and threads have to multiply the computed numbers of before.

Obligations, checked here: without its scales each operand is one value of both axes, and the two are multiplied in 16
bits or less where they were in f32; none of them is rounded, and the sum is not kept in f16; nothing is of f64; a group
is known to have numbers, and of integers no more than 32 bits have room for.

As where factors are deferred, the range that is kept is that of the regrouped products.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fusec.ir.builder import GraphBuilder, keep, rebuild
from fusec.ir.expressions import Dot, Elementwise, NodeId, Reduce
from fusec.ir.fixed_extents import fixed_extents, known_extent
from fusec.ir.graph import Graph, Node
from fusec.ir.multiply import F16, F32, MOST_I8, multiplied_as
from fusec.ir.types import INT, REAL, Axis, Kind, ValueType, union, without
from fusec.passes.graph.factor import Factor, Product, product
from fusec.passes.graph.unless_empty import unless_empty


def regroup(graph: Graph) -> Graph:
    """The graph with dots of scaled groups as sums of scaled dots."""
    if graph.may_be_wide:
        return graph
    known = fixed_extents(graph)

    def change(builder: GraphBuilder, node: Node, args: tuple[NodeId, ...]) -> NodeId:
        if isinstance(node.expr, Dot):
            found = _groups(builder, replace(node.expr, a=args[0], b=args[1]), known)
            if found is not None:
                return _written(builder, node, found)
        return keep(builder, node, args)

    return rebuild(graph, change)


@dataclass(frozen=True, slots=True)
class _Groups:
    """A dot within every group, the `scales` of the `axes` of groups, and what is the same for all of these.

    The sign of the whole may be `negative`.
    """

    dot: Dot
    axes: tuple[Axis, ...]
    scales: tuple[Factor, ...]
    shared: tuple[Factor, ...]
    negative: bool


def _groups(nodes: GraphBuilder, dot: Dot, known: dict[str, int]) -> _Groups | None:
    if dot.rounded is not None or dot.accum == "f16" or len(dot.axes) < 2:
        return None
    both = [product(nodes, operand, dot.axes) for operand in (dot.a, dot.b)]
    factors = [factor for each in both for factor in each.factors]
    contracted = {factor: _along(nodes, factor, dot.axes) for factor in factors}
    scales = tuple(factor for factor in factors if 0 < len(contracted[factor]) < len(dot.axes))
    groups = union(*(contracted[factor] for factor in scales))
    inner = without(dot.axes, groups)
    rest = [Product(tuple(f for f in each.factors if set(inner) & set(contracted[f]))).alone for each in both]
    if not scales or not inner or rest[0] is None or rest[1] is None:
        return None
    within = replace(dot, a=rest[0], b=rest[1], axes=inner)
    if not _is_worth_it(nodes, dot, within, groups, known):
        return None
    shared = tuple(factor for factor in factors if not contracted[factor])
    axes = tuple(axis for axis in dot.axes if axis in groups)
    return _Groups(within, axes, scales, shared, both[0].negative != both[1].negative)


def _along(nodes: GraphBuilder, factor: Factor, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    return tuple(axis for axis in nodes[factor.value].type.axes if axis in axes)


def _is_worth_it(nodes: GraphBuilder, before: Dot, after: Dot, groups: tuple[Axis, ...], known: dict[str, int]) -> bool:
    """Whether tensor cores multiply what stays, and not what was; sums of a group have something to add, and room."""
    sizes = [known_extent(axis, known) or 0 for axis in after.axes]
    if not all(sizes) or not all(set(groups) <= set(nodes[n].type.axes) for n in (after.a, after.b)):
        return False
    if _kind(nodes, after) is Kind.INT and (len(sizes) > 1 or sizes[0] > MOST_I8):
        return False
    types = multiplied_as(nodes, after)
    if types is None or any(option.bits > F16.bits for storage in types for option in storage.options):
        return False
    return multiplied_as(nodes, before) in (None, (F32, F32))


def _kind(nodes: GraphBuilder, dot: Dot) -> Kind:
    whole = all(nodes[number].type.kind is Kind.INT for number in (dot.a, dot.b))
    return Kind.INT if whole else Kind.REAL


def _written(builder: GraphBuilder, node: Node, found: _Groups) -> NodeId:
    dot = found.dot
    axes = without(union(builder[dot.a].type.axes, builder[dot.b].type.axes), dot.axes)
    kind = INT if _kind(builder, dot) is Kind.INT else REAL
    result = builder.add(dot, ValueType(kind, axes), span=node.span)
    for factor in found.scales:
        result = _times(builder, result, factor, node)
    axes = without(builder[result].type.axes, found.axes)
    result = builder.add(Reduce("sum", result, found.axes), ValueType(REAL, axes), node.name, node.span)
    for factor in found.shared:
        result = _times(builder, result, replace(factor, value=unless_empty(builder, factor.value, found.axes)), node)
    if found.negative:
        result = builder.add(Elementwise("neg", (result,)), builder[result].type, node.name, node.span)
    return result


def _times(builder: GraphBuilder, value: NodeId, factor: Factor, source: Node) -> NodeId:
    """`value` times a factor, at the place of `source`."""
    axes = union(builder[value].type.axes, builder[factor.value].type.axes)
    op = "div" if factor.divides else "mul"
    return builder.add(Elementwise(op, (value, factor.value)), ValueType(REAL, axes), span=source.span)
