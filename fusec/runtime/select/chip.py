"""Chips: every figure of a device that rules, time models and the tuner go by. They were measured on an H200.

How, is in docs/row-tiles.md (rows) and benchmarks/contractions/results/tuning (what `fusec tune` found beside the tiles
of gemms). A test that needs many steps of small tiles passes a chip with small figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import torch
import triton


@dataclass(frozen=True, slots=True)
class Chip:
    """An H200, but for what is said to be otherwise.

    Sizes of rows are in elements, of registers in 32-bit words; times in microseconds, rates in units per microsecond.
    """

    # The chip
    sms: int = 132
    smem: int = 227 * 1024
    """Bytes of shared memory of a program."""
    registers: int = 65536
    """Of an SM."""
    warps: int = 64
    """That an SM runs at once."""

    # Rows
    short_row: int = 512
    """Rows up to this many padded elements share a program with others: a program should move 4 KB or more."""
    small_row: int = 8192
    """The longest row that registers hold with enough rows under way on an SM to hide the wait for memory."""
    resident_row: int = 32768
    """The longest row of 16-bit elements that registers hold at all."""
    live_words: int = 49152
    """Words that the tiles of a program may take at once: 48 for each thread of 32 warps. It has 64 registers."""
    fewest_columns: int = 16
    most_columns: int = 64
    """How many rows share a program where neighbours in memory are of different rows: accesses of 32 bytes or more."""
    chunk: int = 4096
    """Elements of one step of a loop over a long row; twice as many for the longest rows."""
    few_rows: int = 264
    """With fewer long rows than this (two for each SM) a row is worth several programs."""
    long_row: int = 65536
    """Rows up to this length are not worth a second kernel, however few."""
    tile: int = 2048
    """Elements of a program that has nothing to reduce."""
    most_splits: int = 1024
    split_elements: int = 4 * 2**20
    split_programs: int = 2048
    """Elements under way when rows are split: 8 MB of them hide the wait for memory of the whole chip; and programs."""

    # Gemms: which schedule
    library_work: int = 2**26
    tma_work: int = 2**26
    """Multiplications from which on a faster product pays for the launches around it: the library's, and one by TMA."""
    gemv_matrix: int = 2**25
    """Elements of a matrix up to which threads multiply a vector, though they read as much beside the matrix."""
    skinny: int = 16
    """Up to so many positions of an axis are the columns of a tile (swap-AB): it is as fast as the matrix is read."""
    most_again: int = 1
    """How often the matrix may be read for that."""

    # Gemms: skinny tiles
    strip: int = 64
    """Rows of a matrix that such a tile has, of all the matrices that share its columns."""
    step: int = 256
    """Elements of each row that it multiplies at a time: half as many where every SM has several tiles.

    Where it is threads that multiply, as all of f32, it is an eighth.
    """
    step_bytes: int = 48 * 1024
    staged_bytes: int = 160 * 1024
    """Bytes of a step of it at most, and of all the steps under way."""
    few_tiles: int = 48
    """With fewer tiles than this several programs share each (split-K): it takes so many to read at full speed."""
    most_split_k: int = 8
    """Programs that share a tile at most."""

    # Persistent gemms: the time model
    multiplied: float = 3.2e6
    fetched: float = 95e3
    """What an SM does: multiplications, and bytes moved into it."""
    fetched_by_two: float = 1.3 * 95e3
    """The same for two small programs on one SM: one waits while the other one moves."""
    read: float = 3.6e6
    all_multiplied: float = 375e6
    """What the chip does: bytes read, and multiplications of the library in large products."""
    tile_us: float = 1.5
    launch_us: float = 4.0
    start_us: float = 4.0
    """What is lost at each tile, at each launch, and until the first tiles are under way."""
    epilogue_us: float = 8.0
    """Lost at each tile where more has to be read behind the products than they are, in a look by hand."""
    tile_rows: int = 128
    """Rows of a large tile; one of half as many is tried, too."""
    widest: int = 256
    """Columns of all accumulators of a program together: with 128 rows, all the registers of two warp groups."""
    group: int = 8
    """Sides of large tiles that are under way together."""

    # Tiles that are tried: the tuner's time model
    tensor_core: float = 3.7e6
    """Products of 16-bit numbers, of an SM that does nothing else."""
    traffic: float = 4.2e4
    """Bytes into an SM from the cache, where all of them read."""
    wait_us: float = 0.8
    turn_us: float = 0.2
    program_us: float = 2.0
    """The wait for memory, the turn of a loop with one load ahead, the start and end of a tile."""


H200 = Chip()


@cache
def chip_of(device: torch.device) -> Chip:
    """The chip of a device: what the driver tells of it, and for all else, or without a GPU, the figures of an H200."""
    if device.type != "cuda":
        return H200
    about = triton.runtime.driver.active.utils.get_device_properties(device.index)
    return replace(H200, sms=about["multiprocessor_count"], smem=about["max_shared_mem"])
