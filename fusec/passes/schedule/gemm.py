"""Gemm: the schedules whose kernels multiply tiles on tensor cores, swap-AB among them.

A program computes a tile of the output, `m` by `n`, and walks the contracted axes in a loop: dots and reductions over
them gather in accumulators, and what is made of those is stored behind the loop. Every other axis is a row.
Relies on dots that all contract the same axes and have one operand with each of the two axes of the tile. Sums over
other axes of what is made of dots, as where every group of what is contracted has a scale of its own, walk these as
well: a step then has one group, whose product is made whole before it is scaled and added.

Swap-AB: tensor cores multiply tiles of many rows by as few as 8 or 16 columns. Where there are only a few positions of
the outer axis, as many as tokens in a step of decoding, the two axes are swapped: the inner one, along which a weight
is read, makes the rows of the tile and the few positions its columns.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from fusec.ir.expressions import Dot, NodeId, Reduce, position_axes
from fusec.ir.flow import LEAD_AXES, Flow, FlowNode, store_axes
from fusec.ir.graph import reachable
from fusec.ir.multiply import multiplied_as
from fusec.ir.ops import REDUCTIONS
from fusec.ir.schedule import Gemm, GemmTile
from fusec.ir.types import Axis, Kind, union, without
from fusec.passes.schedule.split_k import shared_sums, split_k
from fusec.passes.schedule.survey import Survey


def contractions(facts: Survey, label: str) -> tuple[Gemm, ...] | str:
    """The plans in order of preference, the last of which takes all extents, or why there is none.

    All of them launch one kernel.
    """
    # Operands may have more axes than the output, and then come first in the order of memory.
    stored = union(*(position_axes(store.positions) for store in facts.majors))
    facts = replace(facts, order=union(tuple(axis for axis in stored if axis in facts.order), facts.order))
    nodes, dots = facts.flow.nodes, facts.flow.dots
    if not dots:
        return "its dots are over axes that views take apart to the last position"
    contracted = set(next(iter(dots.values())).axes)
    if any(set(dot.axes) != contracted for dot in dots.values()):
        return "its dots contract different axes"
    groups = grouped(facts.flow)
    if groups is None:
        return "something reduces other axes than the dots contract"
    if groups and len(contracted) > 1:
        return "a group has several axes"
    if any(n in dots for dot in dots.values() for n in reachable(nodes, (dot.a, dot.b))):
        return "a dot waits for another one"
    if any(not _is_multiplied(facts, dot) for dot in dots.values()):
        return "the tensor core has no such product"
    walked = contracted | set(groups)
    if any(walked & set(store_axes(facts.flow, store)) for store in facts.flow.stores):
        return "an output has an axis that the dots contract"
    found = _tile(facts, dots, walked)
    if found is None:
        return "no axis of each operand is left of the output"
    m, n = found
    if any(not {m, n} <= set(store_axes(facts.flow, store)) for store in facts.flow.stores):
        return "an output lacks an axis of the tile"
    k = (*(axis for axis in facts.order if axis in groups), *(axis for axis in facts.order if axis in contracted))
    rows = without(facts.order, (*k, m, n))
    is_whole = any(nodes[number].type.kind is Kind.INT for number in dots)
    is_plain = bool(groups) and not any(map(partial(_is_unpacked, nodes), dots.values()))
    sums = () if is_whole or is_plain else shared_sums(facts, k)
    tile = GemmTile(f"gemm{label}", facts.flow, (*rows, m, *k, n), rows, m, n, k, sums)
    if is_plain:
        return (Gemm(tile),)
    few = (m, *_read_again(facts, dots, tile))
    # What threads add up, where a step has no room for a group, has a kernel of the plain name.
    combine = f"{'combine_shares' if groups else 'combine'}{label}"
    shared = (Gemm(tile, few, split_k(facts, tile, combine)),) if sums else ()
    return (*shared, Gemm(tile, few), Gemm(tile))


def _is_unpacked(nodes: tuple[FlowNode, ...], dot: Dot) -> bool:
    """Whether an operand is read in another type than it is multiplied in."""
    types = multiplied_as(nodes, dot) or ()
    return any(nodes[number].type.element not in types for number in (dot.a, dot.b))


def grouped(flow: Flow) -> tuple[Axis, ...] | None:
    """The axes along which what is made of dots is summed up, () where nothing is; None where that is no such sum.

    Other reductions are over what the dots contract.
    """
    nodes, live, dots = flow.nodes, flow.live, flow.dots
    reductions = [(n, expr) for n in live if isinstance(expr := nodes[n].expr, Reduce)]
    behind = [expr for _, expr in reductions if not reachable(nodes, (expr.arg,)).isdisjoint(dots)]
    contracted = {axis for dot in dots.values() for axis in dot.axes}
    if not behind:
        return () if all(set(expr.axes) == contracted for _, expr in reductions) else None
    axes = behind[0].axes
    alike = all(REDUCTIONS[expr.op].adds and set(expr.axes) == set(axes) for _, expr in reductions)
    inside = all(set(axes) <= set(nodes[n].type.axes) for n in dots)
    return axes if alike and inside and len(behind) == len(reductions) and not contracted & set(axes) else None


def _read_again(facts: Survey, dots: dict[NodeId, Dot], tile: GemmTile) -> tuple[Axis, ...]:
    """The rows that the matrix of some dot lacks: every position of them reads it once more."""
    operands = (facts.flow.nodes[n].type.axes for dot in dots.values() for n in (dot.a, dot.b))
    matrices = [axes for axes in operands if tile.n in axes]
    return tuple(axis for axis in tile.rows if any(axis not in axes for axes in matrices))


def _tile(facts: Survey, dots: dict[NodeId, Dot], contracted: set[Axis]) -> tuple[Axis, Axis] | None:
    """m and n: the innermost axis that one operand of every dot has, and that of the output, which the other has."""
    nodes = facts.flow.nodes
    kept = [axis for axis in facts.order if axis not in contracted]
    if not kept:
        return None
    n = kept[-1]
    found = [
        m for m in kept if all(_are_apart(nodes[d.a].type.axes, nodes[d.b].type.axes, m, n) for d in dots.values())
    ]
    if found and found[-1] == LEAD_AXES[1] and LEAD_AXES[0] in found:
        # Leading axes that lie evenly in memory are all in the outer one of the two that they are walked by.
        found.pop()
    return (found[-1], n) if found else None


def _are_apart(a: tuple[Axis, ...], b: tuple[Axis, ...], m: Axis, n: Axis) -> bool:
    """Whether one operand has the one axis and not the other, and the other operand the reverse."""
    return {(m in a, n in a), (m in b, n in b)} == {(True, False), (False, True)}


def _is_multiplied(facts: Survey, dot: Dot) -> bool:
    """Whether the tensor core takes the operands of a dot, whatever types the caller chooses."""
    return multiplied_as(facts.flow.nodes, dot) is not None
