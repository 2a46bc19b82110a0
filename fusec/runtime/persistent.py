"""Runs: in which tiles the programs of a contraction with boxes make its output, one tile after another.

The figures were measured on an H200; benchmarks/contractions has the command and what it printed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import torch
import triton

from fusec.runtime.tiles import cdiv, padded

MULTIPROCESSORS, SHARED = 132, 227 * 1024
"""Of a device that is not at hand: an H200, with the bytes of shared memory of a program."""

WIDTH = 256
"""Columns of all accumulators of a program together."""

GROUP = 8
"""Sides of large tiles that are under way together."""

TAIL = 0.55
"""Up to which share of the multiprocessors the last tiles are worth a run of their own, in tiles a quarter as large."""


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


def runs(
    device: torch.device, batches: int, sides: int, blocks: int, inner: int, *, dots: int = 1, halves: int = 1
) -> tuple[Run, ...]:
    """The launches for `batches` outputs of `sides` by `blocks`, each of so many `dots`, or made in so many `halves`.

    Every program makes as many tiles as any other. Where the last ones leave many without work, these are cut in four.
    """
    programs, shared = _chip(device)
    parts = padded(dots) * halves
    side, block = _tile(batches, sides, blocks, parts, halves, programs)
    count = batches * cdiv(sides, side) * cdiv(blocks, block * halves)
    rest = count % programs
    first = _run(side, block, inner, parts, shared)
    if side < 128 or block < 64 or rest == count or not 0 < rest <= TAIL * programs:
        return (_from_to(first, 0, count, programs),)
    last = _run(side // 2, block // 2, inner, parts, shared, cut=2)
    # Small tiles leave room for a second program on each multiprocessor.
    return _from_to(first, 0, count - rest, programs), _from_to(last, 4 * (count - rest), 4 * count, 4 * rest)


def _tile(batches: int, sides: int, blocks: int, parts: int, halves: int, programs: int) -> tuple[int, int]:
    """As large as the registers of two warp groups allow, while there is work for most of the programs."""
    side, block = 128, max(min(WIDTH // parts, padded(cdiv(blocks, halves))), 16)
    if sides <= 64:
        return 64, block
    while block > 64 and 2 * batches * cdiv(sides, side) * cdiv(blocks, block * halves) <= programs:
        block //= 2
    if 2 * batches * cdiv(sides, side) * cdiv(blocks, block * halves) <= programs:
        side = 64
    return side, block


def _run(side: int, block: int, inner: int, parts: int, shared: int, cut: int = 1) -> Run:
    width = block * parts
    step = min(64 if width > 128 or cut > 1 else 128, max(padded(inner), 16))
    stages = max(min((shared - 2 * side * block) // (2 * step * (side + width)), 4), 2)
    warps = 8 if side > 64 else 4
    ways = tuple({"num_warps": warps, "num_stages": count} for count in range(stages, 1, -1))
    return Run(side, block, step, 0, 0, 0, ways, down=cut, across=cut)


def _from_to(run: Run, begin: int, end: int, programs: int) -> Run:
    return replace(run, begin=begin, end=end, programs=min(programs, end - begin))


@cache
def _chip(device: torch.device) -> tuple[int, int]:
    """The multiprocessors of a device, and the bytes of shared memory of a program."""
    if device.type != "cuda":
        return MULTIPROCESSORS, SHARED
    about = triton.runtime.driver.active.utils.get_device_properties(device.index)
    return about["multiprocessor_count"], about["max_shared_mem"]
