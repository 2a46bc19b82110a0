"""Runs: in which tiles the programs of a contraction with boxes make its output, one tile after another.

Of the ways to cut the output, the one is taken that a model of the time finds fastest: a tile takes as long as the
matrix unit needs, or the copy engine of one multiprocessor, and all of them at least as long as memory does. The
figures behind it were fitted on an H200; benchmarks/contractions/results/tuning has what `fusec tune` made of them.
"""

# For files that were generated before there were host tables: it goes as soon as generated/ is built again.

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import torch
import triton

from fusec.runtime.dots import Tile
from fusec.runtime.invariant import ROWS, is_invariant
from fusec.runtime.tiles import cdiv, padded
from fusec.runtime.tuned import Way
from fusec.runtime.ways import shaped

MULTIPROCESSORS, SHARED = 132, 227 * 1024
"""Of a device that is not at hand: an H200, with the bytes of shared memory of a program."""

MULTIPLIED, FETCHED = 3.2e6, 95e3
"""What a multiprocessor does in a microsecond: multiplications, and bytes moved into it."""

FETCHED_BY_TWO = 1.3 * FETCHED
"""The same for two small programs on one multiprocessor: one waits while the other one moves."""

READ, ALL_MULTIPLIED = 3.6e6, 375e6
"""What the chip does in a microsecond: bytes read, and multiplications of the library in large products."""

TILE, LAUNCH, START = 1.5, 4.0, 4.0
"""Microseconds that are lost at each tile, at each launch, and until the first tiles are under way."""

BEHIND = 8.0
"""Microseconds lost at each tile where more has to be read behind the products than they are, in a look by hand."""

WIDTH = 256
"""Columns of all accumulators of a program together: with 128 rows, all the registers of two warp groups."""

GROUP = 8
"""Sides of large tiles that are under way together."""


@dataclass(frozen=True, slots=True)
class Run:
    """One launch: `programs` make the tiles from `begin` to `end`, each of `side` rows, `step` at a time.

    Of `block` columns each are made what stands behind the products: of those of every dot, or of two halves of one.
    Tiles are counted by larger ones, of `down` by `across` of them, `group` sides of which are under way together: what
    they share is then in the cache.
    """

    side: int
    block: int
    step: int
    begin: int
    end: int
    programs: int
    options: tuple[dict[str, int], ...]
    group: int = GROUP
    down: int = 1
    across: int = 1


