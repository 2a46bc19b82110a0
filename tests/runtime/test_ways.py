"""An op takes the way that a table names for its call, where that is possible, and else goes by the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from compiled import compiled

from fusec.driver.tuning.table import Found, update
from fusec.runtime import Launch, Op, dots, tuned
from fusec.runtime.tuned import Way, bucket
from fusec.runtime.ways import Ways, forced, shaped, takes

LINEAR = """op linear(x: T[..., K], weight weight: T[N, K], weight bias: T[N] = 0) -> y: T[..., N]
where T in {bf16, f32}:
    y = dot(x, weight, over=K) + bias
"""

PAIRS = """op pairs(a: T[B, C, M, K], b: T[B, C, K, N]) -> y: T[B, C, M, N]
where T in {bf16, f32}:
    y = dot(a, b, over=K)
"""

TILE = Way("product", (("side", 16), ("block", 32), ("step", 16), ("num_warps", 8), ("num_stages", 5)))


@dataclass(frozen=True)
class Subject:
    """An op of a spec that was compiled for this test, and what tells its next plans."""

    module: ModuleType
    op: Op
    ways: Ways
    call: Callable[..., Any]

    def launches(self, *tensors: torch.Tensor | None) -> list[Launch | Any]:
        """What a plan for these arguments launches."""
        made: list[Launch | Any] = []
        real = self.module.Plan
        self.module.Plan = lambda *_, launches, **__: made.extend(launches)  # type: ignore[attr-defined]
        try:
            self.op.plan(*tensors)
        finally:
            self.module.Plan = real  # type: ignore[attr-defined]
        return made

    def taken(self, *tensors: torch.Tensor | None) -> str:
        """The plan for these arguments, by what its first launch is called."""
        first = self.launches(*tensors)[0]
        return first.kernel.__name__.rpartition("_")[2] if isinstance(first, Launch) else "library"


@pytest.fixture
def linear(tmp_path: Path) -> Iterator[Subject]:
    yield subject(LINEAR, tmp_path)
    tuned.tables.cache_clear()


def subject(text: str, folder: Path) -> Subject:
    module = compiled(text, folder)[0].module
    op, ways = (next(each for each in vars(module).values() if isinstance(each, kind)) for kind in (Op, Ways))
    return Subject(module, op, ways, getattr(module, op.name))


def tune(linear: Subject, device: torch.device, *found: Found, spec: str | None = None) -> None:
    package = Path(str(linear.module.__file__)).parent
    update(package, *tuned.chip(device), linear.op.name, spec or linear.ways.spec, found)


def arguments(rows: int, device: torch.device, k: int = 64, n: int = 48) -> tuple[torch.Tensor, torch.Tensor, None]:
    return torch.ones(rows, k, device=device), torch.ones(n, k, device=device), None


CASE = {"K": 64, "N": 48, "T": "float32", "bias": False}


def test_an_op_knows_its_plans_and_what_they_are_chosen_for(linear: Subject) -> None:
    assert linear.ways.plans == (
        *("library", "dealt", "swapped", "persistent"),
        *("resident", "streamed", "split", "product"),
    )
    assert linear.ways.case == ("K", "N", "T", "bias")


def test_without_a_table_the_rules_choose(linear: Subject, device: torch.device) -> None:
    assert linear.taken(*arguments(1, device)) == "resident"
    assert linear.taken(*arguments(5, device)) == "swapped"
    assert linear.taken(*arguments(100, device)) == "product"


@pytest.mark.parametrize("way", [Way("library"), Way("resident"), Way("streamed"), TILE])
def test_a_table_chooses_for_its_rows_and_its_case_alone(linear: Subject, device: torch.device, way: Way) -> None:
    tune(linear, device, Found(8, CASE, way))
    for rows in (5, 7, 8):
        assert linear.taken(*arguments(rows, device)) == way.plan
    for other in (arguments(4, device), arguments(9, device), arguments(8, device, k=32), arguments(8, device, n=32)):
        assert linear.taken(*other) == "swapped"
    x, weight, _ = arguments(8, device)
    assert linear.taken(x.bfloat16(), weight.bfloat16(), None) == "swapped"
    assert linear.taken(x, weight, torch.ones(48, device=device)) == "swapped"


def test_a_tile_of_the_table_is_launched_as_it_is(linear: Subject, device: torch.device) -> None:
    tune(linear, device, Found(8, CASE, TILE))
    (launch,) = linear.launches(*arguments(8, device))
    sizes = {name: launch.arguments[name] for name in ("BLOCK_LEAD1", "BLOCK_N", "BLOCK_K")}
    assert list(sizes.values()) == [16, 32, 16]
    assert list(launch.options) == [{"num_warps": 8, "num_stages": 5}]


def test_a_stale_table_is_not_used(linear: Subject, device: torch.device) -> None:
    tune(linear, device, Found(8, CASE, Way("library")), spec="another text")
    assert linear.taken(*arguments(8, device)) == "swapped"


def test_the_choice_is_made_once_for_a_layout(
    linear: Subject, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    best = linear.ways.best

    def counted(device: torch.device, rows: int, *case: Any, **possible: bool) -> Way | None:
        asked.append(rows)
        return best(device, rows, *case, **possible)

    monkeypatch.setattr(linear.ways, "best", counted)
    for rows in (3, 5, 3, 5, 3):
        linear.call(*arguments(rows, device))
    assert asked == [3, 5]


def test_a_way_that_the_strides_do_not_allow_leaves_it_to_the_rules(tmp_path: Path, device: torch.device) -> None:
    pairs = subject(PAIRS, tmp_path)
    a, b = torch.ones(2, 3, 4, 8, device=device), torch.ones(2, 3, 8, 5, device=device)
    apart = torch.ones(3, 2, 4, 8, device=device).transpose(0, 1)
    with forced(pairs.op, Way("library")) as trial:
        assert pairs.taken(a, b) == "library"
        assert "library" in trial.possible
        assert pairs.taken(apart, b) == "swapped"
        assert "library" not in trial.possible
    assert torch.equal(pairs.call(apart, b), pairs.call(a, b))


def test_a_forced_way_uses_no_kept_plan_and_leaves_none(linear: Subject, device: torch.device) -> None:
    given = arguments(5, device)
    expected = linear.call(*given)
    before = linear.op.plans
    with forced(linear.op, Way("streamed")) as trial:
        assert torch.equal(linear.call(*given), expected)
        assert linear.op.plans[0] not in before
    assert (trial.rows, trial.case) == (5, CASE)
    assert linear.op.plans == ()


def test_a_trial_tells_the_rule_and_the_tiles(linear: Subject, device: torch.device) -> None:
    with forced(linear.op, None) as trial:
        linear.op.plan(*arguments(1, device))
    assert (trial.by_rule, trial.tiles) == (("resident",), [])
    with forced(linear.op, Way("product")) as trial:
        linear.op.plan(*arguments(1, device))
    (tile,) = trial.tiles
    assert tile.rule == "product_tile"
    assert tile.facts == {"batches": 1, "sides": 1, "blocks": 48, "inner": 64, "itemsize": 4, "dots": 1}
    assert tile.tile == dots.product_tile(**tile.facts)


def test_a_forced_way_is_for_its_op_alone(linear: Subject, tmp_path: Path, device: torch.device) -> None:
    pairs = subject(PAIRS, tmp_path)
    with forced(pairs.op, Way("library")):
        assert linear.taken(*arguments(5, device)) == "swapped"


def test_takes_and_shaped() -> None:
    assert [takes(None, rule, "product") for rule in (True, False)] == [True, False]
    way = Way("product")
    assert [takes(way, False, "product"), takes(way, False, "split", "product")] == [True, True]
    assert [takes(way, True, "library"), takes(way, True, "split", "dealt")] == [False, False]
    by_rule = dots.product_tile(1, 64, 64, 64, 2, 1)
    assert shaped(None, dots.product_tile, 1, 64, 64, 64, 2, 1) == by_rule
    assert shaped(Way("product"), dots.product_tile, 1, 64, 64, 64, 2, 1) == by_rule
    part = shaped(Way("product", (("step", 32),)), dots.product_tile, 1, 64, 64, 64, 2, 1)
    assert (part.side, part.block, part.step, part.options) == (by_rule.side, by_rule.block, 32, by_rule.options)


def test_buckets() -> None:
    buckets = {0: 1, 1: 1, 2: 2, 3: 4, 4: 4, 17: 32, 1000: 1024, 4096: 4096, 8192: 8192, 8193: 8192, 10**9: 8192}
    assert {rows: bucket(rows) for rows in buckets} == buckets
