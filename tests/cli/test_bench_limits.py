"""What a GPU reaches at best: the best of several shapes for each type, and an answer where nothing can be asked."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from conftest import Fusec

from fusec.commands.bench_table import limit_row
from fusec.commands.exits import Exit
from fusec.commands.limits import PRODUCTS, limits
from fusec.commands.timing import Call, Timing


class Clock:
    """Runs what it times, and counts: the n-th call of a kind took 20 - n microseconds, at least."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    def __call__(self, calls: Mapping[str, Call]) -> dict[str, Timing]:
        found = {}
        for kind, call in calls.items():
            call()
            self.calls[kind] = self.calls.get(kind, 0) + 1
            found[kind] = Timing((20.0 - self.calls[kind],), 1.0, True)
        return found


def test_the_best_of_every_type_is_told(device: torch.device) -> None:
    clock, shapes = Clock(), ((32, 64, 32), (32, 32, 32), (64, 64, 64))
    found = {limit.kind: limit for limit in limits(clock, shapes, str(device), copied=64)}
    assert set(found) == {*PRODUCTS, "copy"}
    assert clock.calls["bf16"] == 3
    bf16 = found["bf16"]
    assert (bf16.shape, bf16.microseconds, bf16.rate) == ((64, 64, 64), 17.0, 2 * 64**3 / 17 / 1e6)
    assert found["copy"].rate == 64 / 19 / 1e6
    for limit in found.values():
        assert bool(limit.refused) == (not limit.rate)
        assert limit_row(limit)[0] == limit.kind


def test_what_a_device_does_not_multiply_is_told(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    def refused(*_: object) -> torch.Tensor:
        raise RuntimeError("no such product here\nand more")

    monkeypatch.setattr(torch, "_int_mm", refused)
    found = {limit.kind: limit for limit in limits(Clock(), ((32, 32, 32),), str(device), copied=64)}
    assert found["i8"].refused == "no such product here"
    assert limit_row(found["i8"]) == ("i8", "-", "no such product here", "-")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_are_none(fusec: Fusec) -> None:
    result = fusec("bench", "--limits")
    assert result.exit_code == Exit.USAGE
    assert "there is no GPU here" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("rmsnorm", "--limits")])
def test_it_is_an_op_or_limits(arguments: tuple[str, ...], fusec: Fusec) -> None:
    result = fusec("bench", *arguments)
    assert result.exit_code == Exit.USAGE
    assert "name an op to time, or give one of --suite, --limits and --from" in result.stderr
