"""Gemms: which schedule multiplies, and with tiles of which size.

The figures are for bf16 on an H200, chosen in looks by hand of which no raw results were kept. What `fusec tune`
measured beside the tiles for a few rows is in benchmarks/contractions/results/tuning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from fusec.ir.host.names import block_name, stride_names
from fusec.ir.host.schedules import Gemm, GemmTma, Gemv, RowLoop
from fusec.runtime.eight_bits import copies
from fusec.runtime.invariant import counted, is_invariant
from fusec.runtime.launch import Launch
from fusec.runtime.layout import join_axes
from fusec.runtime.product import Product
from fusec.runtime.select import rows
from fusec.runtime.select.call import Call, pointers
from fusec.runtime.select.chip import MMA, WARP, Chip
from fusec.runtime.select.rows import elementwise
from fusec.runtime.select.rule import Rule
from fusec.runtime.select.sizes import cdiv, padded, power_within
from fusec.runtime.select.tiles import Contraction, GemmTile
from fusec.runtime.select.unpacked import narrow_rows, unpacked_tile

TileRule = Callable[[Contraction, Chip], GemmTile]


def is_vector(chip: Chip, rows: int, matrix: int = 0) -> bool:
    """Whether a product of so few rows reads its matrix once, row by row, and leaves the tensor core alone (GEMV).

    A `matrix` of so many elements is left to tiles where it is large: they read it faster.
    """
    return not is_invariant() and rows <= 1 and matrix <= chip.gemv_matrix


def is_skinny(chip: Chip, columns: int, again: int = 1, most: int | None = None) -> bool:
    """Whether so few positions of an axis are best the columns of a tile, whose rows are those of a matrix (swap-AB).

    They are not where the matrix is read `again` for each position of other axes, which could all be columns.
    """
    most = chip.skinny if most is None else most
    return not is_invariant() and columns <= most and again <= chip.most_again


def has_room(plan: Gemm | GemmTma, call: Call) -> bool:
    """Whether the sums of a contraction have room for all that is contracted, and a step for a group of it."""
    if isinstance(plan, Gemm) and plan.grouped:
        contraction = contraction_of(plan, call)
        return padded(contraction.k) * plan.each * contraction.itemsize <= call.chip.group_bytes
    return not plan.most or call.count(plan.k) <= plan.most


def is_for_few(plan: Gemm | Gemv, call: Call) -> bool:
    """Whether a call has so few rows, or columns, as a plan is for."""
    if isinstance(plan, Gemv):
        return is_vector(call.chip, call.count(plan.few), call.count(plan.matrix) if plan.matrix else 0)
    call = as_one(plan, call)
    few = call.count(plan.few)
    most = call.chip.unpacked_columns if unpacked_axis(plan, call) == plan.m else call.chip.skinny
    return bool(plan.few) and has_room(plan, call) and is_skinny(call.chip, few, call.count(plan.again), most)


def as_one(plan: Gemm, call: Call) -> Call:
    """The call with all axes of a few rows as one, where they lie evenly in all that a plan reads and makes."""
    if not plan.joined or call.count(plan.again) == 1:
        return call
    keys, kernels = plan.joined.split(), (plan.kernel, *([plan.combine.kernel] if plan.combine else []))
    names = dict.fromkeys(name for kernel in kernels for name in pointers(kernel) if name in call.plans.strides)
    dims = {name: tuple(call.plans.strides[name].split()) for name in names if call.is_given(name)}
    walked = [name for name in dims if set(keys) & set(dims[name])]
    axes = join_axes((call.size(key), *(call.stride(name, key) for name in walked)) for key in keys)
    if len(axes) != 1 or not axes[0][0]:
        return call
    ((count, steps),) = axes
    strides = {stride_names(n, dims[n])[dims[n].index(plan.few)]: step for n, step in zip(walked, steps, strict=True)}
    return replace(call, sizes={**call.sizes, **dict.fromkeys(keys, 1), plan.few: count, **strides})


def unpacked_axis(plan: Gemm, call: Call) -> str:
    """The axis of the operand that is made in registers for the tensor core: "" where threads multiply, or tf32."""
    return plan.unpacked if call.itemsize(plan.bytes) <= 2 else ""


def prefers_library(
    chip: Chip, products: tuple[Product | None, ...], tiled: bool = False, several: bool = False
) -> bool:
    """Whether the vendor's library takes the products of an op: it can, and multiplies faster than kernels of ours.

    Ours multiply integers faster, read a matrix as fast for a vector, and are fewer launches where there is little to
    do; less so where they are `several`, and much less where they do not multiply in tiles (`tiled`).
    """
    found = [product for product in products if product is not None]
    if len(found) < len(products) or is_invariant():
        return False
    if not several and any(is_vector(chip, min(product.out.shape[-2:])) for product in found):
        return False
    work = chip.int8_work if any(product.in_8_bits == "i8" for product in found) else chip.library_work
    if any(map(copies, found)):
        work = max(work, chip.copying_work)
    least = work // (chip.untiled_share if not tiled else chip.several_share if several else 1)
    return sum(product.work for product in found) >= least


def contraction_of(plan: Gemm, call: Call) -> Contraction:
    """What a gemm makes in one sweep of the last of its contracted axes."""
    sizes = (call.count(plan.batches), call.count(plan.m), call.count(plan.n), call.size(plan.k.split()[-1]))
    crowded, bytes = plan.beside >= plan.dots, call.itemsize(plan.bytes)
    return Contraction(*sizes, bytes, plan.dots, crowded=crowded, tf32=plan.tf32, in_parts=plan.in_parts)


def tile_for(call: Call, rule: TileRule, contraction: Contraction) -> GemmTile:
    """The tile that a rule makes, or the call's choice."""
    return call.chosen(rule.__name__, asdict(contraction), rule(contraction, call.chip))


