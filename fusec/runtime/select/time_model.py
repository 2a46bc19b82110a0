"""The time model: how many microseconds launches take on a chip, from sizes and tiles alone.

A launch takes what its programs need one wave after another, the tensor core, TMA and the cache of an SM each at its
rate, and at least what memory needs for all bytes. Rules ask it where they compare plans, the tuner to order what it
tries, `fusec explain` to tell. Figures are those of the chip; docs/time-model.md says how far it is off.
"""

from __future__ import annotations

import math

from fusec.runtime.select.chip import WARP, Chip
from fusec.runtime.select.sizes import cdiv
from fusec.runtime.select.tiles import Contraction, GemmTile, Wave

# Persistent gemms


def waves_us(contraction: Contraction, waves: tuple[Wave, ...], chip: Chip) -> float:
    """The launches of a persistent gemm."""
    busy = chip.start_us + chip.launch_us * len(waves)
    busy += sum(cdiv(wave.end - wave.begin, chip.sms) * _tile_us(contraction, wave, chip) for wave in waves)
    return max(busy, contraction.matrices / chip.hbm_bytes_per_us + chip.launch_us)


def _tile_us(contraction: Contraction, wave: Wave, chip: Chip) -> float:
    """One tile of an SM."""
    width = wave.block_n * contraction.parts
    multiplying = wave.block_m * width * contraction.k / chip.sm_mma_per_us
    rate = chip.sm_bytes_per_us if wave.down == 1 else chip.sm_bytes_per_us_by_two
    moving = 2 * (wave.block_m + width) * contraction.k / rate
    # Neither of the two hides all of the other where they take about as long.
    both = math.sqrt(math.hypot(multiplying**2, moving**2)) + chip.tile_us
    return both + (chip.epilogue_us if contraction.crowded else 0)


# The library


def library_us(contraction: Contraction, chip: Chip) -> float:
    """The library's products of 16-bit operands, one for each dot."""
    c = contraction
    multiplying = c.dots * c.batches * c.m * c.n * c.k / chip.library_mma_per_us
    return max(multiplying, c.matrices / chip.hbm_bytes_per_us) + c.dots * chip.launch_us


def outputs_us(contraction: Contraction, chip: Chip) -> float:
    """The kernel behind the library's products: it reads them in f32, and writes 16-bit outputs."""
    c = contraction
    return (8 * c.dots + 2) * c.batches * c.m * c.n / chip.hbm_bytes_per_us + chip.tile_us


# Gemms


def gemm_us(contraction: Contraction, tile: GemmTile, chip: Chip, skinny: bool = False) -> float | None:
    """A gemm in tiles with their first options; None where one does not fit an SM. Dots share columns of skinny tiles.

    A step of one tile takes what its products need, its operands from the cache, or the wait for them.
    """
    c, (options, *_) = contraction, tile.options
    warps, stages = options["num_warps"], options["num_stages"]
    rows, columns = tile.block_m, tile.block_n
    if skinny:
        rows *= c.dots
    else:
        columns *= c.dots * c.halves
    loaded = (rows + columns) * tile.block_k * c.itemsize
    shared, held = loaded * stages, rows * columns / (WARP * warps)
    if shared > chip.smem or held > chip.accumulator_words:
        return None
    programs = c.tiles(tile.block_m, tile.block_n) * tile.splits
    threads = WARP * warps
    room = min(chip.smem // shared, int(chip.registers // (threads * (held + chip.other_words))), chip.warps // warps)
    together = max(1, min(room, cdiv(programs, chip.sms)))
    # Tiles of fewer rows and columns than the tensor core of a warp group takes are multiplied by its elder sister.
    rate = chip.tensor_core * (1 if max(rows, tile.block_n) >= 2 * WARP else 0.5) * 2 / c.itemsize
    multiplied, moved = together * rows * columns * tile.block_k / rate, together * loaded / chip.traffic
    ahead = stages - 1
    step = chip.turn_us / ahead + max(multiplied, moved, chip.wait_us / ahead)
    steps = cdiv(cdiv(c.k, tile.block_k), tile.splits)
    return cdiv(programs, chip.sms * together) * (steps * step + chip.program_us)
