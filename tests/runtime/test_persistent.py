"""Runs: every tile of an output is made, and made once, whatever its extents."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusec.runtime import persistent
from fusec.runtime.persistent import SHARED, WIDTH, Contraction, Run, runs
from fusec.runtime.tiles import cdiv, padded
from fusec.runtime.tuned import Way

HOST = torch.device("cpu")

sizes = st.one_of(st.integers(1, 300), st.integers(1, 6000), st.sampled_from([64, 128, 4096, 8192]))
outputs = st.tuples(st.integers(1, 3), sizes, sizes, st.sampled_from([1, 16, 40, 64, 136, 4096]))
ways = st.one_of(
    st.none(),
    st.builds(
        lambda side, block: Way("persistent", (("side", side), ("block", block), ("num_warps", 4), ("num_stages", 2))),
        *[st.sampled_from([16, 32, 64, 128])] * 2,
    ),
)
kinds = st.sampled_from([{"halves": 2}, {"dots": 2}, {"dots": 3}, {"dots": 2, "widest": 128}, {}])


def tiles_of(run: Run, sides: int, blocks: int, halves: int) -> Iterator[tuple[int, int, int]]:
    """The tiles of a run as kernels count them: of which output they are, their first row and their first column."""
    many, wide = cdiv(sides, run.side * run.down), cdiv(blocks, run.block * halves * run.across)
    for program in range(run.programs):
        for part in range(run.begin + program, run.end, run.programs):
            whole = part // (run.down * run.across)
            tile = whole % (many * wide)
            first = tile // (run.group * wide) * run.group
            group = min(many - first, run.group)
            within = tile % (run.group * wide)
            side = (first + within % group) * run.down + part % (run.down * run.across) // run.across
            block = within // group * run.across + part % run.across
            yield whole // (many * wide), side * run.side, block * run.block * halves


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(outputs, kinds, ways, st.sampled_from([1, 3, 132]))
def test_every_element_is_made_once(
    output: tuple[int, int, int, int], kind: dict[str, int], way: Way | None, chip: int
) -> None:
    batches, sides, blocks, inner = output
    with mock.patch.object(persistent, "_chip", return_value=(chip, SHARED)):
        found = runs(way, HOST, Contraction(batches, sides, blocks, inner, **kind))
    halves = kind.get("halves", 1)
    height, width = min(run.side for run in found), min(run.block for run in found) * halves
    made = np.zeros((batches, cdiv(sides, height), cdiv(blocks, width)), int)
    for run in found:
        for batch, top, left in tiles_of(run, sides, blocks, halves):
            down, across = run.side // height, run.block * halves // width
            made[batch, top // height : top // height + down, left // width : left // width + across] += 1
    assert (made == 1).all()


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(outputs, kinds)
def test_a_program_has_tiles_and_room_for_them(output: tuple[int, int, int, int], kind: dict[str, int]) -> None:
    for run in runs(None, HOST, Contraction(*output, **kind)):
        width = run.block * padded(kind.get("dots", 1)) * kind.get("halves", 1)
        assert 0 < run.programs <= run.end - run.begin
        assert all(size >= 16 and size & (size - 1) == 0 for size in (run.side, run.block, run.step))
        assert width <= max(WIDTH, 64)
        for way in run.options:
            steps = 2 * run.step * (run.side + width) * way["num_stages"]
            assert steps <= SHARED or way is run.options[-1]


@pytest.mark.parametrize("chip", [1, 3, 7, 132])
def test_few_programs_make_several_tiles_each(chip: int) -> None:
    with mock.patch.object(persistent, "_chip", return_value=(chip, SHARED)):
        first, *_ = runs(None, HOST, Contraction(1, 4096, 4096, 512, halves=2))
    assert first.programs == chip < first.end - first.begin


@pytest.mark.parametrize("chip", [7, 132])
@pytest.mark.parametrize("sides", [1, 64, 200])
def test_where_tiles_are_fewer_than_multiprocessors_each_has_a_program(sides: int, chip: int) -> None:
    with mock.patch.object(persistent, "_chip", return_value=(chip, SHARED)):
        (run,) = runs(None, HOST, Contraction(1, sides, 64, 512))
    assert run.programs == run.end - run.begin == cdiv(sides, run.side) * cdiv(64, run.block) <= chip


def test_rows_that_batches_share_are_read_once() -> None:
    apart = Contraction(8, 2048, 64, 4096, dots=2)
    shared = Contraction(8, 2048, 64, 4096, dots=2, again=8)
    assert apart.matrices - shared.matrices == 7 * 2 * 2048 * 4096
