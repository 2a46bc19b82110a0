"""Gemms: which schedule multiplies, and with tiles of which size.

The figures are for bf16 on an H200, chosen in looks by hand of which no raw results were kept. What `fusec tune`
measured beside the tiles for a few rows is in benchmarks/contractions/results/tuning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from fusec.ir.host import Gemm, Gemv, RowLoop, block_name
from fusec.runtime.invariant import counted, is_invariant
from fusec.runtime.launch import Launch
from fusec.runtime.product import Product
from fusec.runtime.select import rows
from fusec.runtime.select.call import Call, Tiled
from fusec.runtime.select.chip import Chip
from fusec.runtime.select.rows import elementwise
from fusec.runtime.select.rule import Rule
from fusec.runtime.select.sizes import cdiv, padded


@dataclass(frozen=True, slots=True)
class Contraction:
    """What is to be made: `batches` of `sides` by `blocks`, of sums of `inner` products, for each of so many `dots`.

    A tile has the columns of as many accumulators as there are `parts`; `halves` of them, of a single dot, are next to
    each other. So many batches multiply the same rows `again`; there are registers for `widest` columns at most, all of
    them if that is 0. Elements have `itemsize` bytes; those of f32 may be `tf32`.
    """

    batches: int
    sides: int
    blocks: int
    inner: int
    itemsize: int = 2
    dots: int = 1
    halves: int = 1
    again: int = 1
    widest: int = 0
    tf32: bool = False

    @property
    def parts(self) -> int:
        """Accumulators of a tile."""
        return padded(self.dots) * self.halves

    @property
    def matrices(self) -> int:
        """Bytes of the operands."""
        many = self.batches // self.again * self.sides
        return 2 * self.inner * (many + self.batches * self.blocks * self.parts // self.halves)

    @property
    def threads(self) -> bool:
        """Whether threads multiply, for want of a tensor core that does."""
        return self.itemsize > 2 and not self.tf32

    def tiles(self, side: int, block: int) -> int:
        """How many tiles there are."""
        return self.batches * cdiv(self.sides, side) * cdiv(self.blocks, block * self.halves)


@dataclass(frozen=True, slots=True)
class GemmTile:
    """The tile of a contraction: `side` by `block` of the output, `step` of what is contracted at a time.

    Split-K: the steps are dealt out to as many programs as there are `splits`.
    """

    side: int
    block: int
    step: int
    options: tuple[dict[str, int], ...]
    splits: int = 1


TileRule = Callable[[Contraction, Chip], GemmTile]


def is_vector(chip: Chip, rows: int, matrix: int = 0) -> bool:
    """Whether a product of so few rows reads its matrix once, row by row, and leaves the tensor core alone (GEMV).

    Where programs read more beside the row of a matrix that is their own, the elements of the `matrix` count, too.
    """
    return not is_invariant() and rows <= 1 and matrix <= chip.gemv_matrix


def is_skinny(chip: Chip, columns: int, again: int = 1) -> bool:
    """Whether so few positions of an axis are best the columns of a tile, whose rows are those of a matrix (swap-AB).

    They are not where the matrix is read `again` for each position of other axes, which could all be columns.
    """
    return not is_invariant() and columns <= chip.skinny and again <= chip.most_again


def is_for_few(plan: Gemm | Gemv, call: Call) -> bool:
    """Whether a call has so few rows, or columns, as a plan is for."""
    few = call.count(plan.few)
    if isinstance(plan, Gemv):
        return is_vector(call.chip, few, call.count(plan.matrix) if plan.matrix else 0)
    return bool(plan.few) and is_skinny(call.chip, few, call.count(plan.again))


def prefers_library(
    chip: Chip, products: tuple[Product | None, ...], tiled: bool = False, several: bool = False
) -> bool:
    """Whether the vendor's library takes the products of an op: it can, and multiplies faster than kernels of ours.

    Ours read a matrix as fast for a vector, and are fewer launches where there is little to do; less so where they are
    `several`, and much less where they do not multiply in tiles (`tiled`).
    """
    found = [product for product in products if product is not None]
    if len(found) < len(products) or is_invariant():
        return False
    if not several and any(is_vector(chip, min(product.out.shape[-2:])) for product in found):
        return False
    least = chip.library_work // (1024 if not tiled else 16 if several else 1)
    return sum(product.work for product in found) >= least


def contraction_of(plan: Gemm, call: Call) -> Contraction:
    """What a gemm makes in one sweep of the last of its contracted axes."""
    sizes = (call.count(plan.batches), call.count(plan.m), call.count(plan.n), call.size(plan.k.split()[-1]))
    return Contraction(*sizes, call.itemsize(plan.bytes), plan.dots, tf32=plan.tf32)


def tile_for(call: Call, rule: TileRule, contraction: Contraction) -> GemmTile:
    """The tile that a rule makes, with the sizes and launch options that the call's choice has for it."""
    tile = rule(contraction, call.chip)
    if call.choice is not None and call.choice.tile:
        own = {each.name for each in fields(tile)}
        changed: dict[str, Any] = {name: value for name, value in call.choice.tile if name in own}
        options = {name: value for name, value in call.choice.tile if name not in own}
        tile = replace(tile, **changed | ({"options": (options,)} if options else {}))
    call.tiled.append(Tiled(rule.__name__, asdict(contraction), tile))
    return tile


