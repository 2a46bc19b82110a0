"""Dots: which plan multiplies, and with tiles of which size.

The figures are for bf16 on an H200, chosen in looks by hand of which no raw results were kept. What `fusec tune`
measured beside the tiles of `few_tile` is in benchmarks/contractions/results/tuning.
"""

# For files that were generated before there were host tables: it goes as soon as generated/ is built again.

from __future__ import annotations

from dataclasses import dataclass

from fusec.runtime.invariant import counted, is_invariant
from fusec.runtime.product import Product
from fusec.runtime.tiles import cdiv, padded

LIBRARY_WORK = STEPS_WORK = 2**26
"""Multiplications from which on a faster product pays for the launches around it: the library's, and one in boxes."""

VECTOR_MATRIX = 2**25
"""Elements of a matrix up to which a vector is multiplied by threads, though they read as much beside the matrix."""

FEW = 16
"""Up to so many positions of an axis are the columns of a tile, and a product is as fast as its matrix is read."""

MOST_AGAIN = 1
"""How often the matrix may be read for that."""

SIDE = 64
"""Rows of a matrix that such a tile has, of all the matrices that share its columns."""

STEP = 256
"""Elements of each row that it multiplies at a time: half as many where every multiprocessor has several tiles.

Where it is threads that multiply, as all of f32, it is an eighth.
"""

STEP_BYTES, STAGED_BYTES = 48 * 1024, 160 * 1024
"""Bytes of a step of it at most, and of all the steps under way."""

BUSY = 132
"""Multiprocessors of a chip."""

SHARED = 48
"""With fewer tiles than this several programs share each: it takes so many to read as fast as the chip can."""

MOST_SHARES = 8
"""Programs that share a tile at most."""


@dataclass(frozen=True, slots=True)
class Tile:
    """The tile of a contraction: `side` by `block` of the output, `step` of what is contracted at a time.

    The steps are dealt out to as many programs as there are `splits`.
    """

    side: int
    block: int
    step: int
    options: tuple[dict[str, int], ...]
    splits: int = 1


def is_vector(rows: int, matrix: int = 0) -> bool:
    """Whether a product of so few rows reads its matrix once, row by row, and leaves the matrix unit alone.

    Where programs read more beside the row of a matrix that is their own, the elements of the `matrix` count, too.
    """
    return not is_invariant() and rows <= 1 and matrix <= VECTOR_MATRIX


def takes_few(columns: int, again: int = 1) -> bool:
    """Whether so few positions of an axis are best the columns of a tile, whose rows are those of a matrix.

    They are not where the matrix is read `again` for each position of other axes, which could all be columns.
    """
    return not is_invariant() and columns <= FEW and again <= MOST_AGAIN


def pays_for_steps(work: int) -> bool:
    """Whether a product in boxes of so many multiplications pays for the kernel that stores its operand first."""
    return is_invariant() or work >= STEPS_WORK


def prefers_library(products: tuple[Product | None, ...], tiled: bool = False, several: bool = False) -> bool:
    """Whether the vendor's library takes the products of an op: it can, and multiplies faster than kernels of ours.

    Ours read a matrix as fast for a vector, and are fewer launches where there is little to do; less so where they are
    `several`, and much less where they do not multiply in tiles (`tiled`).
    """
    found = [product for product in products if product is not None]
    if len(found) < len(products) or is_invariant():
        return False
    if not several and any(is_vector(min(product.out.shape[-2:])) for product in found):
        return False
    least = LIBRARY_WORK // (1024 if not tiled else 16 if several else 1)
    return sum(product.work for product in found) >= least


def product_tile(
    batches: int, sides: int, blocks: int, inner: int, itemsize: int, dots: int, tf32: bool = False
) -> Tile:
    """The tile for `batches` products of `sides` by `blocks`, with so many `dots` that share an operand.

    As large as registers allow, 64 accumulators a thread, while there is one tile for every multiprocessor. What is
    made of the operands needs registers as well: where there are too few, twice as many threads share the tile. Threads
    multiply what is of f32, and hold less, unless it may be `tf32`.
    """
    threads = itemsize > 2 and not tf32
    # Which of the two axes counts rows is not said: neither is cut for the number of its positions.
    batches, sides, blocks = counted(batches), counted(sides), counted(blocks)
    side = min(max(padded(sides), 16), 64 if threads else 128)
    block = min(max(padded(blocks), 16), max((64 if threads else 128) // padded(dots), 16))
    while block > 32 and batches * cdiv(sides, side) * cdiv(blocks, block) < BUSY:
        block //= 2
    # A step of f32 takes twice the registers: with several dots there are none left for a long one.
    longest = 64 if itemsize <= 2 else 32 if tf32 and dots == 1 else 16
    step = min(max(padded(inner), 16), longest)
    warps = min(max(padded(side * block * dots // 2048), 4), 8)
    stages = 3 if (side + block * dots) * step * itemsize * 3 <= 96 * 1024 else 2
    ways = [{"num_warps": count, "num_stages": stages} for count in dict.fromkeys((warps, 8))]
    return Tile(side, block, step, tuple(ways))


def few_tile(batches: int, sides: int, blocks: int, inner: int, itemsize: int, dots: int, tf32: bool = False) -> Tile:
    """The tile where `blocks` are few, else as for `product_tile`: a narrow strip of the matrices, read far ahead."""
    side = min(max(padded(sides), 16), max(SIDE // padded(dots), 16))
    block = min(max(padded(blocks), 16), 64)
    programs, splits = batches * cdiv(sides, side) * cdiv(blocks, block), 1
    row = (side * dots + block) * itemsize
    threads = itemsize > 2 and not tf32
    wanted = STEP // 8 if threads else STEP if programs <= BUSY else STEP // 2
    step = max(min(padded(inner), wanted, 1 << (STEP_BYTES // row).bit_length() - 1), 16)
    stages = min(max(STAGED_BYTES // (row * step), 2), 4 if programs <= BUSY else 3)
    while programs * splits < SHARED and splits < min(MOST_SHARES, cdiv(inner, 2 * step)):
        splits *= 2
    plain = {"num_warps": 4, "num_stages": stages}
    # Told that a thread may have as many registers as there are, the compiler spills less.
    return Tile(side, block, step, (plain, {**plain, "maxnreg": 248}, {**plain, "num_warps": 8}), splits)
