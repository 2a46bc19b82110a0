"""What is wrong with a result, a buffer or a pair of calls is said, with a line that brings it back."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import faulty_ops
import handwritten_ops
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from specimens import GRAPHS, graph

from fusec.ir.types import Lead, Named
from fusec.testing.cases import Case
from fusec.testing.compare import ResultError, run_and_compare
from fusec.testing.homogeneity import degrees
from fusec.testing.metamorphic import (
    check_permuted,
    check_repeatable,
    check_scaled,
    check_split,
    independent_axes,
)
from fusec.testing.strategies import cases

PLAIN = Case(op="softened", seed=1, extents={"M": 6, "N": 21}, dtypes={"T": "f32"})
NANS = replace(PLAIN, values={"x": "nan"})
SOFTENED = GRAPHS["softened"]

quick = settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(data=st.data(), name=st.sampled_from(["turned_norm", "softened"]))
def test_right_kernels_pass(data: st.DataObject, name: str, device: torch.device) -> None:
    case = data.draw(cases(GRAPHS[name]))
    outcome = run_and_compare(getattr(handwritten_ops, name), (GRAPHS[name],), case, device=device)
    assert outcome.ratio <= 1


@pytest.mark.parametrize(
    ("op", "case", "words"),
    [
        (faulty_ops.changes_its_input, PLAIN, "bytes of or beside `x` changed, the first 0 bytes from its start"),
        (faulty_ops.writes_beside_its_input, PLAIN, "beside `x` changed, the first -4 bytes from its start"),
        (faulty_ops.off_by_a_little, PLAIN, r"p\[0, 0\] = .* is outside of \[.*126 of 126 elements"),
        (faulty_ops.wrong_dtype, PLAIN, r"p is \(6, 21\) torch\.float64, not \(6, 21\) torch\.float32"),
        (faulty_ops.wrong_count, PLAIN, "softened returns 1 tensors, not 2"),
        (faulty_ops.loses_nan, NANS, r"p\[.*\] = 0\.0 is outside of \[nan, nan\] around nan"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_wrong_op_is_told_what_is_wrong(op, case: Case, words: str, device: torch.device) -> None:
    with pytest.raises(ResultError, match=words) as caught:
        run_and_compare(op, (SOFTENED,), case, device=device)
    line = re.search(r"reproduce with (.*)", str(caught.value))
    assert line is not None
    assert eval(line[1]) == case


def test_a_right_op_without_kernels_passes(device: torch.device) -> None:
    outcome = run_and_compare(faulty_ops.right, (SOFTENED,), PLAIN, device=device)
    assert outcome.ratio <= 1
    assert outcome.unknown == 0


CHECKS = (check_repeatable, check_permuted, check_split, check_scaled)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", ["turned_norm", "softened"])
def test_right_kernels_agree_with_themselves(check, name: str, device: torch.device) -> None:
    extents = {"M": 6, "N": 21, "D": 22}
    for layout in ("contiguous", "transposed"):
        case = Case(op=name, seed=3, extents=extents, dtypes={"T": "bf16"}, layouts={"x": layout})
        check(getattr(handwritten_ops, name), GRAPHS[name], case, device)


@pytest.mark.parametrize(
    ("check", "op", "words"),
    [
        (check_repeatable, faulty_ops.Fickle(), "a second call gives other bits"),
        (check_permuted, faulty_ops.knows_its_row, "permuting `M`"),
        (check_split, faulty_ops.knows_its_row, "a part of `M` on its own"),
    ],
)
def test_disagreement_between_two_calls_is_found(check, op, words: str, device: torch.device) -> None:
    with pytest.raises(ResultError, match=words):
        check(op, SOFTENED, PLAIN, device)


def test_scaling_finds_a_constant_that_should_not_be_there(device: torch.device) -> None:
    def biased(x: torch.Tensor) -> torch.Tensor:
        return x.abs().sum(1) + 1e-3

    summed = graph("op summed(x: f32[M, N]) -> y: f32[M]:\n    y = sum(abs(x), over=N)\n")
    case = Case(op="summed", seed=0, extents={"M": 3, "N": 8})
    check_scaled(lambda x: x.abs().sum(1), summed, case, device)
    with pytest.raises(ResultError, match=r"`x` times 4 is not `y` times 4\*\*1"):
        check_scaled(biased, summed, case, device)


def test_degrees_are_read_off_the_graph() -> None:
    scaled = graph(
        "op scaled(x: f32[M, N], w: f32[N], e: f32 = 1) -> (y: f32[M, N], r: f32[M]):\n"
        "    y = x * rsqrt(mean(x * x, over=N)) * w * w\n"
        "    r = maximum(amax(abs(x), over=N), 0 * sum(x, over=N))\n"
    )
    case = Case(op="scaled", seed=0, extents={})
    assert degrees(scaled, case, "x") == {"y": Fraction(0), "r": Fraction(1)}
    assert degrees(scaled, case, "w") == {"y": Fraction(2), "r": Fraction(0)}
    assert degrees(SOFTENED, replace(PLAIN, dtypes={"T": "f32"}), "x") is None


def test_independent_axes_are_those_nothing_looks_along() -> None:
    assert independent_axes(SOFTENED) == [Named("M")]
    assert independent_axes(GRAPHS["normed"]) == [Lead()]
    assert independent_axes(GRAPHS["looked_up"]) == [Named("B"), Named("D")]
    assert independent_axes(GRAPHS["packed"]) == [Named("N")]
