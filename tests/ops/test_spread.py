"""Dots in f32 of 4096 products: every plan stays within the spread that f32 has, and what is less than f32 does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from catalogue import Op
from compiled import compiled
from torch import Tensor
from triton.runtime.interpreter import InterpreterBuilder

from fusec.numerics.spread import spread
from fusec.runtime.interpreter import interpreting
from fusec.testing.limits import LIMITS, limited

INNER, ROWS, COLUMNS = 4096, 16, 16
SPEC = """
op f(x: f32[M, K], w: f32[N, K]) -> y: f32[M, N]:
    y = dot(x, w, over=K)
"""
DRAWN: dict[str, Callable[..., Tensor]] = {"positive": torch.rand, "normal": torch.randn}


@pytest.fixture(scope="module")
def op(tmp_path_factory: pytest.TempPathFactory) -> Op:
    (only,) = compiled(SPEC, tmp_path_factory.mktemp("spread"))
    return only


def operands(drawn: str, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x, w = (DRAWN[drawn](rows, INNER, generator=generator).to(device) for rows in (ROWS, COLUMNS))
    return x, w


def of(result: Tensor, x: Tensor, w: Tensor) -> float:
    a, b = x.double(), w.double()
    return spread(result, a @ b.T, a.abs() @ b.abs().T, INNER)


@pytest.mark.parametrize("drawn", DRAWN)
@pytest.mark.parametrize("plan", ["rows", "library", "few", "streamed"])
def test_every_plan_is_within_the_spread_of_f32(op: Op, plan: str, drawn: str, device: torch.device) -> None:
    x, w = operands(drawn, device)
    with limited(op.module, LIMITS[plan]):
        assert of(op.call(x=x, w=w), x, w) <= 1


def in_tf32(value: Any) -> Any:
    bits = np.ascontiguousarray(value, np.float32).view(np.int32)
    return ((bits + 2**12) & -(2**13)).view(np.float32)


def in_bf16(value: Any) -> Any:
    return torch.from_numpy(np.ascontiguousarray(value)).bfloat16().float().numpy()


FAULTS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "operands in tf32": (in_tf32, lambda total: total),
    "sums in bf16": (lambda operand: operand, in_bf16),
    "sums in f16": (lambda operand: operand, lambda total: total.astype(np.float16).astype(np.float32)),
}


@pytest.fixture
def faulty(request: pytest.FixtureRequest) -> Iterator[None]:
    """The interpreter with another matrix unit."""
    operand, total = FAULTS[request.param]

    def dot(_builder: Any, a: Any, b: Any, accumulator: Any, *_: object) -> Any:
        product = np.matmul(operand(a.data), operand(b.data), dtype=np.float32)
        return type(accumulator)(total(product + accumulator.data), accumulator.dtype.scalar)

    with mock.patch.object(InterpreterBuilder, "create_dot", dot):
        yield


@pytest.mark.skipif(not interpreting(), reason="the fault is planted in the interpreter")
@pytest.mark.parametrize("drawn", DRAWN)
@pytest.mark.parametrize("faulty", FAULTS, indirect=True)
@pytest.mark.usefixtures("faulty")
def test_less_than_f32_is_outside(op: Op, drawn: str, device: torch.device) -> None:
    x, w = operands(drawn, device)
    with limited(op.module, LIMITS["few"]):
        assert of(op.call(x=x, w=w), x, w) > 1


@pytest.mark.parametrize("drawn", DRAWN)
def test_a_plain_loop_is_within(drawn: str) -> None:
    """One product after another, each rounded, and each sum: the worst order that a right kernel may take."""
    x, w = operands(drawn, torch.device("cpu"))
    total = torch.zeros(ROWS, COLUMNS)
    for a, b in zip(x.unbind(1), w.unbind(1), strict=True):
        total = total + a[:, None] * b
    assert of(total, x, w) <= 1


def test_a_mean_of_few_is_none() -> None:
    with pytest.raises(ValueError, match="100"):
        spread(torch.zeros(99), torch.zeros(99), torch.ones(99), 4096)
