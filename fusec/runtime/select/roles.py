"""Gemms in roles: which calls they take, and their launch. One warp loads, two groups of warps multiply and add up.

On an H200 (Triton 3.6, L2 cold) 8192^3 of f8 with exact sums took 793 us, 767 in the library and 1124 by TMA without
roles; a gated MLP of 2048 by 14336, K = 4096, 378 us for its two products, of which the library makes one in 179.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from fusec.ir.host.names import block_name
from fusec.ir.host.schedules import Gemm, GemmRoles, GemmTma, Matrix, TensorMap
from fusec.runtime.invariant import is_invariant
from fusec.runtime.launch import Launch
from fusec.runtime.select import tma
from fusec.runtime.select.call import Call, Tiled
from fusec.runtime.select.chip import ROLES_ON, Chip
from fusec.runtime.select.gemm import gemm, gemm_tile, has_room
from fusec.runtime.select.rule import Rule
from fusec.runtime.select.tiles import Contraction, Wave
from fusec.runtime.select.time_model import gemm_time, waves_us
from fusec.runtime.tensor_map import TmaView, moves_tiles, tma_view


def twin_of(plan: GemmRoles, call: Call) -> GemmTma | Gemm:
    """The schedule that computes the same in plain Triton."""
    plans = (each for step in call.plans.every() for each in step.plans if isinstance(each, GemmTma | Gemm))
    return next(each for each in plans if each.kernel is plan.twin)


def fits_roles(plan: GemmRoles, call: Call) -> bool:
    """Whether the chip has what roles are written for, and TMA moves all tiles, of a single product."""
    twin, across = twin_of(plan, call), plan.across.split()
    alone = " ".join(key for key in twin.batches.split() if key not in across)
    if call.chip.capability != ROLES_ON or is_invariant() or call.count(alone) != 1:
        return False
    if isinstance(twin, GemmTma):
        fits = tma.fits_tma(twin, call)
    else:
        fits = has_room(twin, call) and (call.walks is None or len(call.walks.offsets) == 1)
    # The columns of a tile are of one position of other axes.
    within = call.count(plan.across) == 1 or call.count(plan.n) % _wave(plan, call).block_n == 0
    views, given = list(_views(plan, call).values()), tma.given(plan, call)
    return fits and within and moves_tiles(views, *given, device=call.device)


def prefers_roles(plan: GemmRoles, call: Call) -> bool:
    """Whether it is faster than the smaller tiles of the twin, which keep more of the chip busy where there are few."""
    if not fits_roles(plan, call):
        return False
    twin, chip = twin_of(plan, call), call.chip
    if isinstance(twin, GemmTma):
        return best_us(plan, call) <= tma.best_us(tma.contraction_of(twin, call), chip)
    contraction, share = contraction_of(plan, call), chip.parts_share if twin.in_parts else 1
    slower = replace(chip, loop_mma_per_us=chip.loop_mma_per_us * share)
    plain = gemm_time(contraction, gemm_tile(contraction, chip), slower)
    return plain is None or best_us(plan, call) <= plain.us


def best_us(plan: GemmRoles, call: Call) -> float:
    """How many microseconds it takes, by the time model."""
    return waves_us(contraction_of(plan, call), (_wave(plan, call),), call.chip)


def contraction_of(plan: GemmRoles, call: Call) -> Contraction:
    """What it makes: the tensor core works while parts of sums are added, and integers are as fast as others."""
    twin = twin_of(plan, call)
    if isinstance(twin, GemmTma):
        return replace(tma.contraction_of(twin, call), in_parts=False, integers=False)
    return Contraction(1, call.count(plan.m), call.count(f"{plan.across} {plan.n}"), call.count(plan.k), itemsize=1)


def gemm_roles(plan: GemmRoles, call: Call) -> list[Launch]:
    twin, chip, contraction = twin_of(plan, call), call.chip, contraction_of(plan, call)
    wave = _wave(plan, call)
    # Where sums stand beside a part of them, the kernel has no halves.
    columns = wave.block_n * (contraction.halves if twin.in_parts else 1)
    call.tiled.append(Tiled(tma.tma_tile.__name__, asdict(contraction), wave.tile))
    (plain,) = tma.launched(twin, call, wave) if isinstance(twin, GemmTma) else gemm(twin, call)
    sizes = {plan.m: chip.tma_block_m, plan.n: columns, plan.k.split()[-1]: wave.block_k}
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
    beside = twin.in_parts or not isinstance(twin, GemmTma)
    held = chip.accumulator_columns // (2 if beside else 1)
    block_n = held // (contraction.dots * contraction.halves)
    tiles = contraction.tiles(chip.tma_block_m, block_n)
    options = ({"num_warps": 8, "num_stages": chip.role_stages},)
    return Wave(chip.tma_block_m, block_n, chip.part, 0, tiles, min(chip.sms, tiles), options, chip.group_m)


def _views(plan: GemmRoles, call: Call) -> Mapping[str, TmaView | None]:
    return {name: _view(seen, plan, call) for name, seen in plan.maps.items()}


def _view(seen: TensorMap, plan: GemmRoles, call: Call) -> TmaView | None:
    """How TMA sees a tensor map: rows and columns, in either of which several axes have to lie evenly."""
    if not plan.across and len(plan.k.split()) == 1:
        return tma.view_of(seen, call)
    keys, inner = seen.axes.split(), plan.k.split()
    columns = inner if set(inner) & set(keys) else [*plan.across.split(), plan.n]
    rows = [key for key in (plan.m, *plan.across.split(), plan.n) if key in keys and key not in columns]
    (matrix,) = seen.tensors
    axes = [_evenly(part, matrix, call) for part in (rows, columns)]
    if None in axes:
        return None
    about = ((tma.tensor_of(matrix),), call.itemsize(seen.bytes))
    return tma_view(*about, *(axis for axis in axes if axis), offsets=(call.offset(matrix),))


def _evenly(keys: list[str], matrix: str | Matrix, call: Call) -> tuple[int, int] | None:
    """The extent and the stride of several axes as one; None where they lie otherwise."""
    found: tuple[int, int] | None = None
    for key in reversed(keys):
        size, stride = call.size(key), call.stride(matrix, key)
        if found is None:
            found = size, stride
        elif size > 1 and stride != found[0] * found[1]:
            return None
        else:
            found = size * found[0], found[1]
    return found


def _cut(plan: GemmRoles, name: str, sizes: Mapping[str, int]) -> list[int]:
    """The extents of a tile of a tensor map, rows and columns: of a result, that of one group of warps."""
    axes, inner = plan.maps[name].axes.split(), plan.k.split()[-1]
    if inner not in axes:
        return [sizes[plan.m] // 2, sizes[plan.n]]
    rows = plan.m if plan.m in axes else plan.n
    return [sizes[rows] * (2 if plan.maps[name].halves else 1), sizes[inner]]


def _stages(views: Mapping[str, TmaView], plan: GemmRoles, chip: Chip) -> int:
    """How many steps fit shared memory, beside what is stored through it and barriers."""
    loaded = stored = 0
    for name, one in views.items():
        is_operand = plan.k.split()[-1] in plan.maps[name].axes.split()
        size = one.itemsize * one.tile[0] * one.tile[1]
        loaded, stored = (loaded + size, stored) if is_operand else (loaded, stored + 2 * size)
    return min((chip.smem - stored - chip.reserved_smem) // loaded, chip.role_stages)


RULES: Mapping[type, Rule] = {GemmRoles: Rule(fits_roles, prefers_roles, gemm_roles)}
