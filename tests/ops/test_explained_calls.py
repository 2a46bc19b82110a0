"""What is told of the plan of a call is what the call launches, and what that moves: shipped ops at several sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import getsource
from typing import Any, get_args
from unittest import mock

import pytest
import torch
from catalogue import all_ops
from compiled import compiled

from fusec import runtime
from fusec.forcing import CHIPS
from fusec.interpreter import interpreting
from fusec.ir.host import schedules
from fusec.runtime.explain.occupancy import occupancy
from fusec.runtime.explain.reasons import words
from fusec.runtime.explain.report import Report
from fusec.runtime.launch import Launch, Launcher, Resources
from fusec.runtime.multiplier import Multiplier
from fusec.runtime.select import chip as sold
from fusec.runtime.select.chip import H200, Chip
from fusec.testing.memory import Memory
from fusec.testing.watching import watched

BF16 = torch.bfloat16

CALLS: dict[str, tuple[str, tuple[Any, ...], Chip | None]] = {
    "short rows": ("rmsnorm", ((5, 300), (300,)), None),
    "rows": ("rmsnorm", ((2, 3, 4096), (4096,)), None),
    "many long rows": ("softmax", ((280, 9000),), None),
    "few very long rows": ("layernorm", ((2, 70000), (70000,), (70000,)), None),
    "elements": ("gated_activation", ((7, 3000), (7, 3000), "silu"), None),
    "two results": ("rmsnorm_quantize", ((40, 256), (256,)), None),
    "a vector": ("linear", ((1, 256), (48, 256), (48,)), None),
    "few rows, split along K": ("linear", ((5, 2048), (48, 2048), None), None),
    "rows together": ("linear", ((40, 256), (48, 256), (48,)), None),
    "the library": ("linear_activation", ((40, 256), (48, 256), (48,), "gelu"), CHIPS["library"]),
    "TMA": ("linear_residual", ((40, 256), (48, 256), (40, 48), (48,)), CHIPS["tma"]),
    "a norm before": ("add_rmsnorm_linear", ((40, 256), (40, 256), (256,), (48, 256), (48,)), CHIPS["library"]),
    "batches": ("bmm", ((3, 40, 64), (3, 64, 32)), None),
}
"""Calls of ops: shapes of the tensors, settings, and the chip that rules go by."""


@contextmanager
def recorded() -> Iterator[list[Launcher | Multiplier]]:
    """What is launched within."""
    found: list[Launcher | Multiplier] = []

    def noted(kind: type[Launcher | Multiplier]) -> Any:
        first = kind.first

        def run(self: Any, values: Any) -> bool:
            found.append(self)
            return first(self, values)

        return mock.patch.object(kind, "first", run)

    with noted(Launcher), noted(Multiplier), noted(runtime.plan.TmaLauncher):
        yield found


def shown(launched: Launcher | Multiplier) -> tuple[Any, ...]:
    """What a launch is: its kernel, programs, options and sizes of tiles."""
    if isinstance(launched, Multiplier):
        return ("library",)
    names = launched._kernel.arg_names
    arguments = dict(zip(names[len(names) - len(launched._rest) :], launched._rest, strict=True))
    first = launched._options[0]
    return launched.kernel, launched.programs, first.get("num_warps", 4), first.get("num_stages", 1), arguments


@pytest.mark.parametrize("name", CALLS)
def test_a_call_does_what_its_plan_tells(name: str, device: torch.device) -> None:
    op_name, given, chip = CALLS[name]
    op = next(each for each in all_ops() if each.name == op_name)
    own = next(each for each in vars(op.module).values() if isinstance(each, runtime.Op) and each.name == op_name)
    values = [torch.ones(one, dtype=BF16, device=device) if isinstance(one, tuple) else one for one in given]
    told: Report = own.plan(*values, chip=chip).report
    tensors = [value for value in values if value is None or isinstance(value, torch.Tensor)]
    names = (own.table.strides if own.table else {}).keys()
    inputs = {name: tensor for name, tensor in zip(names, tensors, strict=False) if tensor is not None}
    with own.forced(chip=chip), recorded() as launches, seen(inputs) as memory:
        op.call(*values)
    assert len(launches) == len(told.launches)
    for launched, about in zip(map(shown, launches), (launch.about for launch in told.launches), strict=True):
        if launched == ("library",):
            assert about.kernel == "library"
            continue
        *launched_as, arguments = launched
        assert launched_as == [about.kernel, about.programs, about.warps, about.stages]
        assert {size: arguments[size] for size in about.blocks} == about.blocks
    if memory is not None:
        moved = [(each.read, each.written) for each in memory.moved if " @ " not in each.kernel]
        kernels = [launch.traffic for launch in told.launches if launch.about.kernel != "library"]
        counted = [(+Counter(each.read), +Counter(each.written)) for each in kernels]
        assert counted == [(named(read), named(written)) for read, written in moved]


@contextmanager
def seen(inputs: dict[str, torch.Tensor]) -> Iterator[Memory | None]:
    if not interpreting():
        yield None
        return
    with watched(inputs, inputs) as memory:
        yield memory


def named(moved: Counter[str]) -> Counter[str]:
    return Counter({name.removesuffix("_ptr"): count for name, count in moved.items() if count})


@pytest.mark.parametrize(
    ("spec", "least"),
    [
        ("y = x * 2", True),
        ("y = x * w", False),
        ("y = x - amax(x, over=N)", True),
    ],
    ids=["elements once", "w again for every row", "rows in registers"],
)
def test_the_least_is_claimed_where_every_element_moves_once(spec: str, least: bool, tmp_path: Any) -> None:
    (op,) = compiled(f"op f(x: f32[M, N], w: f32[N] = 1) -> y: f32[M, N]:\n    {spec}\n", tmp_path)
    x, w = torch.ones(64, 4096, device="meta"), torch.ones(4096, device="meta")
    report = op.call.plan(x, w).report  # type: ignore[attr-defined]
    assert report.is_least == least
    assert ("the least possible" in repr(op.call.plan(x, w))) == least  # type: ignore[attr-defined]


def test_a_plan_is_made_of_the_arguments_of_a_call(tmp_path: Any) -> None:
    text = "op f(x: f32[M, N], w: f32[N] = 1, eps: f32 = 1e-6) -> y: f32[M, N]:\n    y = rmsnorm(x, w, eps, over=N)\n"
    (op,) = compiled(text, tmp_path)
    x = torch.ones(64, 4096, device="meta")
    plans = [op.call.plan(x), op.call.plan(x=x, eps=0.1), op.call.plan(x, torch.ones(4096, device="meta"), 0.1)]  # type: ignore[attr-defined]
    assert repr(plans[0]) == repr(plans[1]) != repr(plans[2])
    assert repr(plans[0]).startswith("f on NVIDIA H200: x float32[64, 4096]\n├─ y: resident, by rule: registers")
    assert plans[0].report.launches[0].about.programs == 64
    with pytest.raises(runtime.ShapeMismatchError, match="x"):
        op.call.plan(x[0])  # type: ignore[attr-defined]


def test_every_schedule_has_a_reason_in_words() -> None:
    told = {kind for kind in get_args(schedules.Schedule) if kind.__name__ in getsource(words)}
    assert told == set(get_args(schedules.Schedule))


def test_other_plans_are_told_the_fastest_first() -> None:
    op = next(each for each in all_ops() if each.name == "linear")
    own = next(each for each in vars(op.module).values() if isinstance(each, runtime.Op) and each.name == "linear")
    x, w = (torch.empty(size, dtype=BF16, device="meta") for size in ((16, 4096), (1024, 4096)))
    report = own.plan(x, w, None).report
    names = [rival.plan for rival in report.rivals]
    assert {"library", "tma", "gemm"} <= set(names)
    assert report.steps[0].schedule not in names
    times = [rival.us for rival in report.rivals]
    assert times == sorted(times)
    forced = own.plan(x, w, None, plan="gemm").report
    (gemm,) = (rival for rival in report.rivals if rival.plan == "gemm")
    assert (gemm.us, gemm.bytes, gemm.launches) == (forced.us, forced.bytes, len(forced.launches))
    assert forced.steps[0].reason.startswith("forced: ")
    assert forced.us >= forced.least_us > 0


@pytest.mark.parametrize("name", sold.CHIPS)
def test_calls_are_planned_for_chips_that_are_not_here(name: str) -> None:
    op = next(each for each in all_ops() if each.name == "rmsnorm_linear")
    own = next(each for each in vars(op.module).values() if isinstance(each, runtime.Op) and each.name == op.name)
    given = [torch.empty(size, dtype=BF16, device="meta") for size in ((300, 4096), (4096,), (4096, 4096))]
    decision = own.decide(*given, None, "plain", chip=sold.CHIPS[name])
    report = own.plan(*given, None, "plain", chip=sold.CHIPS[name]).report
    hopper = sold.CHIPS[name].capability >= 90
    assert report.chip == sold.CHIPS[name].name
    assert ("tma" in [rival.plan for rival in report.rivals] + [step.schedule for step in report.steps]) == hopper
    overlapping = {launch.arguments.get("OVERLAP", False) for launch in decision.launches if isinstance(launch, Launch)}
    assert hopper or overlapping == {False}


def test_a_plan_of_a_call_runs_and_keeps_no_tensor(tmp_path: Any, device: torch.device) -> None:
    (op,) = compiled("op f(x: f32[M, N]) -> y: f32[M, N]:\n    y = x * 2\n", tmp_path)
    x = torch.ones(3, 5, device=device)
    result = op.call.plan(x)((x,))  # type: ignore[attr-defined]
    assert torch.equal(result, x * 2)
    op.call(x)
    own = next(each for each in vars(op.module).values() if isinstance(each, runtime.Op))
    assert all(plan.report is None for plan in own.plans)


@pytest.mark.parametrize(
    ("warps", "resources", "programs", "limit"),
    [
        (4, None, 16, "warps"),
        (1, None, 32, "programs"),
        (4, Resources(128, 0), 4, "registers"),
        (4, Resources(33, 0), 12, "registers"),
        (8, Resources(32, 100 * 1024), 2, "shared memory"),
        (8, Resources(255, 227 * 1024), 1, "registers"),
    ],
)
def test_occupancy(warps: int, resources: Resources | None, programs: int, limit: str) -> None:
    found = occupancy(H200, warps, resources)
    assert (found.programs, found.limit) == (programs, limit)
    assert found.share == programs * warps / 64
