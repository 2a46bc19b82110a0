"""A call is recognised only if the plan of an earlier one is right for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from sample_ops import rope_like as rotating

from fusec.runtime import Op, Plan
from fusec.runtime.layout import layout
from fusec.runtime.op import Recent
from fusec.runtime.recent import Settings, Tensors

X, W = torch.randn(2, 5, 24), torch.randn(24)
TABLE = torch.randn(5, 8)


@pytest.fixture
def plan() -> Plan:
    return Plan("op", torch.device("meta"), tensors=("x", "weight"), outputs={}, launches=())


DIFFERENT: dict[str, Callable[[], tuple[Tensors, Settings]]] = {
    "size": lambda: ((X[:1], W), ("relu", None)),
    "stride": lambda: ((X.transpose(0, 1).contiguous().transpose(0, 1), W), ("relu", None)),
    "rank": lambda: ((X[0], W), ("relu", None)),
    "dtype": lambda: ((X.half(), W.half()), ("relu", None)),
    "device": lambda: ((X.to("meta"), W), ("relu", None)),
    "order": lambda: ((W, X), ("relu", None)),
    "class": lambda: ((X.as_subclass(type("Marked", (torch.Tensor,), {})), W), ("relu", None)),
    "gradient": lambda: ((X.clone().requires_grad_(), W), ("relu", None)),
    "negated": lambda: ((torch._neg_view(X), W), ("relu", None)),
    **{
        f"address, {4 * off} bytes off": lambda off=off: ((X, torch.randn(24 + off)[off:]), ("relu", None))
        for off in (1, 2, 3)
    },
    "omitted": lambda: ((X, None), ("relu", None)),
    "choice": lambda: ((X, W), ("none", None)),
    "dim": lambda: ((X, W), ("relu", 3)),
}


@pytest.mark.parametrize("difference", DIFFERENT)
def test_a_difference_is_seen(difference: str, plan: Plan) -> None:
    recent = Recent((X, W), ("relu", None), plan)
    assert recent.addresses((X.clone(), W.clone()), ("relu", None))
    tensors, settings = DIFFERENT[difference]()
    assert recent.addresses(tensors, settings) is None


def test_omitted_tensors_stay_omitted(plan: Plan) -> None:
    recent = Recent((X, None, W), (), plan)
    assert recent.addresses((X.clone(), None, W.clone()), ())
    assert recent.addresses((X, W, W), ()) is None
    assert recent.addresses((X, W, None), ()) is None
    assert recent.addresses((None, X, W), ()) is None


def test_gradients_count_only_while_they_are_recorded(plan: Plan) -> None:
    weight = torch.nn.Parameter(W.clone())
    with torch.no_grad():
        recent = Recent((X, weight), (), plan)
        assert recent.addresses((X, weight), ())
    assert recent.addresses((X, weight), ()) is None
    assert Recent((X, W), (), plan).addresses((X, W), ()) == [X.data_ptr(), W.data_ptr()]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """The keys for which `rope_like` made a plan."""
    made: list[object] = []
    op: Op = rotating._OP

    def plan(*arguments: torch.Tensor | None) -> Plan:
        made.append(tuple(layout(value) if isinstance(value, torch.Tensor) else value for value in arguments))
        return rotating._plan(*arguments)

    monkeypatch.setattr(op, "bare_plan", plan)
    op._known.clear()
    op._recent = ()
    yield made
    op._known.clear()
    op._recent = ()


def off_boundary(tensor: torch.Tensor, elements: int) -> torch.Tensor:
    """The same values, so many elements behind a boundary of 16 bytes."""
    return torch.cat([tensor[:elements], tensor])[elements:]


@pytest.mark.parametrize("elements", [1, 2, 3])
def test_a_call_off_a_boundary_is_not_taken_for_one_at_it(
    elements: int, counted: list[object], device: torch.device
) -> None:
    """Its kernels are right for every address, and slower: whoever comes next at a boundary gets a plan of its own."""
    x, weight, table = X.to(device), W.to(device), TABLE.to(device)
    for each in (off_boundary(weight, elements), weight, off_boundary(weight, elements)):
        assert (each.data_ptr() % 16 == 0) == (each is weight)
        rotating.rope_like(x, each, table, table.clone())
    assert len(counted) == len(set(counted)) == 2


def test_two_calls_by_turns_are_recognised(counted: list[object], device: torch.device, monkeypatch: Any) -> None:
    x, weight, table = X.to(device), W.to(device), TABLE.to(device)
    calls = [(each, weight, table, table.clone()) for each in (x, x[:1])]
    for arguments in calls:
        rotating.rope_like(*arguments)
    monkeypatch.setattr(Op, "_find", lambda *_: pytest.fail("a call was not recognised"))
    for arguments in [*calls, *calls]:
        rotating.rope_like(*arguments)


@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
def test_every_layout_has_one_plan_and_the_right_one(
    mode: Callable[[], object], counted: list[object], device: torch.device
) -> None:
    x, weight, table = X.to(device), W.to(device), TABLE.to(device)
    calls: list[tuple[object, ...]] = [
        (x, weight, table, table.clone()),
        (x, weight, table, table.clone(), weight.clone()),
        (x, weight, table, table.clone(), None, "relu"),
        (x[:1], weight, table, table.clone()),
        (x, off_boundary(weight, 1), table, table.clone()),
        (x, weight, table, table),
    ]
    for _ in range(2):
        for call in calls:
            for context in (mode, nullcontext):
                with context():  # type: ignore[attr-defined]
                    torch.testing.assert_close(rotating.rope_like(*call), rotating.reference(*call))
    # Passing one table twice is the same layout as passing two.
    assert len(counted) == len(set(counted)) == len(calls) - 1


def test_it_works_where_pytorch_lacks_the_check(
    counted: list[object], monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    monkeypatch.setattr("fusec.runtime.recent._TensorGuards", None)
    x, weight, table = X.to(device), W.to(device), TABLE.to(device)
    for _ in range(3):
        torch.testing.assert_close(
            rotating.rope_like(x, weight, table, table.clone()), rotating.reference(x, weight, table, table)
        )
    assert len(counted) == 1


@pytest.mark.parametrize("which", [0, 1], ids=["x", "weight"])
def test_an_address_off_16_bytes_has_a_plan_of_its_own(
    which: int, counted: list[object], monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    """A kernel handle is for one class of alignment, and the plan for it chose how wide it reads."""
    ran: list[Plan] = []
    run = Plan.run

    def recorded(plan: Plan, *arguments: object) -> object:
        ran.append(plan)
        return run(plan, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Plan, "run", recorded)
    table = TABLE.to(device)
    by_address: dict[int, set[int]] = {}
    for elements in (0, 2, 0, 1, 2, 0, 3, 1, 2, 2, 0, 4, 0):
        given = [X.to(device), W.to(device)]
        moved = torch.empty(given[which].numel() + 8, device=device)[elements:][: given[which].numel()]
        given[which] = moved.view_as(given[which]).copy_(given[which])
        result = rotating.rope_like(*given, table, table.clone())
        torch.testing.assert_close(result, rotating.reference(*given, table, table))
        by_address.setdefault(given[which].data_ptr() & 15, set()).add(id(ran[-1]))
    assert by_address.keys() == {0, 4, 8, 12}
    assert all(len(plans) == 1 for plans in by_address.values())
    assert len(set.union(*by_address.values())) == len(counted) == 4