@dataclass(frozen=True, slots=True)
class Contraction:
    """What is to be made: `batches` of `sides` by `blocks`, of sums of `inner` products, for each of so many `dots`.

    A tile has the columns of as many accumulators as there are `parts`; `halves` of them, of a single dot, are next to
    each other. So many batches multiply the same rows `again`; there are registers for `widest` columns at most.
    """

    batches: int
    sides: int
    blocks: int
    inner: int
    dots: int = 1
    halves: int = 1
    again: int = 1
    widest: int = WIDTH

    @property
    def parts(self) -> int:
        """Accumulators of a tile."""
        return padded(self.dots) * self.halves

    @property
    def matrices(self) -> int:
        """Bytes of the operands."""
        rows = self.batches // self.again * self.sides
        return 2 * self.inner * (rows + self.batches * self.blocks * self.parts // self.halves)

    def tiles(self, side: int, block: int) -> int:
        """How many tiles there are."""
        return self.batches * cdiv(self.sides, side) * cdiv(self.blocks, block * self.halves)


def runs(way: Way | None, device: torch.device, contraction: Contraction) -> tuple[Run, ...]:
    """The launches for a contraction.

    The tiles are those of `way`, if it has any, except for the last ones where these are better cut.
    """
    chip, c = _chip(device), contraction
    if is_invariant():
        return _alike(chip, contraction)
    facts = (c.batches, c.sides, c.blocks, c.inner, 2, c.dots, c.halves, c.again, c.widest)
    tile = shaped(way, boxed_tile, *facts, *chip)
    run = Run(tile.side, tile.block, tile.step, 0, 0, 0, tile.options)
    return _fastest(chip, contraction, _cuts(chip, contraction, run))[1]


def _alike(chip: tuple[int, int], contraction: Contraction) -> tuple[Run, ...]:
    """One launch of tiles that do not depend on how many rows or batches there are."""
    one = replace(contraction, batches=1, sides=ROWS, again=1)
    run = min(
        (_run(side, block, one, chip[1], True) for side, block in _sizes(one)),
        key=lambda run: _time(chip[0], one, (_from_to(run, 0, one.tiles(run.side, run.block), chip[0]),)),
    )
    return (_from_to(run, 0, contraction.tiles(run.side, run.block), chip[0]),)


def boxed_tile(
    batches: int,
    sides: int,
    blocks: int,
    inner: int,
    itemsize: int,
    dots: int,
    halves: int,
    again: int,
    widest: int,
    programs: int,
    shared: int,
) -> Tile:
    """The tile for a contraction of these facts, of elements of `itemsize` bytes, which is 2.

    There is a program for each of so many multiprocessors, and each program has so many bytes of `shared` memory.
    """
    chip, contraction = (programs, shared), Contraction(batches, sides, blocks, inner, dots, halves, again, widest)
    first, *_ = _fastest(chip, contraction, _ways(chip, contraction))[1]
    return Tile(first.side, first.block, first.step, first.options)


def outruns(device: torch.device, contraction: Contraction) -> bool:
    """Whether `runs` are faster than the library's products in f32 and a kernel that makes the output of them."""
    c, chip = contraction, _chip(device)
    made = c.batches * c.sides * c.blocks
    multiplied = max(c.dots * made * c.inner / ALL_MULTIPLIED, c.matrices / READ)
    moved = (8 * c.dots + 2) * made / READ
    return _fastest(chip, c, _ways(chip, c))[0] <= multiplied + moved + c.dots * LAUNCH + TILE


def _fastest(
    chip: tuple[int, int], contraction: Contraction, ways: Iterable[tuple[Run, ...]]
) -> tuple[float, tuple[Run, ...]]:
    """The runs that take least, and how many microseconds."""
    found = [(_time(chip[0], contraction, way), way) for way in ways]
    # A second launch that saves less than one part in 200 saves nothing: the model is not that good.
    return min(found, key=lambda timed: timed[0] * (199 + len(timed[1])))


def _ways(chip: tuple[int, int], contraction: Contraction) -> Iterator[tuple[Run, ...]]:
    """Large tiles first: of equal times the first one is taken, which moves least."""
    programs, shared = chip
    for side, block in _sizes(contraction):
        many = contraction.tiles(side, block) > 3 * programs
        yield from _cuts(chip, contraction, _run(side, block, contraction, shared, many))


def _sizes(contraction: Contraction) -> Iterator[tuple[int, int]]:
    """The sizes that tiles may have."""
    widest = max(min(contraction.widest // contraction.parts, padded(cdiv(contraction.blocks, contraction.halves))), 16)
    blocks = dict.fromkeys(max(widest // part, 16) for part in (1, 2, 4))
    return ((side, block) for side in ((128, 64) if contraction.sides > 64 else (64,)) for block in blocks)


def _cuts(chip: tuple[int, int], contraction: Contraction, run: Run) -> Iterator[tuple[Run, ...]]:
    """All tiles alike, or the last ones cut in four."""
    programs, shared = chip
    count = contraction.tiles(run.side, run.block)
    rest = count % programs
    yield (_from_to(run, 0, count, programs),)
    if run.side == 128 and run.block >= 32 and 0 < rest < count:
        # The last tiles would leave many programs without work: they are cut for two at a time.
        small = replace(_run(64, run.block // 2, contraction, shared, True), down=2, across=2)
        yield _from_to(run, 0, count - rest, programs), _from_to(small, 4 * (count - rest), 4 * count, 4 * rest)


def _time(multiprocessors: int, contraction: Contraction, way: tuple[Run, ...]) -> float:
    """About how many microseconds runs take."""
    busy = START + LAUNCH * len(way)
    busy += sum(cdiv(run.end - run.begin, multiprocessors) * _tile_time(contraction, run) for run in way)
    return max(busy, contraction.matrices / READ + LAUNCH)


def _tile_time(contraction: Contraction, run: Run) -> float:
    """About how many microseconds a multiprocessor takes for one tile."""
    width = run.block * contraction.parts
    multiplying = run.side * width * contraction.inner / MULTIPLIED
    moving = 2 * (run.side + width) * contraction.inner / (FETCHED if run.down == 1 else FETCHED_BY_TWO)
    # Neither of the two hides all of the other where they take about as long.
    return math.sqrt(math.hypot(multiplying**2, moving**2)) + TILE + (BEHIND if contraction.widest < WIDTH else 0)


def _run(side: int, block: int, contraction: Contraction, shared: int, many: bool) -> Run:
    """The launch of tiles of a size. Where there are `many`, what is read far ahead is in the way of what is stored."""
    width = block * contraction.parts
    step = min(64 if width > 128 or many else 128, max(padded(contraction.inner), 16))
    fitting = (shared - 2 * side * block) // (2 * step * (side + width))
    stages = max(min(fitting, 3 if many and side > 64 else 4), 2)
    ways = tuple({"num_warps": side // 16, "num_stages": count} for count in range(stages, 1, -1))
    return Run(side, block, step, 0, 0, 0, ways)


def _from_to(run: Run, begin: int, end: int, programs: int) -> Run:
    return replace(run, begin=begin, end=end, programs=min(programs, end - begin))


@cache
def _chip(device: torch.device) -> tuple[int, int]:
    """The multiprocessors of a device, and the bytes of shared memory of a program."""
    if device.type != "cuda":
        return MULTIPROCESSORS, SHARED
    about = triton.runtime.driver.active.utils.get_device_properties(device.index)
    return about["multiprocessor_count"], about["max_shared_mem"]
