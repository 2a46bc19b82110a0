"""The time model predicts what was measured on an H200, as nearly as docs/time-model.md says."""

from __future__ import annotations

import re
from math import log
from pathlib import Path

import pytest

from benchmarks.measured_calls import Measured, products, rows
from benchmarks.time_model import errors, spread
from fusec.runtime import H200, Launch, Product
from fusec.runtime.select.chip import CHIPS, TARGETS
from fusec.runtime.select.predict import predict
from fusec.runtime.select.tiles import Contraction, GemmTile
from fusec.runtime.select.time_model import gemm_time, least_us, rows_time

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "time-model.md"

OFF = 0.75
"""How far off a prediction of a plan of the rules is at most: one of them is known, rows of odd length."""


@pytest.fixture(scope="module")
def measured() -> list[tuple[Measured, float, float]]:
    return errors([*rows(), *products()])


@pytest.mark.parametrize("source", ["rows", "products"])
def test_predictions_are_as_near_as_the_document_says(
    source: str, measured: list[tuple[Measured, float, float]]
) -> None:
    (line,) = re.findall(rf"^\| {source} \| (\d+) \| (\d+) % \| (\d+) % \|$", DOCUMENT.read_text(), re.MULTILINE)
    count, middle, most = map(int, line)
    multiplied = {each.name for each in products()}
    found = [error for call, _, error in measured if (call.name in multiplied) == (source == "products")]
    _, size, largest = spread(found)
    assert len(found) == count
    assert 100 * size < middle + 1
    assert 100 * largest < most + 2


def test_no_prediction_is_far_off(measured: list[tuple[Measured, float, float]]) -> None:
    assert {call.name: error for call, _, error in measured if abs(error) > OFF} == {}


def test_every_launch_has_a_prediction(measured: list[tuple[Measured, float, float]]) -> None:
    for call, us, _ in measured[::7]:
        steps = predict(call.decision)
        assert [len(each) for each in steps] == [len(step.launches) for step in call.decision.steps]
        flat = [each for step in steps for each in step]
        assert sum(each.us for each in flat) == pytest.approx(us)
        for each, launch in zip(flat, call.decision.launches, strict=True):
            assert isinstance(launch, Launch | Product)
            assert 0 < each.least_us < each.us
            assert each.hbm_bytes <= each.sm_bytes


def test_more_of_everything_takes_longer() -> None:
    one, twice = (rows_time(4096, 4, size, size, H200).us for size in (10**8, 2 * 10**8))
    assert log(twice / one) == pytest.approx(log(2))
    tile = GemmTile(128, 128, 64, ({"num_warps": 8, "num_stages": 3},))
    times = [gemm_time(Contraction(1, m, 4096, k), tile, H200) for m, k in ((128, 1024), (8192, 1024), (8192, 4096))]
    assert [time.us for time in times if time] == sorted({time.us for time in times if time})
    assert len([time for time in times if time]) == 3


def test_every_chip_has_figures_for_every_dtype() -> None:
    """Operands of twice the bytes take as long or longer; what is far from an H200 has another capability."""
    for chip in CHIPS.values():
        for bytes, work in ((10**9, 1), (1, 10**12)):
            took = [least_us(bytes, work, itemsize, False, chip) for itemsize in (1, 2, 4, 8)]
            assert took == sorted(took)
            assert 3 * took[0] <= took[2] or bytes > work
            assert took[1] <= least_us(bytes, work, 4, True, chip) <= took[2]
        for name in ("copy_bytes_per_us", "hbm_bytes_per_us", "sm_mma_per_us", "loop_mma_per_us", "library_mma_per_us"):
            share = getattr(chip, name) / getattr(H200, name)
            assert 0.3 < share <= 1 or (chip.capability > H200.capability and 0.1 < share < 3), (chip.name, name)
        assert TARGETS[chip.target].shared_limit == chip.smem


def test_shared_memory_of_targets() -> None:
    """CUDA C++ Programming Guide: 100, 164 or 228 KiB of an SM, of which a block may have all but one."""
    assert {target.shared_limit + 1024 for target in TARGETS.values()} == {100 * 1024, 164 * 1024, 228 * 1024}
    assert all(name == f"sm_{target.capability}" for name, target in TARGETS.items())
