"""Groups: which stores of a step are computed together, and the schedules of each from its axes and reductions alone.

Before: a flow. After: groups of stores, each with the schedules that could win for some extents, in order of
preference. Relies on resolved views: every axis is an iteration axis, every access affine or looked up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from fusec.ir.expressions import Dot, NodeId, Reduce
from fusec.ir.fixed_extents import known_extent
from fusec.ir.flow import (
    LEAD_AXES,
    Flow,
    Load,
    Store,
    flow_reachable,
    position_axes,
    store_axes,
    store_inputs,
)
from fusec.ir.schedule import (
    SHORT_ROW,
    ColumnSums,
    Elementwise,
    Gemv,
    Group,
    Resident,
    RowLoop,
    Rows,
    Schedule,
    SplitRows,
    Tile,
)
from fusec.ir.stage import Stage
from fusec.ir.types import Axis, without
from fusec.passes.schedule.column_sums import column_sums
from fusec.passes.schedule.gemm import contractions, persistent
from fusec.passes.schedule.gemv import expand_dots
from fusec.passes.schedule.split_rows import split_stages
from fusec.passes.schedule.survey import Survey, live, survey
from fusec.passes.schedule.unguarded import stranded


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an op: the extents that constraints fix, the axes of the `matrices` it multiplies.

    An op that is `wide` computes in f64, which tensor cores do not.
    """

    extents: dict[str, int]
    matrices: frozenset[Axis] = frozenset()
    wide: bool = False


def place(flow: Flow, known: Known, label: str = "", fresh: frozenset[str] = frozenset()) -> tuple[Group, ...]:
    """The groups of an op, or of a step of one that reads the tensors `fresh`, which are in the cache.

    Names of kernels end in `label`.
    """
    sets = _connected(flow, fresh)
    labels = [label] if len(sets) == 1 else _labels(sets, label)
    return tuple(_group(Flow(flow.nodes, s), known, label) for s, label in zip(sets, labels, strict=True))


def place_dots(flow: Flow, known: Known, label: str, vectors: bool) -> Group | str:
    """The group of a contraction whose dots multiply what is stored, or why TMA cannot load it.

    It has a plan that does, others for a few rows, and if asked for some for vectors.
    """
    facts = survey(flow)
    if len({frozenset(store_axes(flow, store)) for store in facts.majors}) > 1:
        return "its outputs have different axes"
    boxed = persistent(facts, label)
    if isinstance(boxed, str):
        return boxed
    others = contractions(facts, label)
    assert not isinstance(others, str)
    few = tuple(plan for plan in others if plan.few)
    sums = _vector_plans(facts, replace(known, matrices=frozenset()), label, others[0].few) if vectors else ()
    return Group(tuple(dict.fromkeys(store.target for store in flow.stores)), (*sums, *few, boxed))


def _labels(sets: list[tuple[Store, ...]], before: str = "") -> list[str]:
    """A suffix for the kernels of each set of stores: its outputs, counted where sets share them."""
    names = [before + "".join(f"_{target}" for target in dict.fromkeys(store.target for store in s)) for s in sets]
    return [name if names.count(name) == 1 else f"{name}_{place}" for place, name in enumerate(names)]


def _group(flow: Flow, known: Known, label: str) -> Group:
    facts = survey(flow)
    outputs = tuple(dict.fromkeys(store.target for store in flow.stores))
    plans, apart = _plans(facts, known, label)
    stores, absent = stranded(plans, flow)
    alone = _alone(Flow(flow.nodes, stores), known, f"{label}_alone") if stores else None
    return Group(outputs, plans, apart, absent, alone)


def _plans(facts: Survey, known: Known, label: str) -> tuple[tuple[Schedule, ...], tuple[Group, ...]]:
    """The plans of a group, and the groups to fall back to when none of them fits."""
    flow = facts.flow
    if len({frozenset(store_axes(flow, store)) for store in facts.majors}) > 1:
        sets = _by_major(facts)
        labels = _labels(sets, label)
        apart = tuple(_apart(Flow(flow.nodes, s), known, name) for s, name in zip(sets, labels, strict=True))
        rows = () if _multiplies(facts) else _common_rows(facts)
        return (*((_joint(facts, rows, label),) if rows else ()), *_column_plans(facts, label)), apart
    if _multiplies(facts):
        return _multiplying_plans(facts, known, label), ()
    return _reducing_plans(facts, known, label) if facts.reduced else _elementwise_plans(facts, label), ()


def _apart(flow: Flow, known: Known, label: str) -> Group:
    """What a joint launch falls back to when its tile is too large: one plan for short rows, one without limits."""
    group = _group(flow, known, label)
    if group.apart:
        return group
    others, last = group.plans[:-1], group.plans[-1:]
    kept = (plan for plan in others if not isinstance(plan, Resident | RowLoop | Tile))
    return replace(group, plans=(*kept, *last))


def _alone(flow: Flow, known: Known, label: str) -> Group:
    """What is left where some rows are empty: there are none to take in turn."""
    group = _apart(flow, known, label)
    return replace(group, plans=tuple(plan for plan in group.plans if not isinstance(plan, ColumnSums)))


def _common_rows(facts: Survey) -> tuple[Axis, ...]:
    """The outermost axes that all major stores begin with and no reduction removes."""
    rows: list[Axis] = []
    for axes in zip(*(position_axes(store.positions) for store in facts.majors), strict=False):
        if len(set(axes)) > 1 or axes[0] in facts.reduced:
            break
        rows.append(axes[0])
    return tuple(rows)


def _joint(facts: Survey, rows: tuple[Axis, ...], label: str) -> Tile:
    return Tile(Stage(f"tile{label}", facts.flow, facts.order, rows, tile=without(facts.order, rows)))


