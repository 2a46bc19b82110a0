"""An op takes the plan that is asked for, or that a table names for its call, and else goes by the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from compiled import compiled

from fusec.driver.tuning.table import Found, update
from fusec.ir.host.plans import Tuned
from fusec.runtime import H200, Launch, Op, PlanError
from fusec.runtime.select import choice, run, tables
from fusec.runtime.select.gemm import gemm_tile
from fusec.runtime.select.present import kind_of
from fusec.runtime.select.run import outline
from fusec.runtime.select.tables import Choice, bucket
from fusec.runtime.select.tiles import Contraction

LINEAR = """op linear(x: T[..., K], weight weight: T[N, K], weight bias: T[N] = 0) -> y: T[..., N]
where T in {bf16, f32}:
    y = dot(x, weight, over=K) + bias
"""

PAIRS = """op pairs(a: T[B, C, M, K], b: T[B, C, K, N]) -> y: T[B, C, M, N]
where T in {bf16, f32}:
    y = dot(a, b, over=K)
"""

NORMED = """op normed(x: T[..., K], gain: T[K], weight weight: T[N, K]) -> y: T[..., N]
where T in {bf16, f32}:
    y = silu(dot(rmsnorm(x, gain, 1e-6, over=K), weight, over=K, precision=T))
"""

TILE = Choice("gemm", (("block_m", 16), ("block_n", 32), ("block_k", 16), ("num_warps", 8), ("num_stages", 5)))


@dataclass(frozen=True)
class Subject:
    """An op of a spec that was compiled for this test."""

    module: ModuleType
    op: Op
    call: Callable[..., Any]

    @property
    def tuned(self) -> Tuned:
        assert self.op.table is not None
        assert self.op.table.tuned is not None
        return self.op.table.tuned

    def taken(self, *tensors: torch.Tensor | None, plan: str | None = None) -> str:
        """The plan for these arguments."""
        return self.op.decide(*tensors, plan=plan).tuned


@pytest.fixture
def linear(tmp_path: Path) -> Iterator[Subject]:
    yield subject(LINEAR, tmp_path)
    choice.forget()


def subject(text: str, folder: Path) -> Subject:
    module = compiled(text, folder)[0].module
    op = next(each for each in vars(module).values() if isinstance(each, Op))
    return Subject(module, op, getattr(module, op.name))


def tune(linear: Subject, device: torch.device, *found: Found, spec: str | None = None) -> None:
    package = Path(str(linear.module.__file__)).parent
    update(package, *kind_of(device), linear.op.name, spec or linear.tuned.spec, found)
    choice.forget()


def arguments(rows: int, device: torch.device, k: int = 64, n: int = 48) -> tuple[torch.Tensor, torch.Tensor, None]:
    return torch.ones(rows, k, device=device), torch.ones(n, k, device=device), None


CASE = {"K": 64, "N": 48, "T": "float32", "bias": False}


def test_an_op_knows_its_plans_and_what_they_are_chosen_for(linear: Subject, device: torch.device) -> None:
    assert linear.op.plan_names == (*("library", "gemv", "gemv_loop", "split_k", "swap_ab", "tma", "gemm"),)
    assert linear.tuned.case == "K N T bias"
    about = outline(linear.op.decide(*arguments(5, device)).call)
    assert (about.rows, about.case) == (5, CASE)
    assert about.possible == ("library", "gemv", "gemv_loop", "split_k", "swap_ab", "gemm")


def test_without_a_table_the_rules_choose(linear: Subject, device: torch.device) -> None:
    assert linear.taken(*arguments(1, device)) == "gemv"
    assert linear.taken(*arguments(5, device)) == "swap_ab"
    assert linear.taken(*arguments(100, device)) == "gemm"


@pytest.mark.parametrize("way", [Choice("library"), Choice("gemv"), Choice("gemv_loop"), TILE])
def test_a_table_chooses_for_its_rows_and_its_case_alone(linear: Subject, device: torch.device, way: Choice) -> None:
    tune(linear, device, Found(8, CASE, way))
    for rows in (5, 7, 8):
        assert linear.taken(*arguments(rows, device)) == way.plan
    for other in (arguments(4, device), arguments(9, device), arguments(8, device, k=32), arguments(8, device, n=32)):
        assert linear.taken(*other) == "swap_ab"
    x, weight, _ = arguments(8, device)
    assert linear.taken(x.bfloat16(), weight.bfloat16(), None) == "swap_ab"
    assert linear.taken(x, weight, torch.ones(48, device=device)) == "swap_ab"


def test_a_tile_of_the_table_is_launched_as_it_is(linear: Subject, device: torch.device) -> None:
    tune(linear, device, Found(8, CASE, TILE))
    (launch,) = linear.op.decide(*arguments(8, device)).launches
    assert isinstance(launch, Launch)
    sizes = {name: launch.arguments[name] for name in ("BLOCK_LEAD1", "BLOCK_N", "BLOCK_K")}
    assert list(sizes.values()) == [16, 32, 16]
    assert list(launch.options) == [{"num_warps": 8, "num_stages": 5}]


def test_an_older_tile_has_others_behind_it(
    linear: Subject, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was measured with another toolchain, with which it may have needed less."""
    tune(linear, device, Found(8, CASE, TILE))
    monkeypatch.setattr(tables, "toolchain", lambda: ("9.9", "9.9"))
    choice.forget()
    (launch,) = linear.op.decide(*arguments(8, device)).launches
    assert isinstance(launch, Launch)
    assert list(launch.options) == [{"num_warps": 8, "num_stages": stages} for stages in (5, 4, 3, 2)]


