"""What a stage tells of its launches: registers for an element, partial results, what a contraction reads and adds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fusec.ir import schedule as ir
from fusec.ir.expressions import (
    GIVEN,
    OMITTED,
    Affine,
    Choose,
    Dot,
    Elementwise,
    Index,
    Load,
    NodeId,
    Partial,
    Position,
    Size,
    operands,
)
from fusec.ir.flow import LEAD_AXES, Flow, FlowNode, store_axes, store_inputs
from fusec.ir.graph import reachable
from fusec.ir.multiply import MOST_I8, multiplied_as
from fusec.ir.sizes import symbols_in
from fusec.ir.stage import Stage
from fusec.ir.types import Axis, DType, Kind, extent
from fusec.passes.schedule.registers import at_most, residency, widest


def most(stage: Stage) -> int:
    """How many products the sums of a contraction have room for; 0 if for any number."""
    return MOST_I8 if any(stage.flow.nodes[n].type.kind is Kind.INT for n in stage.dots) else 0


def unpacked(stage: Stage, tile: ir.GemmTile) -> Axis | None:
    """The axis of a tile whose operands are read in fewer bits than they are multiplied in, and made in registers.

    A stage that makes a share of the tile has a flow of its own, with other numbers of nodes.
    """
    flow = stage.flow
    for axis in (tile.n, tile.m):
        found = [(dot, n) for dot in stage.dots.values() for n in (dot.a, dot.b) if axis in flow.nodes[n].type.axes]
        if found and all(_is_unpacked(flow, dot, n) for dot, n in found):
            return axis
    return None


def _is_unpacked(flow: Flow, dot: Dot, operand: NodeId) -> bool:
    """Whether an operand is read in fewer bits than it is multiplied in."""
    types, node = multiplied_as(flow.nodes, dot), flow.nodes[operand]
    if types is None or node.type.element in types:
        return False
    below = (flow.nodes[number] for number in reachable(flow.nodes, (operand,)))
    read = [one.type.element for one in below if isinstance(one.expr, Load) and set(dot.axes) <= set(one.type.axes)]
    bits = [widest(element) for element in read]
    return bool(bits) and (node.type.kind is Kind.INT or max(bits) < widest(types[operand != dot.a]))


def joined(plan: ir.Gemm) -> tuple[Axis, ...]:
    """The axes of a few rows that may be walked as one where they lie evenly, if there are several.

    Nothing but where elements lie may depend on them: no index, no extent. What has one of them has all, side by side.
    """
    axes = tuple(axis for axis in plan.tile.order if axis in plan.few)
    if len(axes) < 2 or not set(axes).isdisjoint(LEAD_AXES) or any(_is_told(stage, axes) for stage in plan.stages):
        return ()
    return axes


def _is_told(stage: Stage, axes: tuple[Axis, ...]) -> bool:
    """Whether a stage has an index along some axes, or an extent of them, other than to walk them side by side."""
    flow, nodes = stage.flow, [stage.flow.nodes[number] for number in stage.live]
    if any(isinstance(node.expr, Index) and node.expr.axis in axes for node in nodes):
        return True
    if not all(extent(axis).is_Symbol for axis in axes):
        return True
    names = {extent(axis).name for axis in axes}
    others = {axis for node in nodes for axis in node.type.axes} - {*axes}
    sizes = [node.expr.value for node in nodes if isinstance(node.expr, Size)]
    accesses = [node.expr.positions for node in nodes if isinstance(node.expr, Load)]
    accesses += [store.positions for store in flow.stores]
    affine = [at for positions in accesses for at in positions if isinstance(at, Affine)]
    walked = [at for at in affine if set(at.axes) & set(axes)]
    plain = all(len(at.terms) == 1 and at.terms[0][1] == 1 and at.offset == 0 for at in walked)
    sizes += [extent(axis) for axis in others if axis not in LEAD_AXES]
    sizes += [part for at in affine for part in (at.offset, *(factor for _, factor in at.terms))]
    together = all(_are_together(positions, axes) for positions in accesses)
    return not plain or not together or not names.isdisjoint(symbols_in(sizes))


def _are_together(positions: Sequence[Position], axes: tuple[Axis, ...]) -> bool:
    """Whether an access has none of some axes, or all of them in their order and side by side."""
    walked = [place.axes if isinstance(place, Affine) else () for place in positions]
    found = [at for at, each in enumerate(walked) if set(each) & set(axes)]
    return not found or [(at, walked[at]) for at in found] == [(found[0] + n, (axis,)) for n, axis in enumerate(axes)]


def integers(stage: Stage) -> str:
    """The workspaces for partial results that are integers."""
    return " ".join(p.workspace for p in stage.partials if stage.flow.nodes[p.value].type.kind is Kind.INT)


def at_least_one(stage: Stage) -> str:
    """What of the grid there is at least one of, though a call may have none."""
    return " ".join([*(["rows"] if stage.lacks_rows else []), *(["block"] if stage.lacks_block else [])])


def unless(stage: Stage, later: Iterable[Stage]) -> str:
    """The optional tensor which, where it is given, leaves none of the partial results of a stage to be read."""
    left = {partial.workspace for partial in stage.partials}
    stages = tuple(later)
    chosen = (node.expr for each in stages for node in each.flow.nodes if isinstance(node.expr, Choose))
    given = {choose.selector for choose in chosen if OMITTED in dict(choose.cases)}
    return next((name for name in sorted(given) if not any(left & _read_where_given(s, name) for s in stages)), "")


def _read_where_given(stage: Stage, selector: str) -> set[str]:
    """The workspaces that a stage reads, for its own partial results and what it stores, where `selector` is given."""
    flow = stage.flow
    stack = [number for store in flow.stores for number in store_inputs(store)]
    stack += [partial.value for partial in stage.partials]
    seen: set[NodeId] = set()
    while stack:
        number = stack.pop()
        expr = flow.nodes[number].expr
        if number not in seen:
            seen.add(number)
            chosen = isinstance(expr, Choose) and expr.selector == selector
            stack += [dict(expr.cases)[GIVEN]] if isinstance(expr, Choose) and chosen else operands(expr)
    return {expr.workspace for number in seen if isinstance(expr := flow.nodes[number].expr, Partial)}


def combines_block(stage: Stage) -> bool:
    """Whether every element of a block is combined of partial results of its own."""
    return any(isinstance(node.expr, Partial) and stage.block in node.expr.axes for node in stage.flow.nodes)


def combines_rows(stage: Stage) -> bool:
    """Whether each row is combined of partial results of its own."""
    partials = (node.expr for node in stage.flow.nodes if isinstance(node.expr, Partial))
    return any(axis in stage.rows for partial in partials for axis in partial.axes)


def words(stage: Stage) -> float:
    """The most words that a stage holds for each element of its tiles."""
    return _short(residency(stage, widest).words)


def words_in_row(stage: Stage, parts: int) -> tuple[float, float]:
    """The same for each element of a row that comes in `parts`: some in any case, others for each byte of an input."""
    half, full = (residency(stage, at_most(bits)).words / parts for bits in (16, 32))
    if half == full:
        return _short(half), 0.0
    return _short(2 * half - full), _short((full - half) / 2)


def _short(value: float) -> float:
    """A figure in as many digits as it is written with."""
    return float(f"{value:g}")


def stores_bytes(stage: Stage) -> bool:
    """Whether the outputs that have most axes are of 8 bits."""
    stores = [(len(store_axes(stage.flow, store)), store.element) for store in stage.flow.stores]
    full = max((axes for axes, _ in stores), default=0)
    return all(isinstance(e, DType) and e.bits == 8 for axes, e in stores if axes == full)


def reads_beside(stage: Stage, tile: ir.GemmStage) -> int:
    """How many tiles as large as the output are read behind the products of a stage, or made there of integers.

    These may be of 64 bits.
    """
    cut = {tile.m, tile.n}
    nodes = (stage.flow.nodes[n] for n in stage.live)
    found = (node for node in nodes if isinstance(node.expr, Load) or _is_of_integers(node))
    return sum(cut <= set(node.type.axes) for node in found)


def _is_of_integers(node: FlowNode) -> bool:
    return isinstance(node.expr, Elementwise) and node.type.kind is Kind.INT


def matrix_of(plan: ir.Gemv) -> tuple[Axis, ...]:
    """The axes of a matrix that a gemv reads."""
    flows = [stage.flow for stage in plan.stages]
    kept = {axis for flow in flows for store in flow.stores for axis in store_axes(flow, store)}
    nodes = [stage.flow.nodes[number] for stage in plan.stages for number in stage.live]
    read = {node.expr.param: node.type.axes for node in nodes if isinstance(node.expr, Load)}
    long = [axes for axes in read.values() if set(axes) - kept]
    matrices = [axes for axes in long if set(axes) & kept - set(plan.few)]
    return matrices[0] if matrices else ()
