"""Which plan multiplies and with which tiles: on both sides of every limit, and tiles that any chip can hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product

import pytest

from fusec.runtime import H200, batch_invariant
from fusec.runtime.product import Matrix, Product
from fusec.runtime.select import gemm
from fusec.runtime.select.gemm import Contraction, GemmTile

is_vector, is_skinny = partial(gemm.is_vector, H200), partial(gemm.is_skinny, H200)
prefers_library = partial(gemm.prefers_library, H200)


def gemm_tile(*facts: int) -> GemmTile:
    return gemm.gemm_tile(of_facts(*facts), H200)


def skinny_tile(*facts: int) -> GemmTile:
    return gemm.skinny_tile(of_facts(*facts), H200)


def of_facts(batches: int, sides: int, blocks: int, inner: int, itemsize: int, dots: int, tf32: int = 0) -> Contraction:
    return Contraction(batches, sides, blocks, inner, itemsize, dots, tf32=bool(tf32))


WARPS = 32
SHARED = 227 * 1024
"""Threads of a warp, and bytes of shared memory of a program on an H200."""

FACTS = list(product((1, 3), (1, 40, 4096), (1, 16, 300, 11008), (1, 64, 4096), (1, 2, 4), (1, 2, 3, 5), (False, True)))
"""Batches, sides, blocks, what is contracted, bytes of an element, dots, and whether f32 may be tf32."""


def is_power(size: int) -> bool:
    return size > 0 and size & (size - 1) == 0


@pytest.mark.parametrize("rule", [gemm_tile, skinny_tile])
def test_tiles_are_such_as_kernels_may_have(rule: Callable[..., GemmTile]) -> None:
    for facts in FACTS:
        tile = rule(*facts)
        assert all(size >= 16 and is_power(size) for size in (tile.block_m, tile.block_n, tile.block_k)), facts
        assert is_power(tile.splits), facts
        for way in tile.options:
            assert is_power(way["num_warps"]), facts
            assert 2 <= way["num_stages"] <= 4, facts


def test_registers_and_shared_memory_hold_a_tile() -> None:
    for batches, sides, blocks, inner, itemsize, dots, tf32 in FACTS:
        tile = gemm_tile(batches, sides, blocks, inner, itemsize, dots, tf32)
        threads = WARPS * tile.options[-1]["num_warps"]
        assert tile.block_m * tile.block_n * dots <= 64 * threads or tile.block_n == 16
        for rule in (gemm_tile, skinny_tile):
            tile = rule(batches, sides, blocks, inner, itemsize, dots, tf32)
            way = tile.options[0]
            moved = [tile.block_m * dots + tile.block_n, tile.block_m + tile.block_n * dots][rule is gemm_tile]
            assert moved * tile.block_k * itemsize * way["num_stages"] <= SHARED


def of(tile: GemmTile) -> tuple[int, int, int, int, int]:
    return tile.block_m, tile.block_n, tile.block_k, tile.options[0]["num_warps"], tile.options[0]["num_stages"]


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ((1, 4096, 11008, 4096, 2, 1), (128, 128, 64, 8, 3)),
        ((1, 4096, 11008, 4104, 2, 1), (128, 128, 64, 8, 3)),
        ((1, 4096, 11008, 4097, 2, 1), (128, 128, 32, 8, 3)),
        ((1, 4096, 11008, 4096, 2, 2), (128, 64, 64, 8, 3)),
        ((1, 4096, 11008, 4096, 2, 3), (128, 32, 64, 8, 3)),
        ((1, 4096, 11008, 4096, 2, 8), (128, 16, 64, 8, 3)),
        ((1, 4096, 11008, 4096, 2, 16), (128, 16, 64, 8, 2)),
        # Narrower until there is one for every multiprocessor: 131 and 132 of them.
        ((131, 128, 128, 4096, 2, 1), (128, 64, 64, 4, 3)),
        ((132, 128, 128, 4096, 2, 1), (128, 128, 64, 8, 3)),
        ((1, 1000, 128, 4096, 2, 1), (128, 32, 64, 4, 3)),
        ((1, 5, 3, 2, 2, 1), (16, 16, 16, 4, 3)),
        # Threads multiply what is of f32, and hold less.
        ((1, 4096, 4096, 4096, 4, 1), (64, 64, 16, 4, 3)),
        ((1, 4096, 4096, 4096, 4, 2), (64, 32, 16, 4, 3)),
        ((1, 4096, 4096, 4096, 4, 1, True), (128, 128, 32, 8, 3)),
        ((1, 4096, 4096, 4096, 4, 2, True), (128, 64, 16, 8, 3)),
    ],
)
def test_tiles_of_many_rows(facts: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    tile = gemm_tile(*facts)
    assert of(tile) == wanted
    assert [way["num_warps"] for way in tile.options] == sorted({wanted[3], 8})
    assert tile.splits == 1


@pytest.mark.parametrize(("inner", "crowded", "columns"), [(4096, True, 128), (4095, False, 128), (4095, True, 64)])
def test_tiles_are_narrow_where_operands_and_what_is_read_beside_pass_through_registers(
    inner: int, crowded: bool, columns: int
) -> None:
    assert gemm.gemm_tile(Contraction(1, 4096, 4096, inner, crowded=crowded), H200).block_n == columns


@pytest.mark.parametrize(
    ("facts", "wanted", "splits"),
    [
        ((1, 18944, 4, 3584, 2, 1), (64, 16, 128, 4, 3), 1),
        ((1, 11008, 16, 4096, 2, 2), (32, 16, 128, 4, 3), 1),
        ((1, 3584, 1, 18944, 2, 1), (64, 16, 128, 4, 3), 4),
        ((1, 3584, 1, 18944, 1, 1), (64, 16, 256, 4, 4), 4),
        ((1, 8448, 16, 4096, 2, 1), (64, 16, 256, 4, 4), 1),
        ((1, 8449, 16, 4096, 2, 1), (64, 16, 128, 4, 3), 1),
        ((1, 3072, 16, 3584, 2, 1), (64, 16, 256, 4, 4), 1),
        ((1, 3008, 16, 3584, 2, 1), (64, 16, 256, 4, 4), 2),
        ((1, 1024, 16, 1024, 2, 1), (64, 16, 256, 4, 4), 2),
        ((1, 64, 16, 1 << 20, 2, 1), (64, 16, 256, 4, 4), 8),
        ((1, 64, 16, 513, 2, 1), (64, 16, 256, 4, 4), 2),
        ((1, 64, 16, 512, 2, 1), (64, 16, 256, 4, 4), 1),
        ((1, 1024, 16, 1024, 2, 3), (16, 16, 256, 4, 4), 1),
        ((1, 3, 2, 2, 2, 1), (16, 16, 16, 4, 4), 1),
        ((1, 11008, 100, 4096, 2, 1), (64, 64, 128, 4, 3), 1),
        ((1, 11008, 16, 4096, 4, 1), (64, 16, 32, 4, 3), 1),
        ((1, 64, 16, 64, 4, 1), (64, 16, 32, 4, 4), 1),
        ((1, 11008, 16, 4096, 4, 1, True), (64, 16, 128, 4, 3), 1),
        # 48 KB of a step at most.
        ((1, 2048, 64, 4096, 4, 1, True), (64, 64, 64, 4, 4), 2),
        ((1, 3072, 64, 4096, 2, 1), (64, 64, 128, 4, 4), 1),
    ],
)
def test_tiles_of_a_few_rows(facts: tuple[int, ...], wanted: tuple[int, ...], splits: int) -> None:
    tile = skinny_tile(*facts)
    assert (of(tile), tile.splits) == (wanted, splits)
    assert [(way["num_warps"], way.get("maxnreg")) for way in tile.options] == [(4, None), (4, 248), (8, None)]


def test_a_vector_and_a_few_rows_have_plans_of_their_own() -> None:
    assert [is_vector(rows, matrix) for rows, matrix in ((1, 0), (2, 0), (1, 2**25), (1, 2**25 + 1))] == [1, 0, 1, 0]
    assert [is_skinny(*facts) for facts in ((16,), (17,), (16, 1), (16, 2))] == [1, 0, 1, 0]
    with batch_invariant():
        assert not is_vector(1)
        assert not is_skinny(1)


def square(rows: int, inner: int, columns: int) -> Product:
    sizes = {"a": (rows, inner), "b": (inner, columns), "out": (rows, columns)}
    return Product(*(Matrix(name, shape, (shape[1], 1)) for name, shape in sizes.items()))


def test_the_library_takes_what_pays_for_its_launches() -> None:
    least = {(True, False): 2**26, (True, True): 2**22, (False, False): 2**16, (False, True): 2**16}
    for (tiled, several), work in least.items():
        assert prefers_library((square(4, work // 32, 8),), tiled, several)
        assert not prefers_library((square(4, work // 32 - 1, 8),), tiled, several)
        assert prefers_library((square(4, work // 64, 8),) * 2, tiled, several)
    assert not prefers_library((square(4, 2**22, 8), None), True)
    assert not prefers_library((square(1, 2**24, 8),), True)
    assert not prefers_library((square(8, 2**24, 1),), True)
    assert prefers_library((square(1, 2**24, 8),), True, True)
    assert prefers_library((square(2, 2**24, 8),), True)
    with batch_invariant():
        assert not prefers_library((square(4, 2**22, 8),), True)