def gemm_tile(contraction: Contraction, chip: Chip) -> GemmTile:
    """The tile of a gemm.

    As large as registers allow, 64 accumulators a thread, while there is one tile for every SM. What is made of the
    operands needs registers as well: where there are too few, twice as many threads share the tile. Threads multiply
    what is of f32, and hold less, unless it may be tf32.
    """
    c, dots = contraction, contraction.dots
    # Which of the two axes counts rows is not said: neither is cut for the number of its positions.
    batches, sides, blocks = counted(c.batches), counted(c.sides), counted(c.blocks)
    side = min(max(padded(sides), 16), 64 if c.threads else 128)
    block = min(max(padded(blocks), 16), max((64 if c.threads else 128) // padded(dots), 16))
    while block > 32 and batches * cdiv(sides, side) * cdiv(blocks, block) < chip.sms:
        block //= 2
    # A step of f32 takes twice the registers: with several dots there are none left for a long one.
    longest = 64 if c.itemsize <= 2 else 32 if c.tf32 and dots == 1 else 16
    step = min(max(padded(c.inner), 16), longest)
    warps = min(max(padded(side * block * dots // 2048), 4), 8)
    stages = 3 if (side + block * dots) * step * c.itemsize * 3 <= 96 * 1024 else 2
    options = [{"num_warps": count, "num_stages": stages} for count in dict.fromkeys((warps, 8))]
    return GemmTile(side, block, step, tuple(options))


def skinny_tile(contraction: Contraction, chip: Chip) -> GemmTile:
    """The tile where columns are few (swap-AB): a narrow strip of the matrices, read far ahead."""
    c = contraction
    side = min(max(padded(c.sides), 16), max(chip.strip // padded(c.dots), 16))
    # Threads that multiply f32 hold half as many columns.
    block = min(max(padded(c.blocks), 16), 32 if c.threads else 64)
    programs, splits = c.batches * cdiv(c.sides, side) * cdiv(c.blocks, block), 1
    row = (side * c.dots + block) * c.itemsize
    wanted = chip.step // 8 if c.threads else chip.step if programs <= chip.sms else chip.step // 2
    step = max(min(padded(c.inner), wanted, 1 << (chip.step_bytes // row).bit_length() - 1), 16)
    stages = min(max(chip.staged_bytes // (row * step), 2), 4 if programs <= chip.sms else 3)
    while programs * splits < chip.few_tiles and splits < min(chip.most_split_k, cdiv(c.inner, 2 * step)):
        splits *= 2
    plain = {"num_warps": 4, "num_stages": stages}
    # Told that a thread may have as many registers as there are, the compiler spills less.
    return GemmTile(side, block, step, (plain, {**plain, "maxnreg": 248}, {**plain, "num_warps": 8}), splits)


def gemm_fits(plan: Gemm, call: Call) -> bool:
    if plan.few and not is_for_few(plan, call):
        return False
    return plan.combine is None or skinny_tile(contraction_of(plan, call), call.chip).splits > 1


def gemm(plan: Gemm, call: Call) -> list[Launch]:
    contraction = contraction_of(plan, call)
    tile = tile_for(call, skinny_tile if plan.few else gemm_tile, contraction)
    last = plan.k.split()[-1]
    blocks = {block_name(plan.m): tile.side, block_name(plan.n): tile.block, block_name(last): tile.step}
    blocks["SWAP_AB"] = bool(plan.few)
    programs = call.count(plan.batches) * cdiv(contraction.sides, tile.side) * cdiv(contraction.blocks, tile.block)
    if plan.combine is None:
        loop = {"FULL_STEPS": contraction.inner // tile.step, "HAS_TAIL": contraction.inner % tile.step != 0}
        return call.launch(plan.kernel, programs, tile.options, {**blocks, **loop})
    call.allocate(plan.sums, tile.splits)
    blocks["SPLITS"] = tile.splits
    launches = call.launch(plan.kernel, programs * tile.splits, tile.options, blocks)
    return [*launches, *elementwise(plan.combine, call, tile.splits)]


def _of(plan: Gemv) -> Rule:
    return rows.RULES[type(plan.of)]


def gemv_fits(plan: Gemv, call: Call) -> bool:
    """Whether so few rows are multiplied by threads, in registers or in a loop of any length that has room beside it.

    As rows these are few and long, and yet not split: the matrix has work for many programs.
    """
    fits = rows.has_room(plan.of, call) if isinstance(plan.of, RowLoop) else rows.resident_fits(plan.of, call)
    return is_for_few(plan, call) and fits


RULES: Mapping[type, Rule] = {
    Gemm: Rule(lambda plan, call: True, gemm_fits, gemm),
    Gemv: Rule(
        lambda plan, call: _of(plan).is_legal(plan.of, call),
        gemv_fits,
        lambda plan, call: _of(plan).launches(plan.of, call),
    ),
}
