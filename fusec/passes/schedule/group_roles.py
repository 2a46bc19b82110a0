"""Roles for groups: the schedule of a persistent gemm in roles whose groups of what is contracted have scales.

Before: the gemm of `sum(dot(a, b, over=L) * s * t, over=G)`, a step of which has one group, of 128 numbers of 8 bits;
after: the schedule in roles whose threads multiply the sums of a group with its scales while the tensor core makes the
next ones. Scales are loaded, and the same for all columns of a tile: a scale for each of them would not fit registers.
"""

from __future__ import annotations

from fusec.ir.expressions import Dot, Elementwise, Load, NodeId, Reduce, operands
from fusec.ir.fixed_extents import known_extent
from fusec.ir.flow import Flow
from fusec.ir.multiply import SCALED_GROUP, Sums, multiplied_as, sums_of
from fusec.ir.ops import ELEMENTWISE, REDUCTIONS
from fusec.ir.schedule import Gemm, GemmRoles, GemmTile, GroupScales
from fusec.ir.tensor_map import TensorMap
from fusec.ir.types import Kind, without
from fusec.passes.schedule.gemm_tma import factors, loaded, stored
from fusec.passes.schedule.known import Known


def group_roles(twin: Gemm, label: str, known: Known) -> GemmRoles | str:
    """The schedule beside a gemm, or why there is none."""
    tile, flow = twin.tile, twin.tile.flow
    if not tile.takes_groups or len(flow.dots) > 1:
        return "it has no groups of one product"
    ((number, dot),) = flow.dots.items()
    sums = sums_of(flow.nodes, dot)
    if sums is Sums.SINGLE:
        return "its operands have more than 8 bits"
    if [known_extent(axis, known.extents) for axis in dot.axes] != [SCALED_GROUP]:
        return f"its groups are not known to have {SCALED_GROUP} numbers"
    scales = _scales(flow, number, tile, known)
    if scales is None:
        return "its groups are not multiplied with scales of rows alone"
    operands = _operands(flow, dot, tile)
    if operands is None:
        return "an operand of its dot is computed, or lies across what is contracted"
    cut = (tile.m, tile.n)
    stores = ((place, stored(flow, store, *cut)) for place, store in enumerate(flow.stores))
    about = (flow, tile.order, tile.rows, tile.m, tile.n, tile.k)
    put = tuple((place, tiles) for place, tiles in stores if tiles is not None)
    return GemmRoles(f"roles{label}", *about, (number,), sums, operands, put, twin, scales)


def _operands(flow: Flow, dot: Dot, tile: GemmTile) -> tuple[TensorMap, TensorMap] | None:
    """The tensor maps of both operands: of rows, then of columns, which other axes may walk as well."""
    both = factors(flow, dot, tile.n)
    types = multiplied_as(flow.nodes, dot) or ()
    a, b = (loaded(flow, factor, {tile.m, tile.n, *tile.k}) for factor in both)
    if a is None or b is None or any(flow.nodes[factor].type.element not in types for factor in both):
        return None
    return (a, b) if a.axes[-1] == b.axes[-1] == dot.axes[-1] else None


def _scales(flow: Flow, number: NodeId, tile: GemmTile, known: Known) -> GroupScales | None:
    """The sum over groups of a dot, and the scales that it is multiplied with before."""
    read: dict[NodeId, list[NodeId]] = {n: [] for n in flow.live}
    for reader in flow.live:
        for operand in operands(flow.nodes[reader].expr):
            read[operand].append(reader)
    groups, node, found = without(tile.k, flow.dots[number].axes), number, list[NodeId]()
    while len(read[node]) == 1 and node not in flow.roots:
        (reader,) = read[node]
        expr = flow.nodes[reader].expr
        if isinstance(expr, Reduce) and REDUCTIONS[expr.op].adds and expr.axes == groups:
            return GroupScales(reader, tuple(found), _come_first(flow, number, found, known)) if found else None
        if not isinstance(expr, Elementwise) or not ELEMENTWISE[expr.op].multiplies or len(set(expr.args)) != 2:
            return None
        (factor,) = (arg for arg in expr.args if arg != node)
        scale = flow.nodes[factor]
        if not isinstance(scale.expr, Load) or scale.type.kind is not Kind.REAL or tile.n in scale.type.axes:
            return None
        node, found = reader, [*found, factor]
    return None


def _come_first(flow: Flow, number: NodeId, scales: list[NodeId], known: Known) -> bool:
    """Whether the scales may be multiplied with each other first: an order that the bound has where the library may.

    That is where one is of the rows of one operand, and the other of those of the other one, or of blocks of them.
    """
    dot = flow.dots[number]
    sides = [without(flow.nodes[operand].type.axes, dot.axes) for operand in (dot.a, dot.b)]
    shared: list[list[int | None]] = []
    for scale in scales:
        axes = set(flow.nodes[scale].type.axes)
        side = next((own for own in sides if axes <= set(own)), None)
        if side is None:
            return False
        sides.remove(side)
        shared.append([known_extent(axis, known.extents) for axis in side if axis not in axes])
    return sums_of(flow.nodes, dot) is not Sums.WHOLE and sorted(shared, key=len) in ([[], []], [[], [SCALED_GROUP]])
