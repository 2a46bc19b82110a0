"""Deal: the stages of a contraction whose loop is dealt out to several programs.

Where a product has too few tiles to keep a chip busy, several programs share each of them: a program walks some of the
steps of the loop and leaves its sums in scratch, and a second kernel adds them up, always in the same order, and makes
the outputs of them. Relies on a stage of one sweep, in which nothing waits for another reduction.
"""

from __future__ import annotations

from dataclasses import replace

from fusec.ir.expressions import Dot, Reduce
from fusec.ir.stage import PartialResult, Stage
from fusec.passes.schedule.split_rows import Scratch, buffers, combination, final_stage, kept_axes, without_reductions
from fusec.passes.schedule.survey import Survey, depths, survey


def shared_sums(facts: Survey, stage: Stage) -> tuple[PartialResult, ...]:
    """What programs that share a tile of a contraction leave; nothing where it takes several sweeps."""
    flow = facts.flow
    sums = [n for n in flow.live if isinstance(flow.nodes[n].expr, Dot | Reduce)]
    depth = depths(flow, stage.stream)
    if any(depth[n] > 1 for n in sums):
        return ()
    # A tile is written as it stands in registers: where its parts lay next to each other, no two elements would.
    # One kernel of two steps has one name for what it leaves, if they write the same.
    written = "".join(f"_{target}" for target in dict.fromkeys(store.target for store in flow.stores))
    names = buffers(sums, written)
    return tuple(PartialResult(names[n], combination(flow, n), n, kept_axes(facts, n), apart=True) for n in sums)


def deal_out(facts: Survey, stage: Stage, label: str) -> tuple[Stage, Stage]:
    """The contraction `stage`, which has `sums`, in two: the launch of its kernel that leaves these, and a combine."""
    scratch = Scratch({partial.value: partial.scratch for partial in stage.sums}, apart=True, as_product=True)
    cut, moved = without_reductions(facts, scratch, tuple(scratch.names), ())
    partials = tuple(replace(partial, value=moved[partial.value]) for partial in stage.sums)
    dealt = replace(stage, flow=cut, split=True, partials=partials, sums=(), within=stage)
    combine = final_stage(facts, replace(scratch, done=frozenset(scratch.names)), f"combine{label}")
    return dealt, replace(combine, order=survey(combine.flow).order)
