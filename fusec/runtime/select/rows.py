"""Schedules of rows, and those without reductions: how many elements a program holds, in which pieces, how many warps.

Of each schedule: whether it can take a call at all, whether it should, and its launches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from types import MappingProxyType
from typing import Any

from fusec.ir.host.names import block_name
from fusec.ir.host.schedules import Elementwise, Partial, Resident, RowLoop, Rows, SplitRows, Tile
from fusec.runtime.invariant import counted
from fusec.runtime.launch import Launch
from fusec.runtime.select.call import Call, pointers
from fusec.runtime.select.chip import WARP, Chip
from fusec.runtime.select.rule import Rule
from fusec.runtime.select.sizes import cdiv, is_few, padded, power_within
from fusec.runtime.select.tiles import RowTile

Options = tuple[dict[str, int], ...]

MOST_ELEMENTS = 2**20
"""Elements that a tile of Triton may have."""


# Elementwise


@dataclass(frozen=True, slots=True)
class Block:
    """A tile of a kernel without reductions: `lanes` rows by `size` elements."""

    lanes: int
    size: int
    warps: int


def elementwise(plan: Elementwise, call: Call, combined: int | None = None) -> list[Launch]:
    """Launches of a kernel without loops; each result, or each row, may be combined of so many partial results."""
    chip, rows, splits = call.chip, call.count(plan.rows), combined or 1
    blocks = call.tile_blocks(plan.tile) | {"SPLITS": splits}
    per_row = splits if plan.splits else 1
    if not plan.block:
        row = call.padded(plan.tile)
        lanes = lanes_for(chip, rows, row, per_row) if plan.rows else 1
        count = warps(chip, lanes * max(row, splits), thread=8) if plan.rows else 1 if combined is None else 4
        own = RowTile(launch_options(chip, count), rows=lanes)
        taken = own if combined else call.chosen(elementwise.__name__, {"row": row}, own)
        programs = _at_least(plan.at_least_one, "rows", cdiv(rows, taken.rows))
        return call.launch(plan.kernel, programs, taken.options, blocks | {"ROWS": taken.rows})
    size = call.count(plan.block)
    block = _square(plan, call) or blocks_for(
        chip, rows, size, 16 if plan.narrow else 8, splits if plan.parts else 1, per_row
    )
    own = RowTile(launch_options(chip, block.warps), block.lanes, block.size)
    taken = own if combined else call.chosen(elementwise.__name__, {"row": padded(size)}, own)
    blocks |= {"ROWS": taken.rows, block_name(plan.block): taken.block}
    programs = _at_least(plan.at_least_one, "rows", cdiv(rows, taken.rows))
    programs *= _at_least(plan.at_least_one, "block", cdiv(size, taken.block))
    return call.launch(plan.kernel, programs, taken.options, blocks)


def _square(plan: Elementwise, call: Call) -> Block | None:
    """The tile where some tensor lies along rows and others along the block, as where a matrix is turned.

    A wide one would take every element of the former out of a line of its own. None where nothing lies so.
    """
    *outer, row = plan.rows.split() or [""]
    if not row or len(plan.block.split()) != 1 or call.count(" ".join(outer)) != 1:
        return None
    known = [name for name in pointers(plan.kernel) if name in call.plans.strides and call.is_given(name)]
    across = [name for name in known if call.stride(name, row) == 1 and call.stride(name, plan.block) > 1]
    if not across or plan.parts:
        return None
    side = max(call.chip.across_bytes // call.itemsize(" ".join(across)), 1)
    lanes, wide = min(side, padded(counted(call.size(row)))), min(side, padded(call.count(plan.block)))
    return Block(lanes, wide, max(lanes * wide // (WARP * call.chip.across_thread), 1))


def blocks_for(chip: Chip, rows: int, size: int, thread: int = 8, parts: int = 1, splits: int = 1) -> Block:
    """The tile for `rows` rows of `size` elements: about `Chip.tile` elements, wide before high.

    A thread has `thread` of them, to store 16 bytes at once. Where each element is combined of several `parts`, these
    count, and where each row is, of `splits`, there are fewer rows.
    """
    most = max(chip.tile // parts, 1)
    wide = min(padded(size), most)
    high = max(1, min(padded(counted(rows)), most // wide, 2 * chip.chunk // splits))
    return Block(high, wide, max(wide * high * parts // (WARP * thread), 1))


def _at_least(wanted: str, what: str, programs: int) -> int:
    return max(programs, 1) if what in wanted.split() else programs


# Tile


def _live(plan: Tile, call: Call) -> int:
    """Elements in registers: of each set of tiles that they hold together."""
    return sum(map(call.padded, plan.live or (plan.tile,)))


def tile_fits(plan: Tile, call: Call) -> bool:
    """Whether registers hold the tile, and another one beside it; of a tile in pieces, whether that is worth it."""
    live = _live(plan, call)
    return live <= call.chip.resident_row // 2 and (not plan.runs or _pays_in_pieces(plan, call, live))


def _pays_in_pieces(plan: Tile, call: Call, live: int) -> bool:
    """Whether there are several pieces, and none is too short."""
    runs = plan.runs.split()
    return all(call.size(run) >= call.chip.shortest_run and live > call.padded(run) for run in runs)


def tile(plan: Tile, call: Call) -> list[Launch]:
    own = launch_options(call.chip, warps(call.chip, _live(plan, call), thread=call.chip.thread_elements))
    taken = call.chosen(tile.__name__, {"row": call.padded(plan.tile)}, RowTile(own))
    return call.launch(plan.kernel, call.count(plan.rows), taken.options, call.tile_blocks(plan.tile))


# Rows


def rows_fit(plan: Rows, call: Call) -> bool:
    """Whether rows are so short that one is too little for a program, or so many fit as lie side by side."""
    chip, row = call.chip, call.padded(plan.tile)
    if plan.block:
        return holds_columns(chip, row, plan.words)
    # Rows that begin anywhere are better off as vectors.
    pays = call.together >= chip.together and not is_few(chip, call.count(plan.rows))
    return row <= chip.short_row * (2 if pays else 1)


def rows(plan: Rows, call: Call) -> list[Launch]:
    chip, row, count = call.chip, call.padded(plan.tile), call.count(plan.rows)
    wide = 1
    blocks = call.tile_blocks(plan.tile)
    programs = 1
    if plan.block:
        size = call.count(plan.block)
        wide = columns(chip, size, row, plan.words)
        blocks[block_name(plan.block)] = wide
        programs = _at_least(plan.at_least_one, "block", cdiv(size, wide))
    lanes = lanes_for(chip, count, row * wide) if plan.block else short_lanes(chip, count, row)
    own = RowTile(launch_options(chip, warps(chip, lanes * row * wide)), rows=lanes)
    taken = call.chosen(rows.__name__, {"row": row * wide}, own)
    programs *= _at_least(plan.at_least_one, "rows", cdiv(count, taken.rows))
    return call.launch(plan.kernel, programs, taken.options, blocks | {"ROWS": taken.rows})


def lanes_for(chip: Chip, rows: int, row: int, splits: int = 1) -> int:
    """How many rows of `row` padded elements one program takes, where each is combined of `splits` partial results."""
    return max(1, min(padded(counted(rows)), chip.row_tile // row, 2 * chip.chunk // splits))


def short_lanes(chip: Chip, rows: int, row: int) -> int:
    """How many short rows of `row` padded elements one program takes: twice as many where they fill the chip."""
    return lanes_for(chip, rows, row) if is_few(chip, rows) else lanes_for(chip, rows, max(row // 2, 1))


def holds_columns(chip: Chip, row: int, words: float) -> bool:
    """Whether registers hold enough rows side by side, of `row` padded elements with `words` for each of them."""
    return _columns(chip, row, words) >= chip.fewest_columns


def columns(chip: Chip, size: int, row: int, words: float) -> int:
    """How many of `size` rows side by side one program takes, of `row` padded elements with `words` for each."""
    return min(padded(size), chip.most_columns, _columns(chip, row, words))


def _columns(chip: Chip, row: int, words: float) -> int:
    """The most rows side by side that registers hold, of `row` elements with `words` for each: a power of two."""
    return power_within(int(chip.live_words / max(row * words, 1)))


# Resident


def resident_fits(plan: Resident, call: Call) -> bool:
    rows, size, itemsize = call.count(plan.rows), plan.parts * call.row_length(plan.tile), call.itemsize(plan.bytes)
    words = plan.words + plan.words_per_byte * itemsize
    return holds_row(call.chip, rows, size, itemsize, plan.inputs, plan.compact, words)


def resident(plan: Resident, call: Call, more: Mapping[str, Any] = MappingProxyType({})) -> list[Launch]:
    programs, size = call.count(plan.rows), plan.parts * call.padded(plan.tile)
    own = row_options(call.chip, programs, size, call.itemsize(plan.bytes), plan.inputs, plan.narrow)
    taken = call.chosen(resident.__name__, {"row": size}, RowTile(own))
    return call.launch(plan.kernel, programs, taken.options, call.tile_blocks(plan.tile) | dict(more))


def holds_row(chip: Chip, rows: int, size: int, itemsize: int, inputs: int, compact: bool, words: float) -> bool:
    """Whether a row of `size` elements is better held in registers than read again from the cache.

    With two inputs or more, reading again costs twice; with few rows one pass is the shortest way, for most of the
    chip is idle. Otherwise a loop keeps more rows under way, and wastes no lanes on a row far from a power of two. A
    row that is not `compact` shares the registers, and what a kernel holds at once, `words` for each element of the
    padded row, has to fit in any case.
    """
    if padded(size) * words > chip.live_words:
        return False
    if inputs > 1 or is_few(chip, rows):
        return size <= chip.resident_row * 2 // itemsize // max(inputs - 1, 1 if compact else 2)
    wasteful = size > chip.small_row // 2 and padded(size) - size > size // 4
    return size <= min(chip.small_row, chip.resident_row) and not wasteful


def row_warps(chip: Chip, rows: int, size: int, itemsize: int, inputs: int) -> int:
    """Warps for a padded row of `size` elements in registers: about 64 bytes of an input a thread, 16 for few rows."""
    few = is_few(chip, rows)
    share = padded(size) * itemsize // (chip.warp_bytes // 2 if few else chip.warp_bytes)
    return min(max(share, 2), chip.program_warps // (1 if few or (inputs > 1 and size > chip.small_row) else 2))


def row_options(chip: Chip, rows: int, size: int, itemsize: int, inputs: int, narrow: bool = False) -> Options:
    """Launch options for rows of `size` elements in registers: the first that does not spill is taken.

    With many rows, registers are limited so that 64 KB of rows are under way on an SM, 80 KB where the outputs are
    `narrow` and most of the traffic is reads. Where the compiler would spill for that, half as many warps have twice
    the registers each. For the higher figure the compiler is told no limit, as it then needs fewer registers than if
    told that very limit. With few rows there is nothing to limit but the threads of a program.
    """
    count = row_warps(chip, rows, size, itemsize, inputs)
    plain = {"num_warps": count, "num_stages": 1}
    if is_few(chip, rows):
        return plain, {"num_warps": max(count // 2, 1), "num_stages": 1}
    row = max(size * itemsize * inputs, 1)
    counts = (count, count // 2)
    narrower, wider = (_programs(chip, count, under_way / row) for under_way in (chip.narrow_row_bytes, chip.row_bytes))
    dense = [(n, _register_limit(chip, n, narrower)) for n in counts if narrow]
    loose = [(n, _register_limit(chip, n, wider)) for n in counts]
    return (
        *({"num_warps": n, "num_stages": 1, "most_registers": limit} for n, limit in dense),
        *({"num_warps": n, "num_stages": 1, "maxnreg": limit} for n, limit in loose),
        plain,
    )


def busy_options(chip: Chip, warps: int) -> Options:
    """Launch options for rows that take much computing: so that warps enough take turns on an SM, else as it comes."""
    limit = _register_limit(chip, warps, max(chip.busy_warps // warps, 1))
    return {"num_warps": warps, "num_stages": 1, "maxnreg": limit}, *launch_options(chip, warps)


def _programs(chip: Chip, warps: int, wanted: float) -> int:
    """How many programs an SM should run at once, of `warps` warps each."""
    # With two or more one program loads while another one stores.
    return max(2, min(chip.most_programs, chip.warps // warps, ceil(wanted)))


def _register_limit(chip: Chip, warps: int, programs: int) -> int:
    """Registers of a thread so that an SM runs `programs` programs of `warps` warps."""
    return min(chip.registers // (WARP * warps * programs) // 8 * 8, chip.thread_registers)


# Row loop, split rows


def loop_fits(plan: RowLoop, call: Call) -> bool:
    """Whether one program walks a row in a loop, a step of which has room for the axes beside it."""
    rows = call.count(plan.rows) * (call.count(plan.block) if plan.block else 1)
    size = call.row_length(f"{plan.loop} {plan.tile}".strip())
    return prefers_loop(call.chip, rows, size) and has_room(plan, call)


def has_room(plan: RowLoop, call: Call) -> bool:
    """Whether a step of a loop has room for the axes beside it."""
    return call.padded(plan.tile) <= call.chip.chunk


def prefers_loop(chip: Chip, rows: int, size: int) -> bool:
    """Whether one program walks a row of `size` elements in a loop, or several share it in several kernels."""
    return counted(rows) >= chip.few_rows or size <= chip.long_row


def row_loop(plan: RowLoop, call: Call, more: Mapping[str, Any] = MappingProxyType({})) -> list[Launch]:
    chip, size = call.chip, call.count(plan.loop)
    chunk, inner, programs, blocks = _cut(plan, call, chunk_size(chip, size, plan.sweeps, plan.inputs, plan.words))
    own = RowTile(launch_options(chip, warps(chip, chunk * inner, thread=8)), block=chunk)
    taken = call.chosen(row_loop.__name__, {"row": padded(size)}, own)
    blocks |= {block_name(plan.loop.split()[-1]): taken.block, **loop_steps(size, taken.block)}
    blocks |= {"HELD": 0, "VECTOR": 0, **more}
    return call.launch(plan.kernel, programs, taken.options, blocks)


def loop_steps(size: int, chunk: int) -> dict[str, Any]:
    """The steps of a loop over a row: so many whole ones, and maybe one that ends beyond it."""
    return {"FULL_STEPS": size // chunk, "TAIL_STEPS": int(size % chunk != 0)}


def chunk_size(chip: Chip, size: int, sweeps: int, inputs: int, words: float) -> int:
    """Elements of one step of the loop over a row of `size`: `inputs` tensors, `sweeps` walks, `words` held of each."""
    if size <= chip.small_row:
        return min(padded(size), chip.chunk // 2)
    short = size <= (5 if sweeps > 2 else 4) * chip.chunk or inputs > 1
    return min(padded(size), chip.chunk if short else _long_chunk(chip, words))


def split_chunk(chip: Chip, size: int, words: float) -> int:
    """Elements of one step of the loop over a row of `size` that several programs share, with `words` for each."""
    return min(padded(size), _long_chunk(chip, words))


def _long_chunk(chip: Chip, words: float) -> int:
    """Elements of one step of the loop over a long row, with `words` for each."""
    return 2 * chip.chunk if 2 * chip.chunk * words <= chip.live_words else chip.chunk


def _cut(plan: RowLoop | Partial, call: Call, chunk: int) -> tuple[int, int, int, dict[str, Any]]:
    """For a kernel with a loop: positions of a step, elements of each, programs before splits, sizes of its tile.

    Where a position is one element, a step is a `chunk`.
    """
    tile, rows, size = call.padded(plan.tile), call.count(plan.rows), call.size(plan.loop.split()[-1])
    blocks = call.tile_blocks(plan.tile)
    wide = 1
    if plan.block:
        wide = min(padded(call.count(plan.block)), call.chip.most_columns)
        blocks[block_name(plan.block)] = wide
        rows *= _at_least(plan.at_least_one, "block", cdiv(call.count(plan.block), wide))
    if plan.block or plan.tile:
        chunk = min(padded(size), max(call.chip.chunk // (wide * tile), 1))
    return chunk, wide * tile, rows, blocks


def split_rows(plan: SplitRows, call: Call) -> list[Launch]:
    splits = 0
    launches: list[Launch] = []
    for part in plan.partials:
        if part.unless and call.tensors[part.unless] is not None:
            call.allocate(part.sums, 0, part.integers)
            continue
        *outer, last = part.loop.split()
        size = call.size(last)
        chunk, inner, programs, blocks = _cut(part, call, split_chunk(call.chip, size, part.words))
        steps = call.count(" ".join(outer)) * cdiv(size, chunk)
        splits = splits or split_count(call.chip, programs, steps, chunk * inner)
        options = launch_options(call.chip, warps(call.chip, chunk * inner, thread=8))
        own = RowTile(options, block=chunk, splits=splits)
        taken = call.chosen(split_rows.__name__, {"row": padded(size)}, own)
        splits = taken.splits
        call.allocate(part.sums, splits, part.integers)
        blocks |= {block_name(last): taken.block, "SPLITS": splits}
        launches += call.launch(part.kernel, programs * splits, taken.options, blocks)
    return [*launches, *elementwise(plan.combine, call, max(splits, 1))]


def split_count(chip: Chip, programs: int, steps: int, step: int) -> int:
    """Over how many programs each row goes, of `steps` steps of `step` elements: a power of two that fills the chip.

    `programs` are there before rows are split.
    """
    programs = counted(programs)
    filling = chip.split_elements // max(programs * step, 1), chip.split_programs // max(programs, 1)
    wanted = padded(min(filling))
    return max(1, min(wanted, chip.most_splits, padded(steps) // 2 if padded(steps) > steps else padded(steps)))


# Warps


def warps(chip: Chip, elements: int, thread: int = 16) -> int:
    """Warps for a tile of this many elements, `thread` of them a thread."""
    return min(max(padded(elements) // (WARP * thread), 1), chip.program_warps)


def launch_options(chip: Chip, warps: int) -> Options:
    """Launch options for a tile that has `warps` warps: the first that does not spill is taken.

    The compiler may spill a few bytes to get by with 32 or 64 registers though more are left, unless it is told how
    many a thread may have. Where these are too few indeed, threads that are half as many have twice the registers and
    compute as many addresses; up to 8 warps there are registers for twice the threads instead.
    """
    other = warps // 2 if warps > 8 else 2 * warps
    plain = {"num_warps": warps, "num_stages": 1}
    limits = ((count, _register_limit(chip, count, 1)) for count in (warps, other))
    return plain, *({"num_warps": count, "num_stages": 1, "maxnreg": limit} for count, limit in limits)


def _holds(tile: str, call: Call) -> bool:
    return call.padded(tile) <= MOST_ELEMENTS


def _always(_plan: Any, _call: Call) -> bool:
    return True


RULES: Mapping[type, Rule] = {
    Elementwise: Rule(_always, _always, elementwise),
    Tile: Rule(lambda plan, call: _holds(plan.tile, call), tile_fits, tile),
    Rows: Rule(lambda plan, call: _holds(plan.tile, call), rows_fit, rows),
    Resident: Rule(lambda plan, call: _holds(plan.tile, call), resident_fits, resident),
    RowLoop: Rule(lambda plan, call: _holds(plan.tile, call), loop_fits, row_loop),
    SplitRows: Rule(_always, _always, split_rows),
}
