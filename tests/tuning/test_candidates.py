"""Which choices are tried: all plans, and of tiles those that fit the chip and ought to be fast."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fusec.driver.tuning.candidates import Outline, Tiled, candidates, estimate
from fusec.runtime import H200
from fusec.runtime.select.tables import Choice

CHIP = H200


def tiled(sides: int, blocks: int = 18944, dots: int = 1, rule: str = "gemm_tile") -> Tiled:
    facts = {"batches": 1, "m": sides, "n": blocks, "k": 3584, "itemsize": 2, "dots": dots}
    sizes = {"block_m": min(max(sides, 16), 128), "block_n": 64, "block_k": 64, "splits": 1}
    return Tiled(rule, facts, sizes, {"num_warps": 4, "num_stages": 3})


def outline(rows: int, *tiles: Tiled, by_rule: str = "library") -> Outline:
    return Outline(rows, {}, by_rule, {"library": (), "gemv": (), "gemm": tiles})


def names(choices: tuple[Choice | None, ...]) -> list[str]:
    return [str(choice) for choice in choices if choice is None or not choice.tile]


def test_the_rules_come_first_and_their_plan_not_twice() -> None:
    assert names(candidates(outline(1, tiled(1)), CHIP, 3)) == ["None", "gemv", "gemm"]
    assert names(candidates(outline(1, tiled(1), by_rule="gemm"), CHIP, 3)) == ["None", "library", "gemv"]


def test_plans_for_few_rows_are_tried_for_few() -> None:
    plans = outline(4096, tiled(4096)).plans | {"swap_ab": (tiled(18944, blocks=4096, rule="skinny_tile"),)}
    many, few = (candidates(Outline(rows, {}, "library", plans), CHIP, 3) for rows in (4096, 128))
    assert names(many) == ["None", "gemm"]
    assert names(few) == ["None", "gemv", "gemm", "swap_ab"]


def test_a_dozen_of_the_tiles_and_none_twice() -> None:
    choices = candidates(outline(2048, tiled(2048)), CHIP, 12)
    tiles = [choice.tile for choice in choices if choice and choice.tile]
    assert len(set(tiles)) == len(tiles) == 12
    own = {"block_m": 128, "block_n": 64, "block_k": 64, "num_warps": 4, "num_stages": 3}
    assert tuple(own.items()) not in tiles
    assert all(set(dict(tile)) == set(own) for tile in tiles)


@pytest.mark.parametrize("rows", [1, 16, 64, 256, 2048, 8192])
@pytest.mark.parametrize("dots", [1, 2, 4])
def test_every_tile_fits(rows: int, dots: int) -> None:
    choices = candidates(outline(rows, tiled(rows, dots=dots)), CHIP, 100)
    tiles = [dict(choice.tile) for choice in choices if choice and choice.tile]
    assert len(tiles) > 10
    for tile in tiles:
        loaded = (tile["block_m"] + tile["block_n"] * dots) * tile["block_k"] * 2
        assert loaded * tile["num_stages"] <= CHIP.smem
        assert tile["block_m"] * tile["block_n"] * dots <= CHIP.accumulator_words * 32 * tile["num_warps"]


def test_the_tile_that_is_known_to_be_best_is_among_the_first() -> None:
    """bf16, 128 by 256 by 64 with 8 warps and 3 or 4 stages: what persistent kernels reach the library's speed with."""
    first = candidates(outline(8192, tiled(8192)), CHIP, 3)
    best = {"block_m": 128, "block_n": 256, "block_k": 64, "num_warps": 8, "num_stages": 4}
    assert Choice("gemm", tuple(best.items())) in first


def test_tiles_are_as_large_as_there_is_work_for_all_multiprocessors() -> None:
    choices = candidates(outline(16, tiled(16, blocks=3584)), CHIP, 1)
    assert dict(choices[-1].tile)["block_n"] < 128 if choices[-1] else False


def test_all_tiles_of_a_plan_are_chosen_together() -> None:
    """q with 2 dots a tile and k and v with 4: what only the first one has room for is no tile for both."""
    sizes = {}
    for name, dots in (("one", (1,)), ("both", (1, 4))):
        choices = candidates(outline(2048, *(tiled(2048, dots=count) for count in dots)), CHIP, 100)
        tiles = [dict(choice.tile) for choice in choices if choice and choice.tile]
        sizes[name] = max(tile["block_n"] * tile["block_m"] for tile in tiles if "block_n" in tile)
    assert sizes["both"] == 128 * 64 < sizes["one"]


def test_more_waves_take_longer() -> None:
    tile = {"block_m": 128, "block_n": 128, "block_k": 64, "num_warps": 8, "num_stages": 3}
    times = [estimate(tile, tiled(rows), CHIP) for rows in (128, 1024, 8192)]
    assert None not in times
    assert times == sorted(set(times), key=lambda time: time or 0)


def test_a_tile_that_is_too_large_has_no_estimate() -> None:
    tile = {"block_m": 256, "block_n": 256, "block_k": 64, "num_warps": 8, "num_stages": 3}
    assert estimate(tile, tiled(8192), CHIP) is None
    assert estimate({**tile, "block_n": 128, "block_k": 256}, tiled(8192), CHIP) is None


def test_programs_that_share_a_tile_are_varied_where_there_are_any() -> None:
    shared = tiled(3584, blocks=16, rule="skinny_tile")
    shared = replace(shared, sizes={**shared.sizes, "splits": 2})
    found = {
        dict(choice.tile)["splits"] for choice in candidates(outline(16, shared), CHIP, 100) if choice and choice.tile
    }
    assert found == {1, 2, 4, 8}


def test_matrices_that_share_columns_stand_on_one_another() -> None:
    """Two matrices of 64 rows by 16 columns each hold as much as one of 128 rows, and not as one of 32 columns."""
    tile = {"block_m": 64, "block_n": 16, "block_k": 512, "num_warps": 4, "num_stages": 3}
    strips, others = (tiled(3584, blocks=16, dots=2, rule=rule) for rule in ("skinny_tile", "gemm_tile"))
    assert estimate(tile, strips, CHIP) is None
    assert estimate({**tile, "block_k": 256}, strips, CHIP) is not None
    assert estimate({**tile, "block_m": 32, "block_n": 32}, others, CHIP) is None
