"""Arguments that do not fit an op go to the first of its overloads that they fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fusec.driver.compile import compile_file
from fusec.driver.load import load_from
from fusec.runtime import ArgumentError, ShapeMismatchError, UnsupportedDtypeError

SPEC = """
op scaled(x: f32[M, N], factor: f32[N], bias: f32[N] = 0, twice: bool = false) -> y: f32[M, N]:
    y = x * factor * where(twice, 2, 1) + bias

op scaled_rows(x: f32[M, N], factor: f32[M, N], bias: f32[N] = 0, twice: bool = false) -> y: f32[M, N]:
    y = x * factor * where(twice, 2, 1) + bias

op scaled_integers(x: i32[M, N], factor: f32[N], bias: f32[N] = 0, twice: bool = false) -> y: f32[M, N]:
    y = x * factor * where(twice, 2, 1) + bias

overload scaled_rows of scaled
overload scaled_integers of scaled
"""


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_from(SPEC, compile_file, tmp_path_factory.mktemp("cache"))


def arguments(device: torch.device) -> list[tuple[str, tuple[torch.Tensor, ...]]]:
    x, row, rows = (torch.randn(shape, device=device) for shape in ((3, 8), (8,), (3, 8)))
    return [
        ("scaled", (x, row)),
        ("scaled_rows", (x, rows)),
        ("scaled_integers", (x.int(), row)),
        ("scaled_rows", (x, rows, row)),
        ("scaled", (x, row, row)),
    ]


def test_a_call_takes_the_op_that_it_fits(ops: Any, device: torch.device) -> None:
    given = arguments(device)
    for _ in range(3):
        for name, tensors in given:
            for twice in (False, True):
                wanted = getattr(ops, name)(*tensors, twice=twice)
                assert torch.equal(ops.scaled(*tensors, twice=twice), wanted)
                bias = tensors[2] if len(tensors) > 2 else 0
                torch.testing.assert_close(wanted, tensors[0] * tensors[1] * (1 + twice) + bias)


def test_a_plan_is_made_once(ops: Any, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    op = next(value for value in ops.scaled.__globals__.values() if getattr(value, "name", "") == "scaled")
    op.forget()
    asked: list[object] = []
    plan = op.bare_plan
    monkeypatch.setattr(op, "bare_plan", lambda *given: (asked.append(given), plan(*given))[1])
    (_, tensors), *_ = [each for each in arguments(device) if each[0] == "scaled_rows"]
    for _ in range(4):
        ops.scaled(*tensors)
    assert len(asked) == 1


def test_what_fits_none_is_told_as_the_op_does(ops: Any) -> None:
    x = torch.randn(3, 8)
    with pytest.raises(ShapeMismatchError, match=r"^scaled: `factor` should have shape \[N\] = \[8\], but has \[7\]"):
        ops.scaled(x, torch.randn(7))
    with pytest.raises(UnsupportedDtypeError, match=r"^scaled: `factor` should be float32, but is float16"):
        ops.scaled(x, torch.randn(8).half())
    with pytest.raises(ArgumentError, match=r"^scaled: `factor` should be a tensor"):
        ops.scaled(x, 2.0)


def test_traced_calls_take_it_too(ops: Any, device: torch.device) -> None:
    for name, tensors in arguments(device):
        traced = torch.compile(lambda *given: ops.scaled(*given) + 1, backend="eager", fullgraph=True)
        torch.testing.assert_close(traced(*tensors), getattr(ops, name)(*tensors) + 1)
        meta = ops.scaled(*(tensor.to("meta") for tensor in tensors))
        assert meta.shape == tensors[0].shape
