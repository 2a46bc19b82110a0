"""Scaled gemms: which calls they take, and in which tiles. Compiled for sm_100 and sm_120, where nobody ran them."""

from __future__ import annotations

from collections.abc import Mapping

from fusec.ir.host.names import block_name
from fusec.ir.host.schedules import GemmScaled
from fusec.runtime.invariant import counted
from fusec.runtime.launch import Launch
from fusec.runtime.select.call import Call
from fusec.runtime.select.chip import MMA, Chip
from fusec.runtime.select.gemm import tile_for
from fusec.runtime.select.rule import Rule
from fusec.runtime.select.sizes import cdiv, padded
from fusec.runtime.select.tiles import Contraction, GemmTile


def has_formats(plan: GemmScaled, call: Call) -> bool:
    """Whether the tensor cores of the chip multiply what is stored."""
    return call.chip.scaled.issuperset(plan.formats)


def is_possible(plan: GemmScaled, call: Call) -> bool:
    """The same, or that the interpreter stands for the chip."""
    return call.device.type == "cpu" or has_formats(plan, call)


def contraction_of(plan: GemmScaled, call: Call) -> Contraction:
    """What it makes, in numbers of all groups, each of 8 bits at most."""
    sizes = (call.count(plan.batches), call.count(plan.m), call.count(plan.n))
    return Contraction(*sizes, call.count(plan.k) * plan.times * plan.numbers, 1, plan.dots)


def scaled_tile(contraction: Contraction, chip: Chip) -> GemmTile:
    """The tile, with as many rows as tensor memory has."""
    c = contraction
    block_n = min(max(padded(counted(c.n)), MMA), max(chip.scaled_columns // padded(c.dots), MMA))
    options = tuple({"num_warps": 8, "num_stages": stages} for stages in (3, 2))
    return GemmTile(chip.scaled_rows, block_n, chip.scaled_numbers, options)


def gemm_scaled(plan: GemmScaled, call: Call) -> list[Launch]:
    contraction = contraction_of(plan, call)
    tile = tile_for(call, scaled_tile, contraction)
    sizes = {plan.m: tile.block_m, plan.n: tile.block_n, plan.k: tile.block_k // plan.numbers}
    programs = contraction.batches * cdiv(contraction.m, tile.block_m) * cdiv(contraction.n, tile.block_n)
    return call.launch(plan.kernel, programs, tile.options, {block_name(key): size for key, size in sizes.items()})


RULES: Mapping[type, Rule] = {GemmScaled: Rule(is_possible, has_formats, gemm_scaled)}
