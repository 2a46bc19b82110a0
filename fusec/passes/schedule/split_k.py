"""Split-K: a gemm whose loop is split over several programs, and the combine of what they leave.

Where a product has too few tiles to keep a chip busy, several programs share each of them: a program walks some of the
steps of the loop and leaves its sums in a workspace, and a second kernel adds them up, always in the same order, and
makes the outputs of them. Relies on a tile of one sweep, in which nothing waits for another reduction.
"""

from __future__ import annotations

from dataclasses import replace

from fusec.ir.expressions import Dot, Reduce
from fusec.ir.schedule import GemmShare, GemmTile, SplitK
from fusec.ir.stage import PartialResult
from fusec.ir.types import Axis
from fusec.passes.schedule.split_rows import (
    Workspaces,
    combination,
    final_stage,
    kept_axes,
    without_reductions,
    workspaces,
)
from fusec.passes.schedule.survey import Survey, depths, survey


def shared_sums(facts: Survey, k: tuple[Axis, ...]) -> tuple[PartialResult, ...]:
    """What programs that share a tile of a contraction leave; nothing where it takes several sweeps."""
    flow = facts.flow
    found = [n for n in flow.live if isinstance(flow.nodes[n].expr, Dot | Reduce)]
    # The product of a group is whole in its step.
    sums = [n for n in found if set(k).isdisjoint(flow.nodes[n].type.axes)]
    depth = depths(flow, k)
    if any(depth[n] > 1 for n in sums):
        return ()
    # A tile is written as it stands in registers: where its parts lay next to each other, no two elements would.
    # One kernel of two steps has one name for what it leaves, if they write the same.
    written = "".join(f"_{target}" for target in dict.fromkeys(store.target for store in flow.stores))
    names = workspaces(flow, sums, written)
    return tuple(PartialResult(names[n], combination(flow, n), n, kept_axes(facts, n), apart=True) for n in sums)


def split_k(facts: Survey, tile: GemmTile, combine: str) -> SplitK:
    """What a program that shares a tile computes of it, which has `sums`, and the `combine` of these."""
    left = Workspaces({partial.value: partial.workspace for partial in tile.sums}, apart=True, as_product=True)
    cut, moved = without_reductions(facts, left, tuple(left.names), ())
    partials = tuple(replace(partial, value=moved[partial.value]) for partial in tile.sums)
    share = GemmShare(tile.kernel, cut, tile.order, tile.rows, tile.m, tile.n, tile.k, tile, partials)
    last = final_stage(facts, replace(left, done=frozenset(left.names)), combine)
    return SplitK(share, replace(last, order=survey(last.flow).order))
