"""Contract: the plans of kernels that multiply tiles in the matrix unit.

A program computes a tile of the output, `side` by `block`, and walks the contracted axes in a loop: dots and reductions
over them gather in accumulators, and what is made of those is stored behind the loop. Every other axis is a row.
Relies on dots that all contract the same axes and have one operand with each of the two axes of the tile. Sums over
other axes of what is made of dots, as where every group of what is contracted has a scale of its own, walk these as
well: a step then has one group, whose product is made whole before it is scaled and added.

The matrix unit multiplies tiles of many rows by as few as 8 or 16 columns. Where there are only a few positions of the
outer axis, as many as tokens in a step of decoding, the two axes are swapped: the inner one, along which a weight is
read, makes the rows of the tile and the few positions its columns.
"""

from __future__ import annotations

from dataclasses import replace

from fusec.ir.expressions import Dot, NodeId, Reduce
from fusec.ir.flow import LEAD_AXES, Flow, flow_reachable, store_axes
from fusec.ir.multiply import multiplied_as
from fusec.ir.ops import REDUCTIONS
from fusec.ir.schedule import Gemm, GemmTma
from fusec.ir.stage import Stage
from fusec.ir.types import Axis, Kind, without
from fusec.passes.schedule.gemm_tma import tensor_maps
from fusec.passes.schedule.split_k import deal_out, shared_sums
from fusec.passes.schedule.survey import Survey


def contractions(facts: Survey, label: str) -> tuple[Gemm, ...] | str:
    """The plans in order of preference, the last of which takes all extents, or why there is none.

    All of them launch one kernel.
    """
    nodes, live = facts.flow.nodes, facts.flow.live
    dots = {n: expr for n in live if isinstance(expr := nodes[n].expr, Dot)}
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
    if any(n in dots for dot in dots.values() for n in flow_reachable(nodes, (dot.a, dot.b))):
        return "a dot waits for another one"
    if any(not _is_multiplied(facts, dot) for dot in dots.values()):
        return "the matrix unit has no such product"
    walked = contracted | set(groups)
    if any(walked & set(store_axes(facts.flow, store)) for store in facts.flow.stores):
        return "an output has an axis that the dots contract"
    found = _tile(facts, dots, walked)
    if found is None:
        return "no axis of each operand is left of the output"
    side, block = found
    if any(not {side, block} <= set(store_axes(facts.flow, store)) for store in facts.flow.stores):
        return "an output lacks an axis of the tile"
    stream = tuple(axis for axis in facts.order if axis in groups)
    stream = (*stream, *(axis for axis in facts.order if axis in contracted))
    name = f"gemm{label}"
    if groups:
        return (Gemm(_product(facts, name, side, block, stream)),)
    product, swapped = _product(facts, name, side, block, stream), _product(facts, name, block, side, stream)
    whole = any(nodes[number].type.kind is Kind.INT for number in dots)
    sums = () if whole else shared_sums(facts, product)
    product, swapped = replace(product, sums=sums), replace(swapped, sums=sums, swap_ab=True)
    few = (side, *_read_again(facts, dots, product))
    if not sums:
        return Gemm(swapped, few), Gemm(product)
    share, combine = deal_out(facts, swapped, label)
    return Gemm(share, few, combine), Gemm(swapped, few), Gemm(product)


def grouped(flow: Flow) -> tuple[Axis, ...] | None:
    """The axes along which what is made of dots is summed up, () where nothing is; None where that is no such sum.

    Other reductions are over what the dots contract.
    """
    nodes, live = flow.nodes, flow.live
    dots = {n: expr for n in live if isinstance(expr := nodes[n].expr, Dot)}
    reductions = [(n, expr) for n in live if isinstance(expr := nodes[n].expr, Reduce)]
    behind = [expr for _, expr in reductions if not flow_reachable(nodes, (expr.arg,)).isdisjoint(dots)]
    contracted = {axis for dot in dots.values() for axis in dot.axes}
    if not behind:
        return () if all(set(expr.axes) == contracted for _, expr in reductions) else None
    axes = behind[0].axes
    alike = all(REDUCTIONS[expr.op].adds and set(expr.axes) == set(axes) for _, expr in reductions)
    inside = all(set(axes) <= set(nodes[n].type.axes) for n in dots)
    return axes if alike and inside and len(behind) == len(reductions) and not contracted & set(axes) else None


def _read_again(facts: Survey, dots: dict[NodeId, Dot], stage: Stage) -> tuple[Axis, ...]:
    """The rows that the matrix of some dot lacks: every position of them reads it once more."""
    operands = (facts.flow.nodes[n].type.axes for dot in dots.values() for n in (dot.a, dot.b))
    matrices = [axes for axes in operands if stage.block in axes]
    return tuple(axis for axis in stage.rows if any(axis not in axes for axes in matrices))


def _product(facts: Survey, name: str, side: Axis, block: Axis, stream: tuple[Axis, ...]) -> Stage:
    rows = without(facts.order, (*stream, side, block))
    return Stage(name, facts.flow, (*rows, side, *stream, block), rows, block=block, side=side, stream=stream)


def gemm_tma(facts: Survey, label: str) -> GemmTma | str:
    """The schedule whose operands TMA loads, or why there is none."""
    found = contractions(facts, label)
    if isinstance(found, str):
        return found
    stage = found[-1].stage
    side, block = stage.side, stage.block
    assert side is not None
    assert block is not None
    if len(stage.stream) > 1:
        return "it contracts several axes"
    if any(isinstance(facts.flow.nodes[n].expr, Reduce) for n in facts.flow.live):
        return "something is reduced beside the dots"
    moved = tensor_maps(facts, side, block)
    if isinstance(moved, str):
        return moved
    return GemmTma(replace(stage, name=f"tma{label}", maps=moved))


def _tile(facts: Survey, dots: dict[NodeId, Dot], contracted: set[Axis]) -> tuple[Axis, Axis] | None:
    """The innermost axis of the output and the innermost one that the other operand of every dot has."""
    nodes = facts.flow.nodes
    kept = [axis for axis in facts.order if axis not in contracted]
    if not kept:
        return None
    block = kept[-1]
    sides = [
        axis
        for axis in kept
        if all(_are_apart(nodes[d.a].type.axes, nodes[d.b].type.axes, axis, block) for d in dots.values())
    ]
    if sides and sides[-1] == LEAD_AXES[1] and LEAD_AXES[0] in sides:
        # Leading axes that lie evenly in memory are all in the outer one of the two that they are walked by.
        sides.pop()
    return (sides[-1], block) if sides else None


def _are_apart(a: tuple[Axis, ...], b: tuple[Axis, ...], side: Axis, block: Axis) -> bool:
    """Whether one operand has the one axis and not the other, and the other operand the reverse."""
    return {(side in a, block in a), (side in b, block in b)} == {(True, False), (False, True)}


def _is_multiplied(facts: Survey, dot: Dot) -> bool:
    """Whether the matrix unit takes the operands of a dot, whatever types the caller chooses."""
    nodes = facts.flow.nodes
    return nodes[dot.a].type.kind is nodes[dot.b].type.kind and multiplied_as(nodes, dot) is not None
