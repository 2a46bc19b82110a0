"""Tiles: how many elements a program holds, in which pieces, and with how many warps.

The figures behind the limits were measured on an H200; docs/row-tiles.md tells how.
"""

# For files that were generated before there were host tables: it goes as soon as generated/ is built again.

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, gcd, prod
from typing import Any

import torch
import triton

from fusec.runtime.errors import ScatteredRowsError
from fusec.runtime.invariant import counted
from fusec.runtime.layout import Lead
from fusec.runtime.plan import Buffer

BEYOND = 2**26
"""More than a launch counts beyond the last element: the rest of a tile, and a step of all programs of a loop."""

SHORT_ROW = 512
"""Rows up to this many padded elements share a program with others: a program should move 4 KB or more."""

SMALL_ROW = 8192
"""The longest row that registers hold with enough rows under way on a multiprocessor to hide the wait for memory."""

RESIDENT_ROW = 32768
"""The longest row of 16-bit elements that registers hold at all."""

HELD = 49152
"""32-bit words that the tiles of a program may take at once: 48 for each thread of 32 warps. It has 64 registers."""

FEWEST_COLUMNS, MOST_COLUMNS = 16, 64
"""How many rows share a program where neighbours in memory are of different rows: an access is of 32 bytes or more."""

CHUNK = 4096
"""Elements of one step of a loop over a long row; twice as many for the longest rows."""

FEW_ROWS = 264
"""With fewer long rows than this (two for each multiprocessor) a row is worth several programs."""

LONG_ROW = 65536
"""Rows up to this length are not worth a second kernel, however few."""

TILE = 2048
"""Elements of a program that has nothing to reduce."""

MOST_SPLITS = 1024
_SPLIT_ELEMENTS, _SPLIT_PROGRAMS = 4 * 2**20, 2048
"""Elements under way when rows are split: 8 MB of them hide the wait for memory of the whole chip; and programs."""


def holds_row(rows: int, size: int, itemsize: int, inputs: int, compact: bool, words: float) -> bool:
    """Whether a row of `size` elements is better held in registers than read again from the cache.

    With two inputs or more, reading again costs twice; with few rows one pass is the shortest way, for most of the
    chip is idle. Otherwise a loop keeps more rows under way, and wastes no lanes on a row far from a power of two. A
    row that is not `compact` shares the registers, and what a kernel holds at once, `words` for each element of the
    padded row, has to fit in any case.
    """
    if padded(size) * words > HELD:
        return False
    if inputs > 1 or is_few(rows):
        return size <= RESIDENT_ROW * 2 // itemsize // max(inputs - 1, 1 if compact else 2)
    wasteful = size > SMALL_ROW // 2 and padded(size) - size > size // 4
    return size <= min(SMALL_ROW, RESIDENT_ROW) and not wasteful


def padded(size: int) -> int:
    """The least power of two that is not below `size`; 1 for an empty axis."""
    return int(triton.next_power_of_2(max(size, 1)))


def row_warps(rows: int, size: int, itemsize: int, inputs: int) -> int:
    """Warps for a padded row of `size` elements in registers: about 64 bytes of an input a thread, 16 for few rows."""
    share = padded(size) * itemsize // (1024 if is_few(rows) else 2048)
    return min(max(share, 2), 32 if is_few(rows) or (inputs > 1 and size > SMALL_ROW) else 16)


