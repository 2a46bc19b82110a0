"""Rows with column sums: how many programs take rows in turn, how many rows at once, how many loads are under way.

The figures, 32 elements of a row for each thread, 8 warps for each SM and the loads of three steps under way, come from
a look by hand at the gradient of a norm. What they reach is in `benchmarks/results/h200-2026-11-30-columns.json`, whose
short rows (128 and 1024 columns) were taken one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

from fusec.ir.host.names import block_name
from fusec.ir.host.schedules import ColumnSums
from fusec.runtime.launch import Launch
from fusec.runtime.select.call import Call
from fusec.runtime.select.chip import WARP
from fusec.runtime.select.rows import elementwise, launch_options
from fusec.runtime.select.rule import Rule
from fusec.runtime.select.sizes import cdiv, padded, power_within


def column_sums_fit(plan: ColumnSums, call: Call) -> bool:
    """Whether registers hold a row, and what is summed over the rows."""
    words = plan.words + plan.words_per_byte * call.itemsize(plan.bytes)
    return _width(plan, call) * words <= call.chip.live_words


def column_sums(plan: ColumnSums, call: Call) -> list[Launch]:
    chip, last, width = call.chip, plan.loop.split()[-1], _width(plan, call)
    high = min(padded(call.size(last)), max(chip.chunk // width, 1), chip.rows_at_once)
    warps = min(max(high * width // (WARP * chip.thread_elements), 1), chip.program_warps)
    across = call.count(plan.rows)
    if plan.block:
        blocks = cdiv(call.count(plan.block), _wide(plan, call))
        across *= max(blocks, 1) if plan.at_least_one else blocks
    steps = call.count(" ".join(plan.loop.split()[:-1])) * cdiv(call.size(last), high)
    programs = chip.column_warps * chip.sms // (warps * max(across, 1))
    splits = min(power_within(programs), padded(steps), chip.most_splits)
    step = max(high * width * plan.inputs * call.itemsize(plan.bytes), 1)
    # Programs that share an SM share its memory.
    stages = max(1, min(chip.stages, chip.smem // (max(chip.column_warps // warps, 1) * step)))
    call.allocate(plan.sums, splits, plan.integers)
    sizes = call.tile_blocks(plan.tile) | {block_name(last): high, "SPLITS": splits, "STAGES": stages}
    if plan.block:
        sizes[block_name(plan.block)] = _wide(plan, call)
    launches = call.launch(plan.kernel, across * splits, launch_options(chip, warps), sizes)
    return [*launches, *elementwise(plan.combine, call, splits)]


def _width(plan: ColumnSums, call: Call) -> int:
    """Elements of one position of a tile."""
    return call.padded(plan.tile) * (_wide(plan, call) if plan.block else 1)


def _wide(plan: ColumnSums, call: Call) -> int:
    return min(padded(call.count(plan.block)), call.chip.column_block)


RULES: Mapping[type, Rule] = {ColumnSums: Rule(column_sums_fit, column_sums_fit, column_sums)}
