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
from fusec.passes.schedule.survey import Survey, depths


def deal_out(facts: Survey, stage: Stage, label: str) -> tuple[Stage, Stage] | None:
    """The contraction `stage` in two, or None where it takes several sweeps."""
    flow = facts.flow
    sums = [n for n in flow.live if isinstance(flow.nodes[n].expr, Dot | Reduce)]
    depth = depths(flow, stage.stream)
    if any(depth[n] > 1 for n in sums):
        return None
    # A tile is written as it stands in registers: where its parts lay next to each other, no two elements would.
    scratch = Scratch(buffers(sums, label), apart=True)
    cut, moved = without_reductions(facts, scratch, tuple(sums), ())
    partials = tuple(
        PartialResult(scratch.names[n], combination(flow, n), moved[n], kept_axes(facts, n), apart=True) for n in sums
    )
    dealt = replace(stage, name=f"split_k{label}", flow=cut, split=True, partials=partials)
    return dealt, final_stage(facts, replace(scratch, done=frozenset(sums)), f"combine{label}")
