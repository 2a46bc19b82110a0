"""Groups: which stores of a step are computed together, and the schedules of each from its axes and reductions alone.

Before: a flow. After: groups of stores, each with the schedules that could win for some extents, in order of
preference. Relies on resolved views: every axis is an iteration axis, every access affine or looked up.
"""

from __future__ import annotations

from dataclasses import replace

from fusec.ir.expressions import Dot, Load, NodeId, Reduce, lookups
from fusec.ir.flow import Flow, Store, store_axes, store_inputs
from fusec.ir.graph import reachable
from fusec.ir.schedule import ColumnSums, Gemm, Group, Resident, RowLoop, Schedule, Tile
from fusec.ir.types import Axis, Kind
from fusec.passes.schedule.column_sums import column_sums
from fusec.passes.schedule.elementwise import elementwise, one_tile
from fusec.passes.schedule.gemm import contractions, grouped
from fusec.passes.schedule.gemm_roles import gemm_roles
from fusec.passes.schedule.gemm_scaled import gemm_scaled
from fusec.passes.schedule.gemm_tma import gemm_tma
from fusec.passes.schedule.gemv import expand_dots, gemv
from fusec.passes.schedule.group_roles import group_roles
from fusec.passes.schedule.known import Known
from fusec.passes.schedule.rows import rows
from fusec.passes.schedule.survey import Survey, survey
from fusec.passes.schedule.unguarded import unguarded


def groups(flow: Flow, known: Known, label: str = "", fresh: frozenset[str] = frozenset()) -> tuple[Group, ...]:
    """The groups of an op, or of a step of one that reads the tensors `fresh`, which are in the cache.

    Names of kernels end in `label`.
    """
    sets = _connected(flow, fresh)
    labels = [label] if len(sets) == 1 else _labels(sets, label)
    return tuple(_group(Flow(flow.nodes, s), known, label) for s, label in zip(sets, labels, strict=True))


def contraction(flow: Flow, known: Known, label: str, vectors: bool) -> Group | str:
    """The group of a contraction whose dots multiply what is stored, or why it has no tiles.

    The last plan takes every call; before it are those for a few rows, and one where TMA can load the operands. If
    asked for, some for vectors come first.
    """
    facts = survey(flow)
    if len({frozenset(store_axes(flow, store)) for store in facts.majors}) > 1:
        return "its outputs have different axes"
    products = contractions(facts, label)
    if isinstance(products, str):
        return products
    *few, whole = products
    tma = gemm_tma(facts, label)
    roles = group_roles(whole, label, known) if isinstance(tma, str) else gemm_roles(tma, label)
    sums = _vectors(facts, replace(known, matrices=frozenset()), label, products) if vectors else ()
    scaled = gemm_scaled(facts, known, label)
    plans = (*sums, *few, *(plan for plan in (roles, tma, scaled) if not isinstance(plan, str)), whole)
    return _guarded(flow, (*plans, *_long_sums(facts, known, label)), (), known, label)


def _labels(sets: list[tuple[Store, ...]], before: str = "") -> list[str]:
    """A suffix for the kernels of each set of stores: its outputs, counted where sets share them."""
    names = [before + "".join(f"_{target}" for target in dict.fromkeys(store.target for store in s)) for s in sets]
    return [name if names.count(name) == 1 else f"{name}_{place}" for place, name in enumerate(names)]


def _group(flow: Flow, known: Known, label: str, alone: bool = False) -> Group:
    """The group of a flow. What is left `alone` where some rows are empty has none to take in turn."""
    plans, apart = _plans(survey(flow), known, label, alone)
    kept = (plan for plan in plans if not (alone and isinstance(plan, ColumnSums)))
    return _guarded(flow, tuple(kept), apart, known, label)


def _guarded(flow: Flow, plans: tuple[Schedule, ...], apart: tuple[Group, ...], known: Known, label: str) -> Group:
    """The group of these plans, and of what none of their programs stores where an axis is empty."""
    outputs = tuple(dict.fromkeys(store.target for store in flow.stores))
    stores, absent = unguarded(plans, flow, known.extents)
    alone = _apart(Flow(flow.nodes, stores), known, f"{label}_alone", alone=True) if stores else None
    return Group(outputs, plans, apart, absent, alone)