def test_a_stale_table_is_not_used(linear: Subject, device: torch.device) -> None:
    tune(linear, device, Found(8, CASE, Choice("library")), spec="another text")
    assert linear.taken(*arguments(8, device)) == "swap_ab"


def test_the_choice_is_made_once_for_a_layout(
    linear: Subject, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    measured = run.measured

    def counted(tuned: Tuned, op: str, folder: Path, device: torch.device, rows: int, case: Any) -> Choice | None:
        asked.append(rows)
        return measured(tuned, op, folder, device, rows, case)

    monkeypatch.setattr(run, "measured", counted)
    for rows in (3, 5, 3, 5, 3):
        linear.call(*arguments(rows, device))
    assert asked == [3, 5]


def test_a_choice_that_the_strides_do_not_allow_leaves_it_to_the_rules(tmp_path: Path, device: torch.device) -> None:
    pairs = subject(PAIRS, tmp_path)
    a, b = torch.ones(2, 3, 4, 8, device=device), torch.ones(2, 3, 8, 5, device=device)
    apart = torch.ones(3, 2, 4, 8, device=device).transpose(0, 1)
    case = outline(pairs.op.decide(a, b).call)
    tune(pairs, device, Found(case.rows, case.case, Choice("library")))
    assert pairs.taken(a, b) == "library"
    assert "library" not in outline(pairs.op.decide(apart, b).call).possible
    assert pairs.taken(apart, b) == "swap_ab"
    assert torch.equal(pairs.call(apart, b), pairs.call(a, b))


def test_a_plan_is_asked_for_by_name(linear: Subject, device: torch.device) -> None:
    given = arguments(5, device)
    for name in ("library", "split_k", "swap_ab", "gemv", "gemv_loop", "gemm"):
        assert linear.taken(*given, plan=name) == name


def test_a_step_of_several_has_a_qualified_name(linear: Subject, tmp_path: Path, device: torch.device) -> None:
    norms = subject(NORMED, tmp_path)
    given = torch.ones(40, 64, device=device), torch.ones(64, device=device), torch.ones(48, 64, device=device)
    for name in ("rows", "resident", "row_loop"):
        steps = norms.op.describe(*given, plan=f"library operand.{name}").steps
        taken = [(step.writes, step.plan) for step in steps]
        assert taken == [("operand", name), ("product", "library"), ("y", "elementwise")]
    assert norms.op.describe(*given, plan="operand.row_loop").steps[0].plan == "row_loop"


def test_an_unknown_plan_is_refused_with_those_there_are(linear: Subject, device: torch.device) -> None:
    with pytest.raises(
        PlanError, match="linear: there is no plan `split`; its plans are library, gemv, gemv_loop, split_k"
    ):
        linear.op.plan(*arguments(5, device), plan="split")


def test_a_plan_that_cannot_take_a_call_is_refused_with_those_that_can(linear: Subject, device: torch.device) -> None:
    said = "linear: the plan `tma` cannot take this call; those that can are library, gemv, gemv_loop, split_k, swap_ab"
    with pytest.raises(PlanError, match=said) as caught:
        linear.op.plan(*arguments(5, device), plan="tma")
    assert "tma" not in str(caught.value.expected)


def test_rules_go_by_the_chip_that_is_given(linear: Subject, device: torch.device) -> None:
    given = arguments(100, device)
    assert linear.op.decide(*given).tuned == "gemm"
    assert linear.op.decide(*given, chip=replace(H200, library_work=0)).tuned == "library"
    assert linear.op.decide(*given, chip=replace(H200, skinny=100)).tuned in ("swap_ab", "split_k")


def test_a_forced_plan_uses_no_kept_plan_and_leaves_none(linear: Subject, device: torch.device) -> None:
    given = arguments(5, device)
    expected = linear.call(*given)
    before = linear.op.plans
    with linear.op.forced("gemv_loop"):
        assert torch.equal(linear.call(*given), expected)
        assert linear.op.plans[0] not in before
        assert linear.op.plans[0].kernels == ("_linear_gemv",)
    assert linear.op.plans == ()
    assert linear.taken(*given) == "swap_ab"


def test_a_forced_plan_is_for_its_op_alone(linear: Subject, tmp_path: Path, device: torch.device) -> None:
    pairs = subject(PAIRS, tmp_path)
    with pairs.op.forced("library"):
        assert linear.taken(*arguments(5, device)) == "swap_ab"


def test_a_decision_tells_its_tiles(linear: Subject, device: torch.device) -> None:
    ((vector,),) = (step.tiled for step in linear.op.decide(*arguments(1, device)).steps)
    assert (vector.rule, vector.tile.rows) == ("resident", 1)
    (step,) = linear.op.decide(*arguments(1, device), plan="gemm").steps
    (tile,) = step.tiled
    facts = {"batches": 1, "m": 1, "n": 48, "k": 64, "itemsize": 4, "dots": 1}
    assert tile.rule == "gemm_tile"
    assert facts.items() <= tile.facts.items()
    assert tile.tile == gemm_tile(Contraction(**tile.facts), H200)


def test_a_choice_of_a_tile_may_be_of_a_part(linear: Subject, device: torch.device) -> None:
    given = arguments(64, device)
    ((by_rule,), (part,)) = (
        linear.op.decide(*given, plan=Choice("gemm", tile)).steps[0].tiled for tile in ((), (("block_k", 32),))
    )
    assert part.tile == replace(by_rule.tile, block_k=32)


def test_a_description_is_plain(linear: Subject, device: torch.device) -> None:
    described = linear.op.describe(*arguments(5, device, k=1024), plan="split_k")
    assert [(step.writes, step.plan) for step in described.steps] == [("y", "split_k")]
    first, last = described.steps[0].launches
    assert (first.kernel, last.kernel) == ("_linear_gemm", "_linear_combine")
    assert 1 < first.blocks["SPLIT_K"] == last.blocks["SPLITS"]
    assert first.programs == 1 * 1 * first.blocks["SPLIT_K"]
    assert described.workspace == {"partial_product_y": 5 * 48 * first.blocks["SPLIT_K"] * 4}


def test_buckets() -> None:
    buckets = {0: 1, 1: 1, 2: 2, 3: 4, 4: 4, 17: 32, 1000: 1024, 4096: 4096, 8192: 8192, 8193: 8192, 10**9: 8192}
    assert {rows: bucket(rows) for rows in buckets} == buckets