def _reducing_plans(facts: Survey, known: Known, label: str) -> tuple[Schedule, ...]:
    flow, order, inner = facts.flow, facts.order, facts.inner
    rows, block = _rows_and_block(facts)
    sizes = [known_extent(axis, known.extents) for axis in inner]
    length = prod(size for size in sizes if size is not None) if None not in sizes else None
    plans: list[Schedule] = []
    if rows or block:
        plans.append(Rows(Stage(f"rows{label}", flow, order, rows, lanes=bool(rows), block=block, tile=inner)))
    if length is not None and length <= SHORT_ROW and plans:
        return tuple(plans)
    if block is None:
        plans.append(Resident(Stage(f"resident{label}", flow, order, rows, tile=inner)))
    plans += _column_plans(facts, label)
    outer = next(axis for axis in inner if axis in facts.reduced)
    rest = without(inner, (outer,))
    if rows or block:
        plans.append(RowLoop(Stage(f"row_loop{label}", flow, order, rows, block=block, tile=rest, stream=(outer,))))
        if not rest and outer in known.matrices:
            return tuple(plans)
    *partials, combine = split_stages(facts, known.extents, label)
    return (*plans, SplitRows(rows, tuple(partials), combine))


def _column_plans(facts: Survey, label: str) -> tuple[ColumnSums, ...]:
    """A program to several rows, one after another, where reductions go over all rows as well."""
    stages = column_sums(facts, label)
    return (ColumnSums(*stages),) if stages else ()


def _multiplies(facts: Survey) -> bool:
    return any(isinstance(node.expr, Dot) for node in live(facts.flow))


def _multiplying_plans(facts: Survey, known: Known, label: str) -> tuple[Schedule, ...]:
    """Tiles on tensor cores; for a vector, and where there are no tiles, sums of products in rows."""
    products = contractions(facts, label)
    if isinstance(products, str):
        return _reducing_plans(survey(expand_dots(facts.flow)), Known(known.extents), label)
    return (*_vector_plans(facts, known, label, products[0].few), *products)


def _vector_plans(facts: Survey, known: Known, label: str, few: tuple[Axis, ...]) -> tuple[Gemv, ...]:
    """Sums of products in rows, none of which has to take every call."""
    plans = _reducing_plans(survey(expand_dots(facts.flow)), known, label)
    vectors = (Gemv(plan, few) for plan in plans if isinstance(plan, Resident | RowLoop))
    return tuple(Gemv(type(v.of)(replace(v.of.stage, name=f"{v.name}{label}")), few) for v in vectors)


def _elementwise_plans(facts: Survey, label: str) -> tuple[Schedule, ...]:
    flow, order = facts.flow, facts.order
    reused = _reused_tail(facts)
    tile = (Tile(Stage(f"tile{label}", flow, order, without(order, reused), tile=reused)),) if reused else ()
    rows, block = order[:-1], order[-1] if order else None
    return (*tile, Elementwise(Stage(f"elementwise{label}", flow, order, rows, lanes=bool(rows), block=block)))


def _rows_and_block(facts: Survey) -> tuple[tuple[Axis, ...], Axis | None]:
    """Rows of a reducing stage, and the innermost axis as a block when it is not reduced (coalesced access)."""
    last = facts.order[-1]
    if last in facts.kept:
        return without(facts.kept, (last,)), last
    return facts.kept, None


def _reused_tail(facts: Survey) -> tuple[Axis, ...]:
    """The innermost axes down from those that some load of the innermost axis lacks: kept together, it is read once."""
    loads = [node.type.axes for node in live(facts.flow) if isinstance(node.expr, Load)]
    wide = [axes for axes in loads if facts.order and facts.order[-1] in axes]
    tail: list[Axis] = []
    for axis in reversed(facts.order):
        lacking = any(axis not in axes for axes in wide)
        if axis != facts.order[-1] and not lacking:
            break
        tail.insert(0, axis)
    rows = facts.order[: len(facts.order) - len(tail)]
    bounded = not set(tail) & set(LEAD_AXES)
    return tuple(tail) if len(tail) > 1 and rows and bounded else ()


def _connected(flow: Flow, fresh: frozenset[str]) -> list[tuple[Store, ...]]:
    """Stores in sets that share a load or a reduction, or read parts of the same `fresh` tensor."""
    sets: list[tuple[set[NodeId | str], list[Store]]] = []
    for store in flow.stores:
        reach = flow_reachable(flow.nodes, store_inputs(store))
        mine: set[NodeId | str] = {n for n in reach if isinstance(flow.nodes[n].expr, Load | Reduce | Dot)}
        loads = (expr for n in reach if isinstance(expr := flow.nodes[n].expr, Load))
        mine |= fresh.intersection(load.param for load in loads)
        touching = [entry for entry in sets if entry[0] & mine or any(s.target == store.target for s in entry[1])]
        merged = (mine.union(*(entry[0] for entry in touching)), [s for e in touching for s in e[1]] + [store])
        sets = [entry for entry in sets if entry not in touching] + [merged]
    return [tuple(stores) for _, stores in sets]


def _by_major(facts: Survey) -> list[tuple[Store, ...]]:
    """The stores apart: those with the same axes together, a minor one with the first major that has its axes."""
    sets: dict[frozenset[Axis], list[Store]] = {}
    for store in facts.majors:
        sets.setdefault(frozenset(store_axes(facts.flow, store)), []).append(store)
    for store in facts.flow.stores:
        if store not in facts.majors:
            axes = set(store_axes(facts.flow, store))
            sets[next(key for key in sets if axes <= key)].append(store)
    return [tuple(stores) for stores in sets.values()]