def _plans(facts: Survey, known: Known, label: str, alone: bool) -> tuple[tuple[Schedule, ...], tuple[Group, ...]]:
    """The plans of a group, and the groups to fall back to when none of them fits."""
    flow = facts.flow
    if len({frozenset(store_axes(flow, store)) for store in facts.majors}) > 1:
        sets = _by_major(facts)
        labels = _labels(sets, label)
        apart = tuple(_apart(Flow(flow.nodes, s), known, name, alone) for s, name in zip(sets, labels, strict=True))
        tile = () if flow.dots else one_tile(facts, label)
        return (*tile, *column_sums(facts, label)), apart
    if flow.dots:
        return _multiplying_plans(facts, known, label), ()
    return rows(facts, known, label) if facts.reduced else elementwise(facts, label), ()


def _apart(flow: Flow, known: Known, label: str, alone: bool) -> Group:
    """What a joint launch falls back to when its tile is too large: one plan for short rows, one without limits."""
    group = _group(flow, known, label, alone)
    if group.apart:
        return group
    others, last = group.plans[:-1], group.plans[-1:]
    kept = (plan for plan in others if not isinstance(plan, Resident | RowLoop | Tile))
    return replace(group, plans=(*kept, *last))


def _multiplying_plans(facts: Survey, known: Known, label: str) -> tuple[Schedule, ...]:
    """Tiles on tensor cores; for a vector, and where there are no tiles, sums of products in rows."""
    products = contractions(facts, label)
    if isinstance(products, str):
        return rows(survey(expand_dots(facts.flow)), Known(known.extents), label)
    return (*_vectors(facts, known, label, products), *products, *_long_sums(facts, known, label))


def _vectors(facts: Survey, known: Known, label: str, products: tuple[Gemm, ...]) -> tuple[Schedule, ...]:
    """The plans for a single vector, where the tensor core has some for a few rows."""
    return gemv(facts, known, label, products[0].few) if products[0].few else ()


def _long_sums(facts: Survey, known: Known, label: str) -> tuple[Schedule, ...]:
    """The plans for what a tensor core has no room for: threads add up long sums of integers, and long groups.

    A loop takes all calls where it has no tile beside it, as in `long_rows.py`; else rows are split.
    """
    whole = any(facts.flow.nodes[number].type.kind is Kind.INT for number in facts.flow.dots)
    if not whole and not grouped(facts.flow):
        return ()
    *others, last = rows(survey(expand_dots(facts.flow)), Known(known.extents), label)
    loops = tuple(plan for plan in others if isinstance(plan, RowLoop))
    return loops if loops and not loops[-1].tile else (*loops, last)


def _connected(flow: Flow, fresh: frozenset[str]) -> list[tuple[Store, ...]]:
    """Stores in sets that share a load or a reduction, or read parts of the same `fresh` tensor."""
    sets: list[tuple[set[NodeId | str], list[Store]]] = []
    for store in flow.stores:
        reach = reachable(flow.nodes, store_inputs(store))
        mine: set[NodeId | str] = {n for n in reach if isinstance(flow.nodes[n].expr, Load | Reduce | Dot)}
        loads = (expr for n in reach if isinstance(expr := flow.nodes[n].expr, Load))
        mine |= fresh.intersection(load.param for load in loads)
        touching = [entry for entry in sets if entry[0] & mine or any(s.target == store.target for s in entry[1])]
        merged = (mine.union(*(entry[0] for entry in touching)), [s for e in touching for s in e[1]] + [store])
        sets = [entry for entry in sets if entry not in touching] + [merged]
    return [part for _, stores in sets for part in _alike(flow, tuple(stores))]


def _alike(flow: Flow, stores: tuple[Store, ...]) -> list[tuple[Store, ...]]:
    """Stores of one set, by their axes if one of them adds to places that it looks up.

    It reads what is there, which a program that lacks the store would do while another one writes it.
    """
    if not any(_adds(flow, store) for store in stores):
        return [stores]
    axes = {store: frozenset(store_axes(flow, store)) for store in stores}
    return [tuple(store for store in stores if axes[store] == each) for each in dict.fromkeys(axes.values())]


def _adds(flow: Flow, store: Store) -> bool:
    """Whether a store changes what lies at places that several writers look up."""
    exprs = (flow.nodes[number].expr for number in reachable(flow.nodes, store_inputs(store)))
    reads = any(isinstance(expr, Load) and expr.param == store.target for expr in exprs)
    return reads and not store.once and bool(lookups(store.positions))


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