def row_options(rows: int, size: int, itemsize: int, inputs: int, narrow: bool = False) -> tuple[dict[str, int], ...]:
    """Launch options for rows of `size` elements in registers: the first that does not spill is taken.

    With many rows, registers are limited so that 64 KB of rows are under way on a multiprocessor, 80 KB where the
    outputs are `narrow` and most of the traffic is reads. Where the compiler would spill for that, half as many warps
    have twice the registers each. For the higher figure the compiler is told no limit, as it then needs fewer
    registers than if told that very limit. With few rows there is nothing to limit but the threads of a program.
    """
    warps = row_warps(rows, size, itemsize, inputs)
    plain = {"num_warps": warps, "num_stages": 1}
    if is_few(rows):
        return plain, {"num_warps": max(warps // 2, 1), "num_stages": 1}
    row = max(size * itemsize * inputs, 1)
    counts = (warps, warps // 2)
    dense = [(count, _register_limit(count, _programs(warps, 81920 / row))) for count in counts if narrow]
    loose = [(count, _register_limit(count, _programs(warps, 65536 / row))) for count in counts]
    return (
        *({"num_warps": count, "num_stages": 1, "most_registers": limit} for count, limit in dense),
        *({"num_warps": count, "num_stages": 1, "maxnreg": limit} for count, limit in loose),
        plain,
    )


def _programs(warps: int, wanted: float) -> int:
    """How many programs a multiprocessor should run at once, of `warps` warps each."""
    # With two or more one program loads while another one stores.
    return max(2, min(24, 64 // warps, ceil(wanted)))


def _register_limit(warps: int, programs: int) -> int:
    """Registers of a thread so that a multiprocessor runs `programs` programs of `warps` warps."""
    return min(65536 // (32 * warps * programs) // 8 * 8, 248)


def ways(warps: int) -> tuple[dict[str, int], ...]:
    """Launch options for a tile that has `warps` warps: the first that does not spill is taken.

    The compiler may spill a few bytes to get by with 32 or 64 registers though more are left, unless it is told how
    many a thread may have. Where these are too few indeed, threads that are half as many have twice the registers and
    compute as many addresses; up to 8 warps there are registers for twice the threads instead.
    """
    other = warps // 2 if warps > 8 else 2 * warps
    plain = {"num_warps": warps, "num_stages": 1}
    limited = ({"num_warps": count, "num_stages": 1, "maxnreg": _register_limit(count, 1)} for count in (warps, other))
    return plain, *limited


def is_few(rows: int) -> bool:
    """Whether so few rows leave the chip idle, so that registers are free and only the time of one row counts."""
    return counted(rows) <= FEW_ROWS // 2


def warps(elements: int, thread: int = 16) -> int:
    """Warps for a tile of this many elements, `thread` of them a thread; at least 1 and at most 32."""
    return min(max(padded(elements) // (32 * thread), 1), 32)


def prefers_loop(rows: int, size: int) -> bool:
    """Whether one program walks a row of `size` elements in a loop, or several share it in several kernels."""
    return counted(rows) >= FEW_ROWS or size <= LONG_ROW


def chunk_size(size: int, sweeps: int, inputs: int, words: float) -> int:
    """Elements of one step of the loop over a row of `size`: `inputs` tensors, `sweeps` walks, `words` held of each."""
    if size <= SMALL_ROW:
        return min(padded(size), CHUNK // 2)
    short = size <= (5 if sweeps > 2 else 4) * CHUNK or inputs > 1
    return min(padded(size), CHUNK if short else _long_chunk(words))


def split_chunk(size: int, words: float) -> int:
    """Elements of one step of the loop over a row of `size` that several programs share, with `words` for each."""
    return min(padded(size), _long_chunk(words))


def _long_chunk(words: float) -> int:
    return 2 * CHUNK if 2 * CHUNK * words <= HELD else CHUNK


def holds_columns(row: int, words: float) -> bool:
    """Whether registers hold enough rows side by side, of `row` padded elements with `words` for each of them."""
    return _columns(row, words) >= FEWEST_COLUMNS


def columns(size: int, row: int, words: float) -> int:
    """How many of `size` rows side by side one program takes, of `row` padded elements with `words` for each."""
    return min(padded(size), MOST_COLUMNS, _columns(row, words))


def _columns(row: int, words: float) -> int:
    """The most rows side by side that registers hold, a power of two."""
    return 1 << max(int(HELD / max(row * words, 1)), 1).bit_length() - 1


def lanes(rows: int, row: int, splits: int = 1) -> int:
    """How many rows of `row` padded elements one program takes, where each is combined of `splits` partial results."""
    return max(1, min(padded(counted(rows)), 1024 // row, 2 * CHUNK // splits))


def split_count(programs: int, steps: int, step: int) -> int:
    """Over how many programs each row goes, of `steps` steps of `step` elements: a power of two that fills the chip.

    `programs` are there before rows are split.
    """
    programs = counted(programs)
    wanted = padded(min(_SPLIT_ELEMENTS // max(programs * step, 1), _SPLIT_PROGRAMS // max(programs, 1)))
    return max(1, min(wanted, MOST_SPLITS, padded(steps) // 2 if padded(steps) > steps else padded(steps)))


def cdiv(size: int, block: int) -> int:
    """How many blocks cover `size`."""
    return -(-size // block)


def index_type(*tensors: torch.Tensor | Buffer | None) -> Any:
    """The integer type that holds every element offset, and what is counted beyond the last one.

    It has 32 bits unless some tensor spans about as much as these hold.
    """
    long = any(_span(tensor) >= 2**31 - BEYOND for tensor in tensors)
    return triton.language.int64 if long else triton.language.int32


def width(sizes: dict[str, int], *names: str) -> int:
    """A power of two that divides where rows begin and end, for accesses of several elements: 8 at most.

    It is 1 if no such number is worth telling a kernel: Triton finds out by itself about multiples of 16.
    """
    common = gcd(*(sizes[name] for name in names))
    return 1 if common % 16 == 0 else gcd(common, 8)


def is_flat(*tensors: torch.Tensor | None) -> bool:
    """Whether every tensor is one gapless run of memory in row-major order, walked by its last stride."""
    # An axis of one element may have any stride, also where the tensor counts as contiguous.
    return all(tensor is None or (tensor.is_contiguous() and tensor.stride(-1) == 1) for tensor in tensors)


def require_one_walk(op: str, rows: Lead) -> None:
    """That the leading axes are at most two to a kernel, where it reduces over them. Raises `ScatteredRowsError`."""
    if len(rows.offsets) > 1:
        raise ScatteredRowsError(
            f"{op}: it reduces over the leading axes, and in memory they are more than two axes apart; pass the "
            "arguments as .contiguous()"
        )


def arguments(kernel: Any, sizes: dict[str, int], **blocks: Any) -> dict[str, Any]:
    """The arguments of a launch after its pointers and scalars: those of `sizes` the kernel takes, and `blocks`."""
    return {name: sizes[name] for name in kernel.arg_names if name in sizes} | blocks


def _span(tensor: torch.Tensor | Buffer | None) -> int:
    if tensor is None:
        return 0
    if isinstance(tensor, Buffer):
        return prod(tensor.shape)
    offsets = sum((size - 1) * abs(stride) for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size)
    # A broadcast axis is counted along, too.
    return max(offsets, *(size - 1 for size in tensor.shape), 0)


@dataclass(frozen=True, slots=True)
class Block:
    """A tile of a kernel without reductions: `lanes` rows by `size` elements."""

    lanes: int
    size: int
    warps: int


def blocks(rows: int, size: int, thread: int = 8, parts: int = 1, splits: int = 1) -> Block:
    """The tile for `rows` rows of `size` elements: about `TILE` elements, wide before high, `thread` of them a thread.

    A thread stores 16 bytes at once. Where each element is combined of several `parts`, these count, and where each
    row is, of `splits`, there are fewer rows.
    """
    most = max(TILE // parts, 1)
    wide = min(padded(size), most)
    high = max(1, min(padded(counted(rows)), most // wide, 2 * CHUNK // splits))
    return Block(high, wide, max(wide * high * parts // (32 * thread), 1))
