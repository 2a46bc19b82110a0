"""Unpacked operands: tiles where a matrix is read in fewer bits than it is multiplied in, as weights of 4 and 8 bits.

Its tiles are made in registers, from where the tensor core takes the rows of what it multiplies: the matrix always has
the rows of a tile, and the tokens its columns. Figures of an H200 are in
benchmarks/results/h200-2026-11-30-weight_only_tiles.json.
"""

from __future__ import annotations

from fusec.ir.host.names import block_name
from fusec.ir.host.schedules import RowLoop
from fusec.runtime.invariant import counted
from fusec.runtime.launch import Launch
from fusec.runtime.select import rows
from fusec.runtime.select.call import Call
from fusec.runtime.select.chip import MMA, Chip
from fusec.runtime.select.sizes import cdiv, padded
from fusec.runtime.select.tiles import Contraction, GemmTile, RowTile


def unpacked_tile(contraction: Contraction, chip: Chip, is_first: bool, each: int, outer: int) -> GemmTile:
    """The tile of a gemm one of whose operands is unpacked: that with the rows of the output, if it `is_first`.

    Each position of what is contracted has `each` elements, and there are so many for all positions of `outer` axes.
    """
    c = contraction
    m, n = counted(c.m), counted(c.n)
    matrix, tokens = (m, n) if is_first else (n, m)
    few = tokens <= chip.unpacked_columns
    wide = min(max(padded(tokens), MMA), chip.unpacked_columns if few else chip.gemm_block)
    high = min(max(padded(matrix), MMA), chip.unpacked_rows)
    block_k = max(min(padded(c.k), min(chip.unpacked_step, chip.skinny_block_k) // each), c.least_k)
    programs, splits = c.batches * cdiv(matrix, high) * cdiv(tokens, wide), 1
    wanted = max(chip.unpacked_programs // (1 if wide <= chip.skinny else 2), chip.few_tiles)
    while programs * splits < wanted and splits < min(chip.most_split_k, outer * cdiv(c.k, 2 * block_k)):
        splits *= 2
    stages = 4 if few else 3
    options = tuple({"num_warps": count, "num_stages": ahead} for count, ahead in ((4, stages), (8, 3), (8, 2)))
    sides = (high, wide) if is_first else (wide, high)
    return GemmTile(*sides, block_k, options, splits)


def narrow_rows(plan: RowLoop, call: Call) -> list[Launch]:
    """Several rows of a matrix to a program, multiplied by one vector by threads: some bytes of each at a time.

    Fewer where the matrix has not as many for every SM; with few programs for each, these take more at a time.
    """
    chip, wide, size = call.chip, call.padded(plan.tile), call.size(plan.loop)
    most, step, thread, stages = chip.vector_rows, chip.vector_step, chip.vector_thread, 1
    if plan.tile:
        most, step, thread = chip.vector_group_rows, chip.vector_group_step, chip.vector_group_thread
        stages = chip.vector_group_stages
    count = call.count(plan.block)
    high = min(padded(count), most)
    while high > chip.vector_rows and cdiv(count, high) < chip.sms:
        high //= 2
    if plan.tile and cdiv(count, high) < chip.vector_group_programs * chip.sms:
        step *= 2
    chunk = min(padded(size), max(step // (high * wide), 1))
    warps = rows.warps(chip, high * wide * chunk, thread=thread)
    options = tuple({**each, "num_stages": stages} for each in rows.launch_options(chip, warps))
    taken = call.chosen(narrow_rows.__name__, {"row": padded(size)}, RowTile(options, rows=high, block=chunk))
    blocks = {**call.tile_blocks(plan.tile), block_name(plan.block): taken.rows, block_name(plan.loop): taken.block}
    blocks |= {**rows.loop_steps(size, taken.block), "HELD": 0, "VECTOR": 0, "EVICT": "evict_first"}
    if plan.tile:
        blocks["STAGES"] = taken.options[0]["num_stages"]
    programs = call.count(plan.rows) * cdiv(count, taken.rows)
    return call.launch(plan.kernel, programs, taken.options, blocks)
