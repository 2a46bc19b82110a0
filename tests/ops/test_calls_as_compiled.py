"""What the checks and the plans of a generated file do with calls: which are told what, and which share a plan."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from catalogue import Op
from compiled import compiled

from fusec.runtime import FusecError
from fusec.runtime import Op as Registered

SPEC = """
op f(x: T[M, N], z: f32[M, K], w: W[N], at: i32[M], eps: f32 = 0.5, count: i32 = 1, act: {relu, silu} = relu,
     rows: dim(M) = infer) -> (y: T[M, N], s: f32[M])
where T in {f16, f32}, W in {f16, f32}, K == 3 * N, N % 4 == 0, M < N + K:
    y = act(x * w) + eps * count
    s = sum(z, over=K) + at
"""

WRONG: dict[str, tuple[dict[str, object], str]] = {
    "a condition of two extents": ({"z": torch.zeros(2, 5)}, "needs K == 3 * N, but K = 5, N = 4"),
    "a condition of one extent": (
        {"x": torch.zeros(2, 6), "w": torch.zeros(6), "z": torch.zeros(2, 18)},
        "needs N % 4 == 0, but N = 6",
    ),
    "a condition of three extents": (
        {"x": torch.zeros(16, 4), "z": torch.zeros(16, 12), "at": torch.zeros(16, dtype=torch.int32)},
        "needs M < N + K, but K = 12, M = 16, N = 4",
    ),
    "a size": ({"w": torch.zeros(5)}, "`w` should have shape [N] = [4], but has [5]"),
    "the size of a tensor behind another": ({"at": torch.zeros(3, dtype=torch.int32)}, "[M] = [2], but has [3]"),
    "a rank": ({"z": torch.zeros(2, 3, 4)}, "`z` should have 2 dimensions, [M, K], but has shape [2, 3, 4]"),
    "a dtype": ({"w": torch.zeros(4).double()}, "`w` should be float16 or float32, but is float64"),
    "a dtype that is fixed": ({"at": torch.zeros(2)}, "`at` should be int32, but is float32"),
    "a choice": ({"act": "tanh"}, "`act` should be one of 'relu', 'silu', but is 'tanh'"),
    "a number": ({"eps": "much"}, "`eps` should be a number, but is 'much' (str)"),
    "an integer": ({"count": 1.5}, "`count` should be an integer, but is 1.5 (float)"),
    "an extent": ({"rows": 3}, "`rows` is 3, but the tensors have M = 2"),
}


def arguments(device: torch.device) -> dict[str, object]:
    tensors = {
        "x": torch.ones(2, 4),
        "z": torch.ones(2, 12),
        "w": torch.ones(4),
        "at": torch.ones(2, dtype=torch.int32),
    }
    return {name: tensor.to(device) for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def op(tmp_path_factory: pytest.TempPathFactory) -> Op:
    (only,) = compiled(SPEC, tmp_path_factory.mktemp("called"))
    return only


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_call_is_told_what_is_wrong(op: Op, wrong: str, device: torch.device) -> None:
    changed, message = WRONG[wrong]
    moved = {name: each.to(device) if isinstance(each, torch.Tensor) else each for name, each in changed.items()}
    with pytest.raises(FusecError) as caught:
        op.call(**{**arguments(device), **moved})
    assert message in str(caught.value)
    assert str(caught.value).startswith("f: ")


@pytest.mark.parametrize(
    ("change", "plans"),
    [
        (lambda call: {"eps": 0.75}, 1),
        (lambda call: {"count": 7}, 1),
        (lambda call: {"x": call["x"].clone()}, 1),
        (lambda call: {"rows": None}, 1),
        (lambda call: {"act": "silu"}, 2),
        (lambda call: {"x": call["x"].half()}, 2),
        (lambda call: {"w": call["w"].half()}, 2),
        (lambda call: {"x": torch.ones(4, 2, device=call["x"].device).t()}, 2),
    ],
)
def test_a_plan_is_made_for_what_it_depends_on(
    op: Op, change: Callable[[dict[str, torch.Tensor]], dict[str, object]], plans: int, device: torch.device
) -> None:
    registered = next(each for each in vars(op.module).values() if isinstance(each, Registered))
    registered.forget()
    call = arguments(device)
    op.call(**call)
    op.call(**{**call, **change(call)})  # type: ignore[arg-type]
    assert len(registered.plans) == plans


def test_numbers_of_a_call_are_those_that_are_computed_with(op: Op, device: torch.device) -> None:
    for eps, count in ((0.5, 1), (0.25, 3), (-1.0, 0)):
        y, s = op.call(**arguments(device), eps=eps, count=count)
        assert y.tolist() == [[1 + eps * count] * 4] * 2
        assert s.tolist() == [13.0] * 2
