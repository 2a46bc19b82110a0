"""Waves: every tile of an output is made, and made once, whatever its extents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusec.runtime import H200, Chip
from fusec.runtime.select import tma
from fusec.runtime.select.call import Call
from fusec.runtime.select.gemm import Contraction
from fusec.runtime.select.sizes import cdiv, padded
from fusec.runtime.select.tables import Choice
from fusec.runtime.select.tma import Wave, beats_library, best_us, waves


@dataclass
class Asked:
    """What of a call the tiles of a persistent gemm depend on."""

    chip: Chip
    choice: Choice | None = None
    tiled: list[Any] = field(default_factory=list)
    planning: str = "tma"

    chosen = Call.chosen


def found(contraction: Contraction, chip: Chip = H200, choice: Choice | None = None) -> tuple[Wave, ...]:
    return waves(Asked(chip, choice), contraction)  # type: ignore[arg-type]


sizes = st.one_of(st.integers(1, 300), st.integers(1, 6000), st.sampled_from([64, 128, 4096, 8192]))
outputs = st.tuples(st.integers(1, 3), sizes, sizes, st.sampled_from([1, 16, 40, 64, 136, 4096]))
ways = st.one_of(
    st.none(),
    st.builds(
        lambda side, block: Choice("tma", (("side", side), ("block", block), ("num_warps", 4), ("num_stages", 2))),
        *[st.sampled_from([16, 32, 64, 128])] * 2,
    ),
)
kinds = st.sampled_from([{"halves": 2}, {"dots": 2}, {"dots": 3}, {"dots": 2, "crowded": True}, {}])


def tiles_of(run: Wave, sides: int, blocks: int, halves: int) -> Iterator[tuple[int, int, int]]:
    """The tiles of a run as kernels count them: of which output they are, their first row and their first column."""
    many, wide = cdiv(sides, run.block_m * run.down), cdiv(blocks, run.block_n * halves * run.across)
    for program in range(run.programs):
        for part in range(run.begin + program, run.end, run.programs):
            whole = part // (run.down * run.across)
            tile = whole % (many * wide)
            first = tile // (run.group_m * wide) * run.group_m
            group = min(many - first, run.group_m)
            within = tile % (run.group_m * wide)
            side = (first + within % group) * run.down + part % (run.down * run.across) // run.across
            block = within // group * run.across + part % run.across
            yield whole // (many * wide), side * run.block_m, block * run.block_n * halves


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(outputs, kinds, ways, st.sampled_from([1, 3, 132]))
def test_every_element_is_made_once(
    output: tuple[int, int, int, int], kind: dict[str, Any], choice: Choice | None, chip: int
) -> None:
    batches, sides, blocks, inner = output
    made_in = found(Contraction(batches, sides, blocks, inner, **kind), replace(H200, sms=chip), choice)
    halves = kind.get("halves", 1)
    height, width = min(run.block_m for run in made_in), min(run.block_n for run in made_in) * halves
    made = np.zeros((batches, cdiv(sides, height), cdiv(blocks, width)), int)
    for run in made_in:
        for batch, top, left in tiles_of(run, sides, blocks, halves):
            down, across = run.block_m // height, run.block_n * halves // width
            made[batch, top // height : top // height + down, left // width : left // width + across] += 1
    assert (made == 1).all()


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(outputs, kinds)
def test_a_program_has_tiles_and_room_for_them(output: tuple[int, int, int, int], kind: dict[str, Any]) -> None:
    for run in found(Contraction(*output, **kind)):
        width = run.block_n * padded(kind.get("dots", 1)) * kind.get("halves", 1)
        assert 0 < run.programs <= run.end - run.begin
        assert all(size >= 16 and size & (size - 1) == 0 for size in (run.block_m, run.block_n, run.block_k))
        assert width <= max(H200.accumulator_columns, 64)
        for choice in run.options:
            steps = 2 * run.block_k * (run.block_m + width) * choice["num_stages"]
            assert steps <= H200.smem or choice is run.options[-1]


@pytest.mark.parametrize("chip", [1, 3, 7, 132])
def test_few_programs_make_several_tiles_each(chip: int) -> None:
    first, *_ = found(Contraction(1, 4096, 4096, 512, halves=2), replace(H200, sms=chip))
    assert first.programs == chip < first.end - first.begin


@pytest.mark.parametrize("chip", [7, 132])
@pytest.mark.parametrize("sides", [1, 64, 200])
def test_where_tiles_are_fewer_than_multiprocessors_each_has_a_program(sides: int, chip: int) -> None:
    (run,) = found(Contraction(1, sides, 64, 512), replace(H200, sms=chip))
    assert run.programs == run.end - run.begin == cdiv(sides, run.block_m) * cdiv(64, run.block_n) <= chip


def test_rows_that_batches_share_are_read_once() -> None:
    apart = Contraction(8, 2048, 64, 4096, dots=2)
    shared = Contraction(8, 2048, 64, 4096, dots=2, again=8)
    assert apart.matrices - shared.matrices == 7 * 2 * 2048 * 4096


def tiles(contraction: Contraction) -> list[tuple[int, ...]]:
    """Of each run: rows, columns and step of a tile, the first tile and the last, programs, and the most stages."""
    made = found(contraction)
    return [(r.block_m, r.block_n, r.block_k, r.begin, r.end, r.programs, r.options[0]["num_stages"]) for r in made]


@pytest.mark.parametrize(
    ("contraction", "wanted"),
    [
        (Contraction(1, 8192, 8192, 8192, halves=2), [(128, 128, 64, 0, 2048, 132, 3)]),
        (Contraction(1, 4096, 11008, 4096, dots=2), [(128, 128, 64, 0, 2752, 132, 3)]),
        (Contraction(1, 2048, 3584, 3584, halves=2), [(128, 128, 64, 0, 224, 132, 4)]),
        (Contraction(1, 256, 11008, 4096, dots=2), [(128, 64, 128, 0, 344, 132, 3)]),
        # The last 32 tiles are cut in four.
        (
            Contraction(1, 512, 18944, 3584, halves=2),
            [(128, 128, 64, 0, 264, 132, 4), (64, 64, 64, 1056, 1184, 128, 4)],
        ),
        # Where less than a tile's columns are left, and where all multiprocessors have one, nothing is.
        (Contraction(1, 1408, 1536, 4096, dots=2), [(128, 128, 64, 0, 132, 132, 4)]),
        (Contraction(1, 64, 11008, 4096, dots=2), [(64, 128, 64, 0, 86, 86, 4)]),
        (Contraction(1, 16, 1024, 1024, halves=2), [(64, 32, 128, 0, 16, 16, 4)]),
        (Contraction(8, 300, 300, 64, halves=2), [(128, 32, 64, 0, 120, 120, 4)]),
        (Contraction(1, 4096, 4096, 40, halves=2), [(128, 128, 64, 0, 512, 132, 3)]),
        (
            Contraction(1, 8192, 8192, 8192, dots=2, crowded=True),
            [(128, 64, 64, 0, 8184, 132, 3), (64, 32, 64, 32736, 32768, 32, 4)],
        ),
    ],
)
def test_tiles_are_those_that_were_found_fast(contraction: Contraction, wanted: list[tuple[int, ...]]) -> None:
    assert tiles(contraction) == wanted
    for run in found(contraction):
        assert [choice["num_stages"] for choice in run.options] == list(range(run.options[0]["num_stages"], 1, -1))
        assert {choice["num_warps"] for choice in run.options} == {run.block_m // 16}


def test_a_second_launch_has_to_save_one_part_in_200() -> None:
    """Of two ways to cut an output, the one in a single launch is taken unless it is that much slower."""
    one, other = (Wave(128, 128, 64, 0, 1, 1, ()), Wave(64, 64, 64, 0, 1, 1, ()))
    contraction = Contraction(1, 128, 128, 64)
    for single, taken in ((200.9, 1), (201.1, 2)):
        times = {1: single, 2: 200.0}
        with mock.patch.object(tma, "waves_us", side_effect=lambda c, waves, chip, times=times: times[len(waves)]):
            _, made = tma._fastest(H200, contraction, [(one,), (one, other)])
        assert len(made) == taken


def test_small_tiles_are_not_cut() -> None:
    """Neither tiles of 64 rows nor of 16 columns are cut in four, and no tile is where each program has as many."""
    for side, block, ways in ((128, 32, 2), (128, 16, 1), (64, 64, 1)):
        run = Wave(side, block, 64, 0, 0, 0, ())
        assert len(list(tma._cuts(H200, Contraction(1, 128 * 133, block, 64), run))) == ways
    run = Wave(128, 64, 64, 0, 0, 0, ())
    assert len(list(tma._cuts(H200, Contraction(1, 128 * 132, 64, 64), run))) == 1
    assert len(list(tma._cuts(H200, Contraction(1, 128, 64, 64), run))) == 1


@pytest.mark.parametrize(
    ("contraction", "wanted"),
    [
        (Contraction(1, 8192, 8192, 8192, halves=2), True),
        (Contraction(1, 256, 11008, 4096, dots=2), False),
        (Contraction(1, 64, 11008, 4096, dots=2), True),
        (Contraction(1, 16, 1024, 1024, halves=2), False),
        (Contraction(1, 1408, 1536, 4096, dots=2), True),
    ],
)
def test_the_library_is_faster_where_tiles_do_not_fill_the_chip(contraction: Contraction, wanted: bool) -> None:
    assert beats_library(contraction, best_us(contraction, H200), H200) is wanted
