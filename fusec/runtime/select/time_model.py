"""The time model: how many microseconds launches take on a chip, from sizes and tiles alone.

A launch takes what its programs need one wave after another, the tensor core, the way from the cache and the wait for a
load each at its rate, and at least what memory needs for all bytes. Rules ask it where they compare plans, the tuner to
order what it tries, `fusec explain` to tell. All figures are the chip's; docs/time-model.md says how far it is off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fusec.runtime.select.chip import WARP, Chip
from fusec.runtime.select.sizes import cdiv
from fusec.runtime.select.tiles import Contraction, GemmTile, Wave


@dataclass(frozen=True, slots=True)
class Time:
    """Microseconds that a launch takes once it runs, and what it waits for: the `bound`, the longest of all terms."""

    us: float
    bound: str


def _longest(terms: Mapping[str, float], us: float | None = None) -> Time:
    bound = max(terms, key=terms.__getitem__)
    return Time(terms[bound] if us is None else us, bound)


def least_us(unique: int, flops: int, itemsize: int, tf32: bool, chip: Chip) -> float:
    """The roofline: all bytes once at the rate of a copy, or all operations at that of their dtype."""
    rate = chip.tf32_flops if tf32 else dict(chip.flops)[itemsize]
    return max(unique / chip.copy_bytes_per_us, flops / rate)


# Rows


def rows_time(programs: int, warps: int, moved: int, unique: int, chip: Chip) -> Time:
    """A kernel whose threads move so many bytes, `unique` ones to and from memory, and multiply little."""
    return _longest(
        {
            "memory": unique / chip.copy_bytes_per_us,
            "cache": moved / (chip.sms * chip.sm_bytes_per_us),
            "latency": moved / max(programs * warps * WARP, 1) / chip.thread_bytes_per_us,
        }
    )


# Persistent gemms


def waves_us(contraction: Contraction, waves: tuple[Wave, ...], chip: Chip) -> float:
    """A persistent gemm with its launches."""
    busy = chip.start_us + chip.launch_us * len(waves)
    busy += sum(_wave_us(contraction, wave, chip) for wave in waves)
    return max(busy, contraction.matrices / chip.hbm_bytes_per_us + chip.launch_us)


def wave_time(contraction: Contraction, wave: Wave, unique: int, chip: Chip) -> Time:
    """One launch of a persistent gemm that moves so many `unique` bytes to and from memory."""
    multiplying, moving = _tile_terms(contraction, wave, chip)
    busy = chip.start_us + _wave_us(contraction, wave, chip)
    steps = cdiv(contraction.k, wave.block_k) * cdiv(wave.end - wave.begin, chip.sms)
    terms = {
        "tensor core" if multiplying >= moving else "cache": busy,
        "memory": unique / chip.hbm_bytes_per_us,
        "latency": chip.start_us + steps * chip.wait_us / _ahead(wave.options[0]),
    }
    return _longest(terms)


def _wave_us(contraction: Contraction, wave: Wave, chip: Chip) -> float:
    multiplying, moving = _tile_terms(contraction, wave, chip)
    # Neither of the two hides all of the other where they take about as long.
    tile = math.sqrt(math.hypot(multiplying**2, moving**2)) + chip.tile_us
    return cdiv(wave.end - wave.begin, chip.sms) * (tile + (chip.epilogue_us if contraction.crowded else 0))


def _tile_terms(contraction: Contraction, wave: Wave, chip: Chip) -> tuple[float, float]:
    """How long an SM multiplies one tile, and how long TMA moves its operands."""
    width = wave.block_n * contraction.parts
    rate = chip.sm_bytes_per_us if wave.down == 1 else chip.sm_bytes_per_us_by_two
    itemsize = contraction.itemsize
    # Sums in parts leave the tensor core idle while they are added.
    share = chip.parts_share if contraction.in_parts else chip.integers_share if contraction.integers else 1
    core = chip.sm_mma_per_us * 2 / itemsize * share
    multiplying = wave.block_m * width * contraction.k / core
    return multiplying, itemsize * (wave.block_m + width) * contraction.k / rate


def _ahead(options: Mapping[str, int]) -> int:
    """The loads that are under way while a step is multiplied."""
    return max(options.get("num_stages", 1) - 1, 1)


# The library


def product_time(multiplications: int, unique: int, chip: Chip, in_8_bits: bool = False) -> Time:
    """One product by the library. It multiplies twice as many operands of 8 bits."""
    rate = chip.library_mma_per_us * (2 if in_8_bits else 1)
    return _longest({"tensor core": multiplications / rate, "memory": unique / chip.hbm_bytes_per_us})


def library_us(contraction: Contraction, chip: Chip) -> float:
    """The library's products of operands of 16 or 8 bits, one for each dot, with their launches."""
    c = contraction
    work = c.dots * c.batches * c.m * c.n * c.k
    return product_time(work, c.matrices, chip, c.itemsize == 1).us + c.dots * chip.launch_us


def outputs_us(contraction: Contraction, chip: Chip) -> float:
    """The kernel behind the library's products: it reads them in f32, and writes 16-bit outputs."""
    c = contraction
    return (8 * c.dots + 2) * c.batches * c.m * c.n / chip.hbm_bytes_per_us + chip.tile_us


# Gemms


def gemm_time(contraction: Contraction, tile: GemmTile, chip: Chip, skinny: bool = False) -> Time | None:
    """A gemm in tiles with their first options; None where one does not fit an SM. Dots share columns of skinny tiles.

    A step of one tile takes what its products need, its operands on their way into the SM, or the wait for them.
    """
    c, (options, *_) = contraction, tile.options
    warps = options["num_warps"]
    rows, columns = tile.block_m, tile.block_n
    if skinny:
        rows *= c.dots
    else:
        columns *= c.dots * c.halves
    loaded = (rows + columns) * tile.block_k * c.itemsize
    shared, held = loaded * options["num_stages"], rows * columns / (WARP * warps)
    if shared > chip.smem or held > chip.accumulator_words:
        return None
    programs = c.tiles(tile.block_m, tile.block_n) * tile.splits
    threads = WARP * warps
    room = min(chip.smem // shared, int(chip.registers // (threads * (held + chip.other_words))), chip.warps // warps)
    together = max(1, min(room, cdiv(programs, chip.sms)))
    # Tiles of fewer rows and columns than the tensor core of a warp group takes are multiplied by its elder sister.
    rate = chip.loop_mma_per_us * (1 if max(rows, tile.block_n) >= 2 * WARP else 0.5) * 2 / c.itemsize
    # Where few SMs read, each of them gets more of what the cache delivers.
    reading = min(chip.sm_bytes_per_us, chip.loop_bytes_per_us * chip.sms / min(programs, chip.sms))
    step = {
        "tensor core": together * rows * columns * tile.block_k / rate,
        "cache": together * loaded / reading,
        "latency": chip.wait_us / _ahead(options),
    }
    steps = cdiv(cdiv(c.k, tile.block_k), tile.splits) * cdiv(programs, chip.sms * together)
    longest = _longest(step)
    return Time(chip.ramp_us + steps * (longest.us + chip.turn_us / _ahead(options)), longest.bound)
