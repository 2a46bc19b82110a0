"""Persistent gemms: in which waves of tiles programs make an output whose operands TMA moves.

Of the tilings of an output, the one is taken that a model of the time finds fastest: a tile takes as long as the tensor
core needs, or TMA of one SM, and all of them at least as long as memory does. The figures behind it were fitted on an
H200; benchmarks/contractions/results/tuning has what `fusec tune` made of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace

import torch

from fusec.ir.host.names import block_name
from fusec.ir.host.schedules import GemmRoles, GemmTma, Matrix, TensorMap
from fusec.runtime.invariant import ROWS, is_invariant
from fusec.runtime.launch import Launch
from fusec.runtime.select.call import Call, Tiled
from fusec.runtime.select.chip import MMA, TMA_SINCE, Chip
from fusec.runtime.select.gemm import has_room, tile_for
from fusec.runtime.select.rule import Rule
from fusec.runtime.select.sizes import cdiv, padded
from fusec.runtime.select.tiles import Contraction, GemmTile, Wave
from fusec.runtime.select.time_model import library_us, outputs_us, waves_us
from fusec.runtime.tensor_map import TmaView, moves_tiles, tma_view

# The schedule


def contraction_of(plan: GemmTma, call: Call) -> Contraction:
    """What a persistent gemm makes."""
    sizes = (call.count(plan.batches), call.count(plan.m), call.count(plan.n), call.count(plan.k))
    again, products = call.count(plan.again), plan.dots * plan.halves
    return Contraction(
        *sizes,
        itemsize=plan.itemsize,
        dots=plan.dots,
        halves=plan.halves,
        again=again,
        crowded=2 * plan.beside >= products if call.is_wide else plan.beside > products,
        in_parts=plan.in_parts,
        integers=bool(plan.most),
    )


def fits_tma(plan: GemmTma, call: Call) -> bool:
    """Whether TMA can move the operands and results of a call, all of them in one walk over leading axes."""
    if call.chip.capability < TMA_SINCE or not has_room(plan, call):
        return False
    if call.walks is not None and len(call.walks.offsets) > 1:
        return False
    views = [view_of(each, call) for each in plan.maps.values()]
    return moves_tiles(views, *given(plan, call), device=call.device)


def given(plan: GemmTma | GemmRoles, call: Call) -> list[torch.Tensor]:
    """The arguments that a plan sees through tensor maps."""
    names = dict.fromkeys(tensor_of(each) for one in plan.maps.values() for each in one.tensors)
    return [tensor for name in names if (tensor := call.tensors.get(name)) is not None]


def tensor_of(matrix: str | Matrix) -> str:
    """The name of the tensor that a matrix is, or is a part of."""
    return matrix.tensor if isinstance(matrix, Matrix) else matrix


def view_of(seen: TensorMap, call: Call) -> TmaView | None:
    """How TMA sees a tensor map in a call; None where it cannot move its tiles."""
    axes = ((call.size(key), *(call.stride(each, key) for each in seen.tensors)) for key in seen.axes.split())
    offsets = tuple(map(call.offset, seen.tensors))
    names = tuple(map(tensor_of, seen.tensors))
    return tma_view(names, call.itemsize(seen.bytes), *axes, offsets=offsets if any(offsets) else (0, 0))


def gemm_tma(plan: GemmTma, call: Call) -> list[Launch]:
    return launched(plan, call, *waves(call, contraction_of(plan, call)))


def launched(plan: GemmTma, call: Call, *waves: Wave) -> list[Launch]:
    """The launches of some waves."""
    views = {name: (seen, view_of(seen, call)) for name, seen in plan.maps.items()}
    launches: list[Launch] = []
    for wave in waves:
        blocks = {
            **{"begin": wave.begin, "end": wave.end, "GROUP": wave.group_m, "DOWN": wave.down, "ACROSS": wave.across},
            **{block_name(plan.m): wave.block_m, block_name(plan.n): wave.block_n, block_name(plan.k): wave.block_k},
            **dict.fromkeys(plan.flips, 0),
        }
        cut = {name: one.cut(*_cut(plan, seen, wave)) for name, (seen, one) in views.items() if one is not None}
        launches += call.launch(plan.kernel, wave.programs, wave.options, blocks, maps=cut, flips=dict(plan.flips))
    return launches


def _cut(plan: GemmTma, seen: TensorMap, wave: Wave) -> list[int]:
    """The extents of a tile of a tensor map."""
    wide = wave.block_n * (2 if seen.halves else 1)
    own = {plan.m: wave.block_m, plan.n: wide, plan.k: wave.block_k}
    return [own.get(key, 1) for key in seen.axes.split()]


# Which tiles


def waves(call: Call, contraction: Contraction) -> tuple[Wave, ...]:
    """The launches for a contraction.

    The tiles are those of the call's choice, if it has any, except for the last ones where these are better cut.
    """
    chip = call.chip
    if is_invariant():
        alike = _alike(chip, contraction)
        call.tiled.append(Tiled(tma_tile.__name__, asdict(contraction), alike.tile))
        return (alike,)
    tile = tile_for(call, tma_tile, contraction)
    wave = Wave(tile.block_m, tile.block_n, tile.block_k, 0, 0, 0, tile.options, chip.group_m)
    return _fastest(chip, contraction, _cuts(chip, contraction, wave))[1]


def _alike(chip: Chip, contraction: Contraction) -> Wave:
    """One launch of tiles that do not depend on how many rows or batches there are."""
    one = replace(contraction, batches=1, m=ROWS, again=1)
    wave = min(
        (_wave(block_m, block_n, one, chip, True) for block_m, block_n in _sizes(one, chip)),
        key=lambda wave: waves_us(one, (_from_to(wave, 0, one.tiles(wave.block_m, wave.block_n), chip),), chip),
    )
    return _from_to(wave, 0, contraction.tiles(wave.block_m, wave.block_n), chip)


def tma_tile(contraction: Contraction, chip: Chip) -> GemmTile:
    """The tile of a persistent gemm."""
    first, *_ = _fastest(chip, contraction, _tilings(chip, contraction))[1]
    return first.tile


def best_us(contraction: Contraction, chip: Chip) -> float:
    """How many microseconds `waves` take, by the time model."""
    return _fastest(chip, contraction, _tilings(chip, contraction))[0]


def beats_library(contraction: Contraction, us: float, chip: Chip) -> bool:
    """Whether so many microseconds are less than the library's products in f32 and a kernel that makes the output take.

    The same goes for the library that adds, which reads as much: on an H200 it took 1066 us with a residual for
    8192x4096x11008, where TMA took 987, and 69 for 512 of these rows, where TMA took 89.
    """
    return us <= library_us(contraction, chip) + outputs_us(contraction, chip)


def _fastest(
    chip: Chip, contraction: Contraction, tilings: Iterable[tuple[Wave, ...]]
) -> tuple[float, tuple[Wave, ...]]:
    """The waves that take least, and how many microseconds."""
    found = [(waves_us(contraction, tiling, chip), tiling) for tiling in tilings]
    # A second launch that saves less than one part in 200 saves nothing: the model is not that good.
    return min(found, key=lambda timed: timed[0] * (199 + len(timed[1])))


def _tilings(chip: Chip, contraction: Contraction) -> Iterator[tuple[Wave, ...]]:
    """Large tiles first: of equal times the first one is taken, which moves least."""
    for block_m, block_n in _sizes(contraction, chip):
        many = contraction.tiles(block_m, block_n) > 3 * chip.sms
        yield from _cuts(chip, contraction, _wave(block_m, block_n, contraction, chip, many))


def _sizes(contraction: Contraction, chip: Chip) -> Iterator[tuple[int, int]]:
    """The rows and columns that tiles may have."""
    held = chip.accumulator_columns // (2 if contraction.crowded or contraction.in_parts else 1)
    widest = max(min(held // contraction.parts, padded(cdiv(contraction.n, contraction.halves))), MMA)
    columns = dict.fromkeys(max(widest // part, MMA) for part in (1, 2, 4))
    large, small = chip.tma_block_m, chip.tma_block_m // 2
    rows = (large, small) if contraction.m > small else (small,)
    return ((block_m, block_n) for block_m in rows for block_n in columns)


def _cuts(chip: Chip, contraction: Contraction, wave: Wave) -> Iterator[tuple[Wave, ...]]:
    """All tiles alike, or the last ones cut in four."""
    count = contraction.tiles(wave.block_m, wave.block_n)
    rest = count % chip.sms
    yield (_from_to(wave, 0, count, chip),)
    if wave.block_m == chip.tma_block_m and wave.block_n >= 2 * MMA and 0 < rest < count:
        # The last tiles would leave many programs without work: they are cut for two at a time.
        small = replace(_wave(wave.block_m // 2, wave.block_n // 2, contraction, chip, True), down=2, across=2)
        last = replace(_from_to(small, 4 * (count - rest), 4 * count, chip), programs=4 * rest)
        yield _from_to(wave, 0, count - rest, chip), last


def _wave(block_m: int, block_n: int, contraction: Contraction, chip: Chip, many: bool) -> Wave:
    """The launch of tiles of a size.

    Where there are `many`, what is read far ahead is in the way of what is stored, unless it is of 8 bits.
    """
    width, itemsize = block_n * contraction.parts, contraction.itemsize
    longest = chip.tma_block_k * (1 if 2 * width > chip.accumulator_columns or many else 2) * 2 // itemsize
    block_k = min(longest, max(padded(contraction.k), contraction.least_k))
    fitting = (chip.smem - 2 * block_m * block_n) // (itemsize * block_k * (block_m + width))
    stages = max(min(fitting, 3 if many and 2 * block_m > chip.tma_block_m and itemsize > 1 else 4), 2)
    options = tuple({"num_warps": block_m // MMA, "num_stages": count} for count in range(stages, 1, -1))
    return Wave(block_m, block_n, block_k, 0, 0, 0, options, chip.group_m)


def _from_to(wave: Wave, begin: int, end: int, chip: Chip) -> Wave:
    return replace(wave, begin=begin, end=end, programs=min(chip.sms, end - begin))


RULES: Mapping[type, Rule] = {GemmTma: Rule(fits_tma, fits_tma, gemm_tma)}
