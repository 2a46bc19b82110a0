"""Wrong calls that are not refused are found, whichever check an op lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from fusec.reference.bind import ArgumentError, bind
from fusec.runtime import FusecError, ShapeMismatchError
from fusec.testing.random_run import imported
from fusec.testing.refusals import hold_refusals

SPEC = """
op f(x: T[M, N], w: T[N], shift: f32 = 0.5, act: {relu, silu} = relu, heads: dim(M) = infer)
  -> y: T[M, N]
where T in {f16, f32}, N % 2 == 0:
    y = act(x * w) + shift
"""

ARGUMENTS = {"x": torch.zeros(3, 4), "w": torch.zeros(4), "shift": 0.5, "act": "relu", "heads": 3}

MISSED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "the dtype of w": lambda call: call["w"].dtype is torch.float64,
    "the device of x": lambda call: call["x"].device.type == "meta",
    "dimensions of w": lambda call: call["w"].dim() == 2,
    "the size of w": lambda call: call["w"].shape == (5,),
    "the condition": lambda call: call["x"].shape == (3, 5),
    "the heads": lambda call: call["heads"] == 4,
    "the choice": lambda call: call["act"] == "relusilu",
    "the number": lambda call: call["shift"] == "text",
}


def op(graph: Any, missed: Callable[[dict[str, Any]], bool]) -> Callable[..., Any]:
    """An op that refuses what does not fit, but for what is `missed`."""

    def call(**arguments: Any) -> None:
        try:
            bind(graph, arguments)
        except ArgumentError as error:
            if not missed(arguments):
                raise ShapeMismatchError(str(error)) from error
        devices = {value.device for value in arguments.values() if isinstance(value, Tensor)}
        if len(devices) > 1 and not missed(arguments):
            raise ShapeMismatchError("several devices")

    return call


@pytest.fixture(scope="module")
def compiled() -> Any:
    return compile_source(Source("written.fuse", SPEC), None)[0]


def refused(call: Callable[..., Any], *graphs: Any) -> None:
    """All wrong calls that there are, with several dtypes."""
    for seed in range(16):
        hold_refusals(call, graphs, ARGUMENTS, 100, Random(seed))


@pytest.mark.parametrize("missed", MISSED)
def test_a_check_that_is_missing_is_noticed(compiled: Any, missed: str) -> None:
    with pytest.raises(AssertionError, match="is not refused"):
        refused(op(compiled.graph, MISSED[missed]), compiled.graph)


def test_an_op_with_all_checks_passes(compiled: Any, tmp_path: Path) -> None:
    function = imported(compiled.text, tmp_path).f
    for call in (function, op(compiled.graph, lambda call: False)):
        assert hold_refusals(call, [compiled.graph], ARGUMENTS, 100, Random(1)) >= 10
    with pytest.raises(FusecError):
        function(**{**ARGUMENTS, "heads": 4})


def test_what_an_overload_takes_is_right(compiled: Any) -> None:
    (other,) = compile_source(Source("other.fuse", SPEC.replace("w: T[N]", "w: T[5]").replace("x * w", "x")), None)
    refused(op(compiled.graph, MISSED["the size of w"]), compiled.graph, other.graph)
