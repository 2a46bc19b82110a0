"""Row tiles: a row in registers as several tiles of one size, for rows far from a power of two or that begin anywhere.

Whether a call can have them, whether it should, and its launch. The kernel is that of a loop, unrolled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fusec.ir.host.names import block_name
from fusec.ir.host.schedules import RowTiles
from fusec.runtime.launch import Launch
from fusec.runtime.select.call import Call
from fusec.runtime.select.chip import WARP, Chip
from fusec.runtime.select.rows import launch_options, loop_steps
from fusec.runtime.select.rule import Rule
from fusec.runtime.select.sizes import cdiv, is_few, padded
from fusec.runtime.select.tiles import RowTile


@dataclass(frozen=True, slots=True)
class Equal:
    """Tiles of a row, all of one size: so many `elements` each, for so many `warps`."""

    elements: int
    warps: int


def row_tiles_hold(plan: RowTiles, call: Call) -> bool:
    """Whether registers hold a row in tiles of one size."""
    size, words = call.size(plan.loop), call.itemsize(plan.bytes) * plan.inputs / 4
    return fits_tiles(call.chip, size, words, equal_tiles(call.chip, size, _access(plan, call)))


def row_tiles_fit(plan: RowTiles, call: Call) -> bool:
    chip, rows, size = call.chip, call.count(plan.rows), call.size(plan.loop)
    pays = prefers_tiles(chip, rows, size, _access(plan, call), plan.sweeps, plan.inputs)
    return pays and row_tiles_hold(plan, call)


def prefers_tiles(chip: Chip, rows: int, size: int, access: int, sweeps: int, inputs: int) -> bool:
    """Whether tiles of a row are better than a padded row, or than reading it again, where accesses have so many bytes.

    With full accesses they pay where a row is needed three times and padding wastes lanes. With narrow ones, lanes and
    reading again cost more. Two inputs are held well enough in a padded row, unless it is short or wastes lanes.
    """
    if is_few(chip, rows) or not chip.short_row < size <= chip.tiled_row * (1 if access > 2 else 2):
        return False
    is_wasteful, is_long = padded(size) - size > size // 4, size > chip.small_row // 2
    if access >= 16:
        return sweeps > 2 and is_wasteful
    if inputs > 1:
        return access <= 2 and (is_wasteful or not is_long)
    return access <= 2 or sweeps > 2 or is_long


def row_tiles(plan: RowTiles, call: Call) -> list[Launch]:
    size = call.size(plan.loop)
    tile = equal_tiles(call.chip, size, _access(plan, call))
    flags = {"HELD": min(call.together, 8), "VECTOR": 0}
    blocks = {block_name(plan.loop): tile.elements, **loop_steps(size, tile.elements), **flags}
    taken = call.chosen(row_tiles.__name__, {"row": size}, RowTile(launch_options(call.chip, tile.warps)))
    return call.launch(plan.kernel, call.count(plan.rows), taken.options, blocks)


def _access(plan: RowTiles, call: Call) -> int:
    """The bytes of an access to a row."""
    return min(call.together * call.itemsize(plan.bytes), 16)


def equal_tiles(chip: Chip, size: int, access: int) -> Equal:
    """The tiles of a row of `size` elements: the largest that leave a sixth of a row of lanes outside at most.

    There are 5 of them or more, of 8 elements a thread, which are one access of 16 bytes. Where each element is an
    `access` of its own they are as small as their number allows, with 4 elements a thread, or 8 with the most warps.
    """
    apart = access <= 2
    elements = min(padded(size) // 4, chip.apart_tile) if apart else min(padded(size) // 8, chip.held_tile)
    while apart and cdiv(size, max(elements, 1)) > chip.most_tiles and elements < chip.held_tile:
        elements *= 2
    while elements > 1 and -size % elements > size // 6:
        elements //= 2
    most = max(chip.held_tile // (8 * WARP), 1)
    return Equal(max(elements, 1), min(max(elements // ((4 if apart else 8) * WARP), 1), most))


def fits_tiles(chip: Chip, size: int, words: float, tile: Equal) -> bool:
    """Whether a thread holds its elements of each tile of a row, with `words` for each."""
    tiles = cdiv(size, tile.elements)
    return tiles <= chip.most_tiles and tiles * tile.elements * words <= chip.held_words * WARP * tile.warps


RULES: Mapping[type, Rule] = {RowTiles: Rule(row_tiles_hold, row_tiles_fit, row_tiles)}
