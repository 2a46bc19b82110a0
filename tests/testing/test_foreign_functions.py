"""A judge of functions that anybody wrote: the right ones pass, and of each wrong one it says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import foreign_functions
import pytest
import torch

import generated
from fusec.testing import check
from fusec.testing.callers import CallerError
from fusec.testing.checking import find_program
from fusec.testing.compare import ResultError
from fusec.testing.foreign import Finding, judge_function

CALLS = 8


def findings(function: Callable[..., Any], op: str, device: torch.device) -> dict[str, Finding]:
    report = judge_function(function, find_program(op, None), device=device, calls=CALLS)
    assert report.ok == (not any(each.wrong for each in report.findings) and report.findings[0].judged > 0)
    return {each.group: each for each in report.findings}


@pytest.mark.parametrize("function", [foreign_functions.norm, foreign_functions.plain, foreign_functions.by_position])
def test_a_right_function_passes(function: Callable[..., Any], device: torch.device) -> None:
    report = check(function, generated.rmsnorm, calls=CALLS, device=device)
    assert report.ok
    assert [each.group for each in report.findings] == [
        "ordinary calls",
        "other strides",
        "ends of formats",
        "empty axes",
        "larger calls",
        "the same call again",
    ]
    assert all(each.judged for each in report.findings)


@pytest.mark.parametrize("op", ["rope_qk", "gated_activation", "rmsnorm_quantize", "linear", "softmax"])
def test_our_own_ops_pass(op: str, device: torch.device) -> None:
    report = check(getattr(generated, op), op, calls=4, device=device)
    assert report.findings[0].bounded == 1
    assert ("long sums" in str(report)) == (op == "linear")


@pytest.mark.parametrize(
    ("function", "group", "what"),
    [
        (foreign_functions.adds_eps_outside, "ordinary calls", "is outside of"),
        (foreign_functions.rounds_early, "ordinary calls", "is outside of"),
        (foreign_functions.reads_what_it_allocates, "ordinary calls", "nan is outside of"),
        (foreign_functions.writes_its_input, "ordinary calls", "bytes of or beside `x` changed"),
        (foreign_functions.stores_beyond, "ordinary calls", ""),
        (foreign_functions.differs_from_call_to_call, "the same call again", "other bits of y"),
    ],
)
def test_what_is_wrong_is_told(function: Callable[..., Any], group: str, what: str, device: torch.device) -> None:
    found = findings(function, "rmsnorm", device)
    assert found[group].fault is not None
    assert what in found[group].fault.text


def test_what_is_wrong_only_at_the_ends_of_formats_is_told_there(device: torch.device) -> None:
    found = findings(foreign_functions.softmax_of_small_numbers, "softmax", device)
    assert not found["ordinary calls"].wrong
    assert found["ends of formats"].wrong


def test_a_call_at_fault_can_be_made_again_alone(device: torch.device) -> None:
    fault = findings(foreign_functions.adds_eps_outside, "rmsnorm", device)["ordinary calls"].fault
    assert fault is not None
    with pytest.raises(ResultError, match="given calls: 1 judged, 1 WRONG"):
        check(foreign_functions.adds_eps_outside, "rmsnorm", cases=[fault.case], device=device)
    assert check(foreign_functions.plain, "rmsnorm", cases=[fault.case], device=device).ok


def test_refused_calls_are_counted_apart(device: torch.device) -> None:
    found = findings(foreign_functions.only_rows, "rmsnorm", device)["ordinary calls"]
    assert found.judged
    assert found.refused
    assert found.refusal == "NotImplementedError: matrices only"


def test_a_function_that_takes_no_ordinary_call_is_not_right(device: torch.device) -> None:
    with pytest.raises(ResultError, match=r"ordinary calls: 0 judged, 8 refused \(NotImplementedError: not on"):
        check(foreign_functions.refuses, "rmsnorm", calls=CALLS, device=device)


def test_what_it_is_made_for_can_be_said(device: torch.device) -> None:
    seen = set()

    def only_bf16(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        assert x.shape[-1] == 96
        seen.add((x.dtype, weight.dtype))
        return foreign_functions.plain(x, weight, eps)

    report = check(only_bf16, "rmsnorm", calls=4, dtypes={"T": "bf16", "W": "f32"}, sizes={"N": 96}, device=device)
    assert seen == {(torch.bfloat16, torch.float32)}
    assert not report.findings[0].refused


@pytest.mark.parametrize(
    ("function", "op", "message"),
    [
        (foreign_functions.needs_more, "rmsnorm", r"needs 4 arguments, and the op is rmsnorm\(x, weight, eps\)"),
        (lambda x: x, "rmsnorm", "does not take weight"),
    ],
)
def test_arguments_that_do_not_fit_are_told(function: Callable[..., Any], op: str, message: str) -> None:
    with pytest.raises(CallerError, match=message):
        check(function, op)


def test_an_op_that_is_not_there() -> None:
    with pytest.raises(LookupError, match="no op rmsnrm"):
        check(foreign_functions.plain, "rmsnrm")


def test_an_op_of_a_text(device: torch.device) -> None:
    spec = 'op twice(x: f32[N]) -> y: f32[N]:\n    """Twice x."""\n    y = x * 2\n'
    assert check(lambda x: x + x, "twice", spec=spec, calls=4, device=device).ok
    with pytest.raises(ResultError, match="WRONG"):
        check(lambda x: x + x + 1e-6, "twice", spec=spec, calls=4, device=device)
