"""Gemms in roles: which calls they take, and their launch. One warp loads, two groups of warps multiply and add up.

On an H200 (Triton 3.6, L2 cold) 8192^3 of f8 with exact sums took 793 us, 767 in the library and 1124 by TMA without
roles; a gated MLP of 2048 by 14336, K = 4096, 378 us for its two products, of which the library makes one in 179.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from fusec.ir.host.names import block_name
from fusec.ir.host.schedules import GemmRoles, GemmTma
from fusec.runtime.invariant import is_invariant
from fusec.runtime.launch import Launch
from fusec.runtime.select import tma
from fusec.runtime.select.call import Call, Tiled
from fusec.runtime.select.chip import ROLES_ON, Chip
from fusec.runtime.select.rule import Rule
from fusec.runtime.select.tiles import Contraction, Wave
from fusec.runtime.select.time_model import waves_us
from fusec.runtime.tensor_map import TmaView, moves_tiles


def twin_of(plan: GemmRoles, call: Call) -> GemmTma:
    """The schedule that computes the same in plain Triton."""
    plans = (each for step in call.plans.every() for each in step.plans if isinstance(each, GemmTma))
    return next(each for each in plans if each.kernel is plan.twin)


def fits_roles(plan: GemmRoles, call: Call) -> bool:
    """Whether the chip has what roles are written for, and TMA moves all tiles, of a single product."""
    twin = twin_of(plan, call)
    if call.chip.capability != ROLES_ON or is_invariant() or call.count(twin.batches) != 1:
        return False
    return tma.fits_tma(twin, call) and moves_tiles(list(_views(plan, call).values()), device=call.device)


def prefers_roles(plan: GemmRoles, call: Call) -> bool:
    """Whether it is faster than the smaller tiles of the twin, which keep more of the chip busy where there are few."""
    if not fits_roles(plan, call):
        return False
    return best_us(plan, call) <= tma.best_us(tma.contraction_of(twin_of(plan, call), call), call.chip)


def best_us(plan: GemmRoles, call: Call) -> float:
    """How many microseconds it takes, by the time model."""
    return waves_us(contraction_of(plan, call), (_wave(plan, call),), call.chip)


def contraction_of(plan: GemmRoles, call: Call) -> Contraction:
    """What it makes: the tensor core works while parts of sums are added."""
    return replace(tma.contraction_of(twin_of(plan, call), call), in_parts=False)


def gemm_roles(plan: GemmRoles, call: Call) -> list[Launch]:
    twin, chip, contraction = twin_of(plan, call), call.chip, contraction_of(plan, call)
    columns = chip.tma_block_m // twin.dots
    wave = _wave(plan, call)
    call.tiled.append(Tiled(tma.tma_tile.__name__, asdict(contraction), wave.tile))
    (plain,) = tma.launched(twin, call, wave)
    sizes = {plan.m: chip.tma_block_m, plan.n: columns, plan.k: wave.block_k}
    views = {
        name: replace(one.cut(*_cut(plan, name, sizes)), told=True)
        for name, one in _views(plan, call).items()
        if one is not None
    }
    blocks = {"begin": 0, "end": wave.end, "GROUP": chip.group_m, "STAGES": _stages(views, plan, chip)}
    blocks |= {block_name(key): size for key, size in sizes.items()}
    options = ({"num_warps": 4, "num_stages": 1, "maxnreg": chip.role_registers},)
    (launch,) = call.launch(plan.kernel, wave.programs, options, blocks, maps=views)
    return [replace(launch, twin=plain)]


def _wave(plan: GemmRoles, call: Call) -> Wave:
    """All tiles in one launch, as the twin takes them."""
    twin, chip, contraction = twin_of(plan, call), call.chip, contraction_of(plan, call)
    block_n = chip.tma_block_m // (twin.dots * twin.halves)
    tiles = contraction.tiles(chip.tma_block_m, block_n)
    options = ({"num_warps": 8, "num_stages": chip.role_stages},)
    return Wave(chip.tma_block_m, block_n, chip.part, 0, tiles, min(chip.sms, tiles), options, chip.group_m)


def _views(plan: GemmRoles, call: Call) -> Mapping[str, TmaView | None]:
    return {name: tma.view_of(seen, call) for name, seen in plan.maps.items()}


def _cut(plan: GemmRoles, name: str, sizes: Mapping[str, int]) -> list[int]:
    """The extents of a tile of a tensor map: of a result, that of one group of warps."""
    axes = plan.maps[name].axes.split()
    return [sizes[key] // (2 if key == plan.m and plan.k not in axes else 1) for key in axes]


def _stages(views: Mapping[str, TmaView], plan: GemmRoles, chip: Chip) -> int:
    """How many steps fit shared memory, beside what is stored through it and barriers."""
    loaded = stored = 0
    for name, one in views.items():
        is_operand = plan.k in plan.maps[name].axes.split()
        size = one.itemsize * one.tile[0] * one.tile[1]
        loaded, stored = (loaded + size, stored) if is_operand else (loaded, stored + 2 * size)
    return min((chip.smem - stored - chip.reserved_smem) // loaded, chip.role_stages)


RULES: Mapping[type, Rule] = {GemmRoles: Rule(fits_roles, prefers_roles, gemm_roles)}
