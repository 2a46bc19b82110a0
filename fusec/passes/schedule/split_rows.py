"""Split rows: the schedule that splits each long row over several programs.

Every long reduction gets a stage of its own (those at the same depth over the same axes share one) that leaves partial
results in a workspace; later stages combine them, always in the same order. The last one stores the outputs. Only this
schedule has no limit on any extent.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from math import prod

from fusec.ir.bottom_up import BottomUp
from fusec.ir.builder import Builder
from fusec.ir.expressions import Dot, FlowExpr, NodeId, Partial, Reduce, operands, with_lookups, with_operands
from fusec.ir.fixed_extents import known_extent
from fusec.ir.flow import Flow, Store, store_inputs
from fusec.ir.graph import reachable
from fusec.ir.nouns import nouns, reduction_noun
from fusec.ir.ops import ELEMENTWISE, REDUCTIONS
from fusec.ir.schedule import Combine, Combined, Elementwise, PartialRows, Rows, SplitRows
from fusec.ir.stage import PartialResult
from fusec.ir.types import Axis, Kind, ValueType, union, without
from fusec.passes.schedule.survey import Survey, depths, survey


@dataclass(frozen=True, slots=True)
class Workspaces:
    """Where the partial results of each long reduction go, and which are `done` before a stage starts.

    Those of one result lie next to each other, or `apart`, and are then read `as_product` or by lanes.
    """

    names: dict[NodeId, str]
    done: frozenset[NodeId] = field(default=frozenset())
    apart: bool = False
    as_product: bool = False


SMALL = 1024
"""A reduction over axes known to hold at most this many positions stays inside of whatever kernel needs it."""


def split_rows(facts: Survey, rows: tuple[Axis, ...], known: dict[str, int], label: str) -> SplitRows:
    """The schedule of such rows. `label` sets the names of its kernels apart from those of other groups."""
    flow = facts.flow
    long = [n for n in flow.live if _is_long(flow, n, known)]
    depth = depths(flow, union(*(_reduce(flow, n).axes for n in long)))
    names = workspaces(flow, long, label)
    stages: list[PartialRows] = []
    for sweep in sorted({depth[n] for n in long}):
        done = frozenset(n for n in long if depth[n] < sweep)
        now = [n for n in long if depth[n] == sweep]
        shapes = dict.fromkeys((_reduce(flow, n).axes, frozenset(flow.nodes[n].type.axes)) for n in now)
        for axes, kept in shapes:
            members = [n for n in now if (_reduce(flow, n).axes, frozenset(flow.nodes[n].type.axes)) == (axes, kept)]
            stages.append(_partial_stage(facts, members, Workspaces(names, done)))
    return SplitRows(rows, tuple(stages), final_stage(facts, Workspaces(names, frozenset(long)), f"combine{label}"))


def workspaces(flow: Flow, long: list[NodeId], label: str) -> dict[NodeId, str]:
    """The workspace for the partial results of every long reduction, named by what that is."""
    found, counts = dict[NodeId, str](), Counter[str]()
    for number in long:
        expr = flow.nodes[number].expr
        assert isinstance(expr, Dot | Reduce)
        word = reduction_noun(flow.nodes, expr)
        counts[word] += 1
        found[number] = f"partial_{word}{f'_{counts[word]}' if counts[word] > 1 else ''}{label}"
    return found


def combination(flow: Flow, number: NodeId) -> str:
    """The operation that combines the partial results of a reduction or a dot."""
    return "sum" if isinstance(flow.nodes[number].expr, Dot) else _reduce(flow, number).op


def _reduce(flow: Flow, number: NodeId) -> Reduce:
    expr = flow.nodes[number].expr
    assert isinstance(expr, Reduce)
    return expr


def _is_long(flow: Flow, number: NodeId, known: dict[str, int]) -> bool:
    expr = flow.nodes[number].expr
    if not isinstance(expr, Reduce):
        return False
    sizes = [known_extent(axis, known) for axis in expr.axes]
    return None in sizes or prod(size for size in sizes if size is not None) > SMALL


def _partial_stage(facts: Survey, members: list[NodeId], left: Workspaces) -> PartialRows:
    flow = facts.flow
    axes = _reduce(flow, members[0]).axes
    cut, moved = without_reductions(facts, left, tuple(members), ())
    kept = kept_axes(facts, members[0])
    partials = tuple(PartialResult(left.names[n], _reduce(flow, n).op, moved[n], kept) for n in members)
    inner = inner_axes(cut, tuple(_reduce(cut, partial.value).arg for partial in partials))
    loop = tuple(axis for axis in facts.order if axis in axes and axis not in inner)
    # An axis that some other reduction needs whole is in registers, also where the result keeps it.
    across = without(kept, inner)
    block = facts.order[-1] if facts.order[-1] in across else None
    rows = without(across, (block,)) if block else across
    tile = tuple(axis for axis in facts.order if axis in inner)
    return PartialRows(left.names[members[0]], cut, facts.order, rows, tile, block, loop, partials)


def kept_axes(facts: Survey, number: NodeId) -> tuple[Axis, ...]:
    """The axes of a result, in memory order."""
    return tuple(axis for axis in facts.order if axis in facts.flow.nodes[number].type.axes)


def final_stage(facts: Survey, left: Workspaces, kernel: str, stores: tuple[Store, ...] | None = None) -> Combined:
    """The stage that makes these stores, or all of the outputs, where all long reductions are done."""
    stores = facts.flow.stores if stores is None else stores
    roots = tuple(number for store in stores for number in store_inputs(store))
    cut, _ = without_reductions(facts, left, roots, stores)
    rest, last = survey(cut), facts.order[-1]
    partials = [expr for n in cut.live if isinstance(expr := cut.nodes[n].expr, Partial)]
    if rest.reduced:
        block = last if last in rest.kept else None
        rows = without(rest.kept, (block,)) if block else rest.kept
        return (Combine if partials else Rows)(kernel, cut, facts.order, rows, rest.inner, block)
    rows, block = rest.order[:-1], rest.order[-1] if rest.order else None
    if all(partial.as_product for partial in partials):
        return Elementwise(kernel, cut, facts.order, rows, block)
    return Combine(kernel, cut, facts.order, rows, block=block)


def inner_axes(flow: Flow, roots: tuple[NodeId, ...]) -> tuple[Axis, ...]:
    """The axes that reductions left inside of a stage need whole."""
    found = (flow.nodes[n].expr for n in reachable(flow.nodes, roots))
    return union(*(expr.axes for expr in found if isinstance(expr, Reduce)))


def without_reductions(
    facts: Survey, left: Workspaces, roots: tuple[NodeId, ...], stores: tuple[Store, ...]
) -> tuple[Flow, dict[NodeId, NodeId]]:
    """The flow below `roots` with the reductions `done` read from workspaces, and where each node went."""
    flow, words = facts.flow, nouns(facts.flow)
    builder: Builder[FlowExpr] = Builder()
    moved: dict[NodeId, NodeId] = {}

    def needs(number: NodeId) -> tuple[NodeId, ...]:
        return () if number in left.done else operands(flow.nodes[number].expr)

    def move_one(number: NodeId) -> NodeId:
        node = flow.nodes[number]
        expr: FlowExpr
        if number in left.done:
            axes = kept_axes(facts, number)
            name, op = left.names[number], combination(flow, number)
            # The sums of one split lie as a product does.
            adds = ELEMENTWISE[REDUCTIONS[op].combine].is_sum
            whole = left.as_product and adds and node.type.kind is Kind.REAL
            expr = Partial(name, op, axes, left.apart, words[number], whole)
        else:
            expr = with_operands(node.expr, tuple(map(move, operands(node.expr))))
        moved[number] = builder.add(expr, ValueType(node.type.element, node.type.axes), node.name, node.span)
        return moved[number]

    move = BottomUp(needs, move_one)
    for root in roots:
        move(root)
    new_stores = tuple(
        replace(
            store,
            positions=with_lookups(store.positions, tuple(move(n) for n in store_inputs(store)[1:])),
            value=move(store.value),
        )
        for store in stores
    )
    return Flow(builder.nodes, new_stores), moved
