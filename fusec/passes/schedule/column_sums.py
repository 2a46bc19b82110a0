"""Rows with column sums: results of each row and reductions over all rows, in one pass over memory.

Persistent programs take rows in turn. Of each they make and store what belongs to it, and keep in registers what they
have of the reductions over all rows, which goes to a workspace at the end; a combine adds that up in fixed order and
makes what depends on it. Gradients of norms are such, and statistics of normalised rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fusec.ir.expressions import Dot, NodeId, Reduce, operands
from fusec.ir.flow import Flow, Store, store_axes, store_inputs
from fusec.ir.graph import reachable
from fusec.ir.schedule import ColumnSums
from fusec.ir.stage import PartialResult
from fusec.ir.types import Axis, without
from fusec.passes.schedule.split_rows import (
    Workspaces,
    combination,
    final_stage,
    inner_axes,
    kept_axes,
    without_reductions,
    workspaces,
)
from fusec.passes.schedule.survey import Survey, depths, survey


def column_sums(facts: Survey, label: str) -> tuple[ColumnSums, ...]:
    """The schedule of a flow whose outermost axes are rows with column sums, if there are such axes."""
    found = (_parts(facts, facts.order[:count]) for count in reversed(range(1, len(facts.order))))
    parts = next((parts for parts in found if parts is not None), None)
    return () if parts is None else (_schedule(facts, parts, label),)


@dataclass(frozen=True, slots=True)
class _Parts:
    """A flow in two: the axes of its rows, the reductions over them, the stores of each row, and those behind."""

    rows: tuple[Axis, ...]
    sums: tuple[NodeId, ...]
    each: tuple[Store, ...]
    behind: tuple[Store, ...]


def _parts(facts: Survey, rows: tuple[Axis, ...]) -> _Parts | None:
    """The parts if these axes are rows: each value has all of them, or can wait until all rows are there.

    Where nothing belongs to a row but the sums of its elements, columns are better off apart. So are reductions behind
    the rows over what these do not walk, which one program would make, and results behind them along different axes:
    of a grid of both most programs would store nothing.
    """
    flow, outer = facts.flow, set(rows)
    depth = depths(flow, rows)
    sums = []
    for number in flow.live:
        node = flow.nodes[number]
        if isinstance(node.expr, Dot) or (depth[number] and outer & set(node.type.axes)):
            return None
        if isinstance(node.expr, Reduce) and outer & set(node.expr.axes):
            if depth[number] > 1 or not outer <= set(node.expr.axes):
                return None
            sums.append(number)
    stores = [(store, outer & set(store_axes(flow, store))) for store in flow.stores]
    each = tuple(store for store, has in stores if has)
    waits = any(depth[number] for store in each for number in store_inputs(store))
    if not sums or waits or any(has and has != outer for _, has in stores):
        return None
    made = _made(facts, tuple(sums), each)
    reduces = {n: expr for n in flow.live if isinstance(expr := flow.nodes[n].expr, Reduce)}
    walked = _walked(facts, tuple(sums), each)
    if any(not walked.issuperset(expr.axes) for n, expr in reduces.items() if n not in made):
        return None
    behind = tuple(store for store, has in stores if not has)
    majors = survey(Flow(flow.nodes, behind)).majors
    inner = any(not depth[n] for n in made & reduces.keys())
    if not (each or inner) or len({frozenset(store_axes(flow, store)) for store in majors}) > 1:
        return None
    return _Parts(rows, tuple(sums), each, behind)


def _made(facts: Survey, sums: tuple[NodeId, ...], each: tuple[Store, ...]) -> frozenset[NodeId]:
    """What the rows compute."""
    return reachable(facts.flow.nodes, (*sums, *(number for store in each for number in store_inputs(store))))


def _walked(facts: Survey, sums: tuple[NodeId, ...], each: tuple[Store, ...]) -> set[Axis]:
    """The axes of what the rows compute and store."""
    flow = facts.flow
    axes = {axis for number in _made(facts, sums, each) for axis in flow.nodes[number].type.axes}
    return axes.union(*(store_axes(flow, store) for store in each))


def _schedule(facts: Survey, parts: _Parts, label: str) -> ColumnSums:
    flow, last = facts.flow, facts.order[-1]
    # A line of sums is written as it stands in registers.
    left = Workspaces(workspaces(flow, list(parts.sums), label), apart=True)
    cut, moved = without_reductions(facts, left, parts.sums, parts.each)
    partials = tuple(
        PartialResult(left.names[n], combination(flow, n), moved[n], kept_axes(facts, n), apart=True)
        for n in parts.sums
    )
    roots = tuple(n for partial in partials for n in operands(cut.nodes[partial.value].expr))
    inner = without(inner_axes(cut, (*roots, *cut.roots)), parts.rows)
    summed = [axis for n in parts.sums if isinstance(expr := flow.nodes[n].expr, Reduce) for axis in expr.axes]
    tile = tuple(axis for axis in facts.order if axis in (*inner, *summed) and axis not in parts.rows)
    walked = _walked(facts, parts.sums, parts.each)
    across = tuple(axis for axis in facts.order if axis in walked and axis not in (*parts.rows, *tile))
    block = last if last in across else None
    rows = without(across, (block,)) if block else across
    done = replace(left, done=frozenset(parts.sums))
    return ColumnSums(
        f"column_sums{label}",
        cut,
        facts.order,
        rows,
        combine=final_stage(facts, done, f"column_sums_combine{label}", parts.behind),
        tile=tile,
        block=block,
        loop=parts.rows,
        partials=partials,
    )