def gemm_tile(contraction: Contraction, chip: Chip) -> GemmTile:
    """The tile of a gemm.

    As large as registers allow, 64 accumulators a thread, while there is one tile for every SM. What is made of the
    operands needs registers as well: where there are too few, twice as many threads share the tile. Threads multiply
    what is of f32, and hold less, unless it may be tf32.
    """
    c, dots = contraction, contraction.dots
    # Which of the two axes counts rows is not said: neither is cut for the number of its positions.
    batches, m, n = counted(c.batches), counted(c.m), counted(c.n)
    most = chip.thread_block if c.threads else chip.gemm_block
    block_m = min(max(padded(m), MMA), most)
    block_n = min(max(padded(n), MMA), max(most // padded(dots), MMA))
    while block_n > 2 * MMA and batches * cdiv(m, block_m) * cdiv(n, block_n) < chip.sms:
        block_n //= 2
    # A step of f32 takes twice the registers: with several dots there are none left for a long one.
    longest = 2 * chip.gemm_block_k // (c.itemsize if c.itemsize <= 2 else 4 if c.tf32 and dots == 1 else 8)
    if c.itemsize <= 2 and c.itemsize * c.k % 16:
        # Rows that begin anywhere are loaded into registers first, where only 16 bytes at a time go past them.
        # Numbers of 8 bits are put together there one by one, which takes as many again.
        longest = max(longest // 2, MMA)
        block_n = max(block_n // 2, MMA) if c.crowded or c.itemsize == 1 else block_n
    block_k = min(max(padded(c.k), c.least_k), longest)
    warps = min(max(padded(block_m * block_n * dots // (2 * WARP * WARP)), 4), 8)
    stages = 3 if (block_m + block_n * dots) * block_k * c.itemsize * 3 <= chip.gemm_staged_bytes else 2
    options = [{"num_warps": count, "num_stages": stages} for count in dict.fromkeys((warps, 8))]
    return GemmTile(block_m, block_n, block_k, tuple(options))


def skinny_tile(contraction: Contraction, chip: Chip) -> GemmTile:
    """The tile where columns are few (swap-AB): a narrow strip of the matrices, read far ahead."""
    c = contraction
    block_m = min(max(padded(c.m), MMA), max(chip.skinny_block_m // padded(c.dots), MMA))
    # Threads that multiply f32 hold half as many columns.
    block_n = min(max(padded(c.n), MMA), chip.skinny_block_n // (2 if c.threads else 1))
    row = (block_m * c.dots + block_n) * c.itemsize

    def step(share: int) -> int:
        longest = chip.skinny_block_k // (8 if c.threads else share)
        return max(min(padded(c.k), longest, power_within(chip.skinny_step_bytes // row)), c.least_k)

    programs, splits = c.batches * cdiv(c.m, block_m) * cdiv(c.n, block_n), 1
    wanted = min(3 * chip.few_tiles, chip.sms) if c.matrices >= chip.long_matrix else chip.few_tiles
    while programs * splits < wanted and splits < min(chip.most_split_k, cdiv(c.k, 2 * step(1))):
        splits *= 2
    # Of 8 bits twice as many are as long.
    is_wide = programs * splits <= chip.sms or c.itemsize == 1
    block_k = step(1 if is_wide else 2)
    stages = min(max(chip.skinny_staged_bytes // (row * block_k), 2), 4 if is_wide else 3)
    plain = {"num_warps": 4, "num_stages": stages}
    # Told that a thread may have as many registers as there are, the compiler spills less.
    others = {**plain, "maxnreg": chip.thread_registers}, {**plain, "num_warps": 8}
    return GemmTile(block_m, block_n, block_k, (plain, *others), splits)


def gemm_fits(plan: Gemm, call: Call) -> bool:
    if not has_room(plan, call) or (plan.few and not is_for_few(plan, call)):
        return False
    call = as_one(plan, call)
    return plan.combine is None or _tile_by_rule(plan, call, contraction_of(plan, call)).splits > 1


def gemm(plan: Gemm, call: Call) -> list[Launch]:
    call = as_one(plan, call)
    contraction = contraction_of(plan, call)
    tile = _tile(plan, call, contraction)
    last = plan.k.split()[-1]
    blocks: dict[str, Any] = {
        block_name(plan.m): tile.block_m,
        block_name(plan.n): tile.block_n,
        block_name(last): tile.block_k,
    }
    full, tail = steps(contraction.k, tile.block_k, bool(plan.few))
    # The tensor core takes the rows of its tiles from registers, and their columns from shared memory.
    swapped = bool(plan.few) or unpacked_axis(plan, call) == plan.n
    blocks |= {"SWAP_AB": swapped, "FULL_STEPS": full, "TAIL_STEPS": tail}
    programs = call.count(plan.batches) * cdiv(contraction.m, tile.block_m) * cdiv(contraction.n, tile.block_n)
    if plan.combine is None or tile.splits == 1:
        blocks |= {"SPLIT_K": 1, **{f"{name}_ptr": None for name in plan.sums}}
        return call.launch(plan.kernel, programs, tile.options, blocks)
    call.allocate(plan.sums, tile.splits)
    blocks["SPLIT_K"] = tile.splits
    launches = call.launch(plan.kernel, programs * tile.splits, tile.options, blocks)
    return [*launches, *elementwise(plan.combine, call, tile.splits)]


def _tile(plan: Gemm, call: Call, contraction: Contraction) -> GemmTile:
    """The tile of a plan: by the rule for its operands, or the call's choice. A step has a group as a whole."""
    tile = call.chosen(_rule(plan, call).__name__, asdict(contraction), _tile_by_rule(plan, call, contraction))
    return replace(tile, block_k=max(padded(contraction.k), contraction.least_k)) if plan.grouped else tile


def _rule(plan: Gemm, call: Call) -> Callable[..., GemmTile]:
    return unpacked_tile if unpacked_axis(plan, call) else skinny_tile if plan.few else gemm_tile


def _tile_by_rule(plan: Gemm, call: Call, contraction: Contraction) -> GemmTile:
    if not (unpacked := unpacked_axis(plan, call)):
        return (skinny_tile if plan.few else gemm_tile)(contraction, call.chip)
    *outer, _ = plan.k.split()
    return unpacked_tile(contraction, call.chip, unpacked == plan.m, plan.each, call.count(" ".join(outer)))


def steps(inner: int, step: int, few: bool) -> tuple[int, int]:
    """The whole steps of the loop of a gemm, and those that are masked: the tail, or all of them.

    The loop of the tail is a second one, which takes registers of its own: half as many again. For a `few` columns all
    steps are masked: they wait for memory anyway. A single whole step is no loop, and would stand beside its tail.
    """
    full, rest = divmod(inner, step)
    return (0, full + 1) if rest and (few or full == 1) else (full, int(rest > 0))


def _of(plan: Gemv) -> Rule:
    return rows.RULES[type(plan.of)]


def gemv_fits(plan: Gemv, call: Call) -> bool:
    """Whether so few rows are multiplied by threads, in registers or in a loop of any length that has room beside it.

    As rows these are few and long, and yet not split: the matrix has work for many programs.
    """
    fits = rows.has_room(plan.of, call) if isinstance(plan.of, RowLoop) else rows.resident_fits(plan.of, call)
    return is_for_few(plan, call) and fits


def gemv(plan: Gemv, call: Call) -> list[Launch]:
    """Rows in a loop, which the matrix leaves the cache for; those that registers hold in one step of that."""
    if isinstance(plan.of, RowLoop) and plan.narrow:
        return narrow_rows(plan.of, call)
    if isinstance(plan.of, RowLoop):
        return rows.row_loop(plan.of, call, {"EVICT": "evict_first"})
    size = call.size(plan.of.loop)
    steps = rows.loop_steps(size, padded(size))
    # Lanes that are `HELD` apart are accesses of their own.
    return rows.resident(plan.of, call, {**steps, "HELD": MMA, "EVICT": "evict_last"})


RULES: Mapping[type, Rule] = {
    Gemm: Rule(has_room, gemm_fits, gemm),
    Gemv: Rule(
        lambda plan, call: _of(plan).is_legal(plan.of, call),
        gemv_fits,
        gemv,
    ),
}
