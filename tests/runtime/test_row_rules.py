"""How rows are computed, where it was measured: the figures of docs/row-tiles.md, on both sides of every limit.

A fault here makes no value wrong, only calls slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from fusec.runtime import H200
from fusec.runtime.select import row_tiles, row_vectors, rows
from fusec.runtime.select.rows import Block
from fusec.runtime.select.sizes import together, vec_width

blocks, chunk_size, columns = (partial(rule, H200) for rule in (rows.blocks_for, rows.chunk_size, rows.columns))
holds_columns, holds_row = partial(rows.holds_columns, H200), partial(rows.holds_row, H200)
lanes, prefers_loop = partial(rows.lanes_for, H200), partial(rows.prefers_loop, H200)
row_options, row_warps = partial(rows.row_options, H200), partial(rows.row_warps, H200)
split_chunk, split_count = partial(rows.split_chunk, H200), partial(rows.split_count, H200)
launch_options, warps = partial(rows.launch_options, H200), partial(rows.warps, H200)

MANY, FEW = 1000, 132
"""Rows that fill the chip, and the most that do not."""


@pytest.mark.parametrize(
    ("rows", "longest", "itemsize", "inputs", "compact", "words"),
    [
        (MANY, 8192, 2, 1, True, 1.0),
        (MANY, 32768, 2, 2, True, 1.0),
        (MANY, 16384, 4, 2, True, 1.0),
        (MANY, 16384, 2, 3, True, 1.0),
        (MANY, 16384, 2, 2, False, 1.0),
        (MANY, 4096, 2, 1, True, 12.0),
        (FEW + 1, 8192, 2, 1, True, 1.0),
        (FEW, 32768, 2, 1, True, 1.5),
        (FEW, 16384, 2, 1, True, 2.0),
        (FEW, 16384, 2, 1, False, 1.0),
    ],
)
def test_rows_up_to_a_length_are_held(
    rows: int, longest: int, itemsize: int, inputs: int, compact: bool, words: float
) -> None:
    assert holds_row(rows, longest, itemsize, inputs, compact, words)
    assert not holds_row(rows, longest + 1, itemsize, inputs, compact, words)


def test_a_row_that_wastes_more_than_a_quarter_of_its_lanes_is_a_loop() -> None:
    assert [holds_row(MANY, size, 2, 1, True, 1.0) for size in (4096, 4097, 6553, 6554)] == [True, False, False, True]
    assert holds_row(FEW, 4097, 2, 1, True, 1.0)
    assert holds_row(MANY, 4097, 2, 2, True, 1.0)


@pytest.mark.parametrize(
    ("rows", "size", "itemsize", "inputs", "wanted"),
    [
        (MANY, 64, 2, 1, 2),
        (MANY, 4096, 2, 1, 4),
        (MANY, 4097, 2, 1, 8),
        (MANY, 8192, 4, 1, 16),
        (MANY, 32768, 2, 1, 16),
        (MANY, 8192, 4, 2, 16),
        (MANY, 16384, 4, 2, 32),
        (FEW, 8192, 2, 1, 16),
        (FEW, 32768, 2, 1, 32),
    ],
)
def test_a_thread_has_64_bytes_of_an_input_and_32_with_few_rows(
    rows: int, size: int, itemsize: int, inputs: int, wanted: int
) -> None:
    assert row_warps(rows, size, itemsize, inputs) == wanted


@pytest.mark.parametrize("access", [2, 4, 16])
def test_tiles_of_one_size_cover_a_row_and_leave_few_lanes_outside(access: int) -> None:
    for size in range(1, 2 * H200.tiled_row + 1):
        tile = row_tiles.equal_tiles(H200, size, access)
        count = -(-size // tile.elements)
        assert (count - 1) * tile.elements < size <= count * tile.elements
        assert count * tile.elements - size <= size // 6
        assert tile.elements <= 8 * 32 * tile.warps
        assert row_tiles.fits_tiles(H200, size, 1.0, tile)


def test_tiles_are_as_they_were_measured() -> None:
    sizes = (3000, 5120, 11008, 1001, 5001, 11001)
    tiles = [(size, row_tiles.equal_tiles(H200, size, 2 if size % 2 else 16)) for size in sizes]
    assert [(tile.elements, tile.warps, -(-size // tile.elements)) for size, tile in tiles] == [
        *((512, 2, 6), (1024, 4, 5), (2048, 8, 6)),
        *((256, 2, 4), (512, 4, 10), (1024, 8, 11)),
    ]


@pytest.mark.parametrize(
    ("size", "access", "sweeps", "inputs", "wanted"),
    [
        *((5120, 16, 3, 1, True), (5120, 16, 2, 1, False), (8192, 16, 3, 1, False), (18944, 16, 3, 1, False)),
        *((1001, 2, 2, 1, True), (19999, 2, 3, 1, True), (25001, 2, 3, 1, False), (401, 2, 3, 1, False)),
        *((5002, 4, 2, 1, True), (3002, 4, 2, 1, False), (1002, 4, 3, 1, True)),
        *((1001, 2, 2, 2, True), (5001, 2, 2, 2, True), (7777, 2, 2, 2, False), (5002, 4, 2, 2, False)),
    ],
)
def test_tiles_of_one_size_are_for_narrow_accesses_and_wasted_lanes(
    size: int, access: int, sweeps: int, inputs: int, wanted: bool
) -> None:
    assert row_tiles.prefers_tiles(H200, MANY, size, access, sweeps, inputs) is wanted
    assert not row_tiles.prefers_tiles(H200, FEW, size, access, sweeps, inputs)


@pytest.mark.parametrize("vector", [2, 4, 8])
def test_tiles_of_vectors_cover_a_row_that_begins_anywhere(vector: int) -> None:
    for size in range(1, 2 * H200.tiled_row + 1):
        tile = row_vectors.vector_tiles(H200, size + vector - 1, vector)
        assert tile.elements == 32 * tile.warps * vector
        count = -(-(size + vector - 1) // tile.elements)
        assert count <= H200.vector_tiles or tile.warps == H200.program_warps
        # What is whole at all of these beginnings, and what may not be.
        assert 0 <= count - (size - 1) // tile.elements <= 2


def test_tiles_of_vectors_are_as_they_were_measured() -> None:
    tiles = [row_vectors.vector_tiles(H200, size + 7, 8) for size in (1001, 3001, 5001, 7999, 11007, 18943)]
    assert [(tile.elements, tile.warps) for tile in tiles] == [
        *((256, 1), (512, 2), (512, 2), (1024, 4), (1024, 4), (2048, 8)),
    ]


@pytest.mark.parametrize(
    ("size", "access", "sweeps", "wanted"),
    [
        *((1001, 2, 2, True), (1001, 2, 3, True), (512, 2, 2, False), (24576, 2, 3, True), (24577, 2, 3, False)),
        *((5002, 4, 2, True), (5002, 4, 3, False), (5004, 8, 2, False), (5000, 16, 2, False)),
    ],
)
def test_whole_vectors_are_for_narrow_accesses(size: int, access: int, sweeps: int, wanted: bool) -> None:
    assert row_vectors.prefers_vectors(H200, MANY, size, access, sweeps) is wanted
    assert not row_vectors.prefers_vectors(H200, FEW, size, access, sweeps)


def test_neighbours_are_together_as_far_as_rows_begin_at_multiples() -> None:
    assert [together(n, m) for n, m in ((1001, 1001), (1002, 2004), (5120, 5120), (1001, 1024), (0, 12))] == [
        1,
        2,
        16,
        1,
        4,
    ]
    assert together() == 16


def told(options: Sequence[dict[str, int]]) -> list[tuple[int, str, int]]:
    """Ways to launch by their warps, and what is said of registers."""
    assert all(way["num_stages"] == 1 for way in options)
    limits = [(way, next((name for name in ("maxnreg", "most_registers") if name in way), "")) for way in options]
    return [(way["num_warps"], name, way.get(name, 0)) for way, name in limits]


def test_registers_leave_room_for_as_many_rows_as_reach_the_copy_rate() -> None:
    assert told(row_options(8192, 11008, 2, 2)) == [(16, "maxnreg", 64), (8, "maxnreg", 128), (16, "", 0)]
    assert told(row_options(8192, 4096, 2, 1)) == [(4, "maxnreg", 64), (2, "maxnreg", 128), (4, "", 0)]
    narrow = [(8, "most_registers", 48), (4, "most_registers", 96), (8, "maxnreg", 64), (4, "maxnreg", 128), (8, "", 0)]
    assert told(row_options(8192, 8192, 2, 1, True)) == narrow
    assert told(row_options(8192, 512, 2, 1)) == [(2, "maxnreg", 40), (1, "maxnreg", 80), (2, "", 0)]
    assert told(row_options(FEW, 8192, 2, 1)) == [(16, "", 0), (8, "", 0)]
    assert told(row_options(FEW, 0, 2, 1)) == [(2, "", 0), (1, "", 0)]
    assert told(row_options(MANY, 0, 2, 1))[0] == (2, "maxnreg", 40)


@pytest.mark.parametrize(("count", "other"), [(32, 16), (16, 8), (8, 16), (4, 8), (1, 2)])
def test_a_kernel_that_spills_has_two_more_ways(count: int, other: int) -> None:
    limits = {32: 64, 16: 128}
    limited = [(each, "maxnreg", limits.get(each, 248)) for each in (count, other)]
    assert told(launch_options(count)) == [(count, "", 0), *limited]


@pytest.mark.parametrize(
    ("size", "sweeps", "inputs", "words", "wanted"),
    [
        (100, 1, 1, 1.0, 128),
        (8192, 2, 1, 1.0, 2048),
        (8193, 2, 1, 1.0, 4096),
        (16384, 2, 1, 1.0, 4096),
        (16385, 2, 1, 1.0, 8192),
        (20480, 3, 1, 1.0, 4096),
        (20481, 3, 1, 1.0, 8192),
        (100000, 2, 2, 1.0, 4096),
        (100000, 2, 1, 6.0, 8192),
        (100000, 2, 1, 6.1, 4096),
    ],
)
def test_steps_of_a_loop(size: int, sweeps: int, inputs: int, words: float, wanted: int) -> None:
    assert chunk_size(size, sweeps, inputs, words) == wanted


def test_a_row_is_split_where_few_are_long() -> None:
    assert [prefers_loop(rows, 65537) for rows in (263, 264)] == [False, True]
    assert [prefers_loop(1, size) for size in (65536, 65537)] == [True, False]
    assert [split_chunk(size, 1.0) for size in (100, 100000)] == [128, 8192]
    assert split_chunk(100000, 7.0) == 4096


@pytest.mark.parametrize(
    ("programs", "steps", "step", "wanted"),
    [
        (4, 64, 8192, 64),
        (4, 1000, 8192, 128),
        (1, 1000, 8192, 512),
        (1, 5000, 2048, 1024),
        (1, 5000, 16, 1024),
        (264, 64, 4096, 4),
        (1, 3, 8192, 2),
        (1, 1, 8192, 1),
        (2048, 100, 16, 1),
        (0, 4, 16, 4),
        (3, 4, 0, 4),
    ],
)
def test_programs_of_a_row_fill_the_chip(programs: int, steps: int, step: int, wanted: int) -> None:
    assert split_count(programs, steps, step) == wanted


def test_short_rows_share_a_program() -> None:
    assert [lanes(MANY, row) for row in (64, 512, 1024, 2048)] == [16, 2, 1, 1]
    assert [lanes(count, 64) for count in (0, 1, 3)] == [1, 1, 4]
    assert [rows.short_lanes(H200, MANY, row) for row in (1, 64, 512, 1024, 2048)] == [1024, 32, 4, 2, 1]
    assert [rows.short_lanes(H200, FEW, row) for row in (64, 512, 1024)] == [16, 2, 1]
    assert [lanes(MANY, 1, splits) for splits in (1, 8, 64, 1 << 20)] == [1024, 1024, 128, 1]


def test_rows_side_by_side_share_a_program_if_enough_are_held() -> None:
    assert [columns(MANY, row, 3.0) for row in (16, 256, 512, 1024)] == [64, 64, 32, 16]
    assert columns(3, 16, 3.0) == 4
    assert [holds_columns(1024, words) for words in (3.0, 3.1)] == [True, False]
    assert not holds_columns(1 << 20, 1.0)
    assert holds_columns(0, 1.0)


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ((MANY, 64), Block(32, 64, 8)),
        ((3, 64), Block(4, 64, 1)),
        ((0, 0), Block(1, 1, 1)),
        ((MANY, 5000), Block(1, 2048, 8)),
        ((MANY, 64, 16), Block(32, 64, 4)),
        ((MANY, 64, 8, 4), Block(8, 64, 8)),
        ((MANY, 1, 8, 1, 256), Block(32, 1, 1)),
    ],
)
def test_tiles_of_2048_elements_where_nothing_is_reduced(facts: tuple[int, ...], wanted: Block) -> None:
    assert blocks(*facts) == wanted


def test_warps_of_a_tile() -> None:
    assert [warps(elements) for elements in (0, 512, 513, 4096, 1 << 20)] == [1, 1, 2, 8, 32]
    assert warps(4096, 8) == 16


def test_what_divides_rows_is_told_where_triton_does_not_see_it() -> None:
    sizes = {"N": 3000, "stride": 3004, "odd": 7, "long": 4096, "twelve": 12}
    asked = [("N",), ("N", "stride"), ("N", "odd"), ("long",), ("long", "N"), ("twelve", "long")]
    assert [vec_width(*map(sizes.__getitem__, names)) for names in asked] == [8, 4, 1, 1, 8, 4]
