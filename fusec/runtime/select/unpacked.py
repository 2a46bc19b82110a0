"""Unpacked operands: tiles where a matrix is read in fewer bits than it is multiplied in, as weights of 4 and 8 bits.

Its tiles are made in registers, from where the tensor core takes the rows of what it multiplies: the matrix always has
the rows of a tile, and the tokens its columns. Figures of an H200 are in
docs/design-notes.md, "Low precision": 512 tokens by 8192 by 8192 of 4 bits took 142 us in tiles of 64 rows, of which an
SM has two programs, and 167 in tiles of 128, whose one program unpacks and multiplies in turn.
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
    high = chip.unpacked_rows
    # Larger tiles read tokens less often. Bytes are unpacked in so few instructions that this counts.
    if each == 1 and not few and counted(c.batches) * cdiv(matrix, 2 * high) * cdiv(tokens, wide) >= chip.sms:
        high *= 2
    high = min(max(padded(matrix), MMA), high)
    block_k = max(min(padded(c.k), min(chip.unpacked_step, chip.skinny_block_k) // each), c.least_k)
    programs, splits = c.batches * cdiv(matrix, high) * cdiv(tokens, wide), 1
    wanted = max(chip.unpacked_programs // (1 if wide <= chip.skinny else 2), chip.few_tiles)
    while programs * splits < wanted and splits < min(chip.most_split_k, outer * cdiv(c.k, 2 * block_k)):
        splits *= 2
    warps = 8 if high > chip.unpacked_rows else 4
    stages = 4 if few else 3
    options = tuple({"num_warps": count, "num_stages": ahead} for count, ahead in ((warps, stages), (8, 3), (8, 2)))
    sides = (high, wide) if is_first else (wide, high)
    return GemmTile(*sides, block_k, options, splits)


def narrow_rows(plan: RowLoop, call: Call) -> list[Launch]:
    """Several rows of a matrix to a program, multiplied by one vector by threads: some bytes of each at a time.

    Half as many where that makes two programs for every SM, and fewer yet where it would not have one.
    """
    chip, wide, size = call.chip, call.padded(plan.tile), call.size(plan.loop)
    most, step, thread, stages = chip.vector_rows, chip.vector_step, chip.vector_thread, 1
    if plan.tile:
        most, step, thread = chip.vector_group_rows, chip.vector_group_step, chip.vector_group_thread
        stages = chip.vector_group_stages
    count = call.count(plan.block)
    high = min(padded(count), most)
    wanted = chip.vector_group_programs if plan.tile else 1
    while high > chip.vector_rows and cdiv(count, high) < wanted * chip.sms:
        high, wanted = high // 2, 1
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
