"""Row vectors: rows that begin anywhere, in tiles whose lanes begin where whole vectors of 16 bytes do.

Whether a call can have them, whether it should, and its launch. The kernel is that of a loop, unrolled.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from fusec.ir.host.names import block_name
from fusec.ir.host.schedules import RowVectors
from fusec.runtime.invariant import is_invariant
from fusec.runtime.launch import Launch
from fusec.runtime.select.call import Call
from fusec.runtime.select.chip import WARP, Chip
from fusec.runtime.select.row_tiles import Equal, fits_tiles
from fusec.runtime.select.rows import busy_options
from fusec.runtime.select.rule import Rule
from fusec.runtime.select.sizes import cdiv, is_few
from fusec.runtime.select.tiles import RowTile

BYTES = 16
"""Of the widest access."""


def row_vectors_hold(plan: RowVectors, call: Call) -> bool:
    """Whether registers hold a row, all neighbours lie side by side, and what is stored begins at the same places."""
    given = _given(call, plan.stored, plan.read, plan.shared)
    _, *others = plan.stored.split()
    if any(call.dtype(name) is torch.bool or call.stride(name, plan.loop) != 1 for name in given):
        return False
    if call.walks is not None and len(call.walks.offsets) > 1:
        return False
    if not all(_is_alike(plan, call, name) for name in others):
        return False
    words = sum(map(call.itemsize, _given(call, plan.held))) / 4
    size = call.size(plan.loop)
    return size > 0 and fits_tiles(call.chip, size + _vector(plan, call) - 1, words, _tiles(plan, call))


def row_vectors_fit(plan: RowVectors, call: Call) -> bool:
    access = call.together * call.itemsize(" ".join(_given(call, plan.stored, plan.read)))
    pays = prefers_vectors(call.chip, call.count(plan.rows), call.size(plan.loop), access, plan.sweeps)
    return pays and row_vectors_hold(plan, call)


def prefers_vectors(chip: Chip, rows: int, size: int, access: int, sweeps: int) -> bool:
    """Whether whole vectors pay: where accesses have few bytes otherwise, for many rows, neither short nor the longest.

    Where a row is needed three times, tiles of it gain much by themselves. Where a row begins decides in which order
    its elements are added, so rows that begin at other places would not have the same bits.
    """
    if is_invariant():
        return False
    is_narrow = access <= (chip.narrow_access if sweeps > 2 else 2 * chip.narrow_access)
    return is_narrow and not is_few(chip, rows) and chip.short_row < size <= 2 * chip.tiled_row


def row_vectors(plan: RowVectors, call: Call) -> list[Launch]:
    size, vector, tile = call.size(plan.loop), _vector(plan, call), _tiles(plan, call)
    own = RowTile(busy_options(call.chip, tile.warps), block=tile.elements)
    taken = call.chosen(row_vectors.__name__, {"row": size}, own)
    alike = all(_is_alike(plan, call, name) for name in _given(call, plan.read))
    whole = (size - 1) // taken.block
    blocks = {
        block_name(plan.loop): taken.block,
        "FULL_STEPS": whole,
        "TAIL_STEPS": cdiv(size + vector - 1, taken.block) - whole,
        "HELD": vector,
        "VECTOR": vector if alike else -vector,
        "VEC": 1,
    }
    given = _given(call, plan.stored, plan.read, plan.shared)
    starts = {name: start * call.itemsize(name) for name in given if (start := call.start(name))}
    return call.launch(plan.kernel, call.count(plan.rows), taken.options, blocks, starts=starts)


def vector_tiles(chip: Chip, size: int, vector: int) -> Equal:
    """The tiles of a row of `size` elements, a `vector` for each thread: the smallest of which there are not too many.

    Those at the ends cost more than others, and are the smaller a part of the row the smaller they are.
    """
    warps = 1
    while 2 * warps <= chip.program_warps and cdiv(size, warps * WARP * vector) > chip.vector_tiles:
        warps *= 2
    return Equal(warps * WARP * vector, warps)


def _tiles(plan: RowVectors, call: Call) -> Equal:
    vector = _vector(plan, call)
    return vector_tiles(call.chip, call.size(plan.loop) + vector - 1, vector)


def _vector(plan: RowVectors, call: Call) -> int:
    """Lanes of a vector: one of the rows with the widest elements has the widest access."""
    return BYTES // call.itemsize(" ".join(_given(call, plan.stored, plan.read)))


def _given(call: Call, *names: str) -> list[str]:
    """Those of some tensors that are not left out of a call."""
    return [name for name in " ".join(names).split() if call.is_given(name)]


def _is_alike(plan: RowVectors, call: Call, name: str) -> bool:
    """Whether each row of a tensor begins at the same place of a vector as that of the tensor that tiles go by."""
    first, vector = plan.stored.split()[0], _vector(plan, call)
    if (call.start(name) - call.start(first)) % vector:
        return False
    moving = (axis for axis in plan.rows.split() if call.size(axis) > 1)
    return all((call.stride(name, axis) - call.stride(first, axis)) % vector == 0 for axis in moving)


RULES: Mapping[type, Rule] = {RowVectors: Rule(row_vectors_hold, row_vectors_fit, row_vectors)}
