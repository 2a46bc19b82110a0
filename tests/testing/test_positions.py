"""Integers that a spec takes for positions are drawn as such, whatever they are called and however they are used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from specimens import graph

from fusec.testing.cases import Case, build
from fusec.testing.exercise import Effort, Record, exercise
from fusec.testing.strategies import cases

sys.path.append(str(Path(__file__).resolve().parents[1] / "ops"))

from compiled import compiled, imported

PAGED = """
op paged_decode(
    q: T[B, H, D], keys: T[Pages, Page, H, D], values: T[Pages, Page, H, D],
    table: i32[B, P], lengths: i32[B], longest: dim(S),
) -> y: T[B, H, D]
where T in {f16, f32}, S == P * Page:
    at = index(S) // Page
    page = table[index(B), at]
    scores = where(index(S) < lengths, dot(q, keys[page, index(S) % Page], over=D) * 0.1, -inf)
    y = dot(softmax(scores, over=S), values[page, index(S) % Page], over=S)
"""

USES = {
    "x[at]": ("at: i32[M], x: f32[N, D]", "y: f32[M, D] = x[at]", "0 <= at < N"),
    "x[at - 1]": ("at: i32[M], x: f32[N, D]", "y: f32[M, D] = x[maximum(at - 1, 0)]", "0 <= at < N + 1"),
    "x[at + index]": (
        "at: i32[M], x: f32[N, D], z: f32[K]",
        "y: f32[M, K, D] = x[at + index(K)] + z",
        "0 <= at < max(N - K + 1, 1)",
    ),
    "x[at // 4]": ("at: i32[M], x: f32[N, D]", "y: f32[M, D] = x[at // 4]", "0 <= at < 4 * N"),
    "x[at * 4 + index(4)]": ("at: i32[M], x: f32[N, D]", "y: f32[M, D] = x[at * 4]", "0 <= at < (N - 1) // 4 + 1"),
    "index < n": ("n: i64[M], x: f32[M, N]", "y: f32[M, N] = where(index(N) < n, x, 0)", "1 <= n <= N"),
    "n > index": ("n: i64[M], x: f32[M, N]", "y: f32[M, N] = where(n > index(N), x, 0)", "1 <= n <= N"),
    "index >= n": ("n: i64[M], x: f32[M, N]", "y: f32[M, N] = where(index(N) >= n, x, 0)", "0 <= n < N"),
    "index == n": ("n: i64[M], x: f32[M, N]", "y: f32[M, N] = where(index(N) == n, x, 0)", "0 <= n < N"),
    "2 index < n": ("n: i64[M], x: f32[M, N]", "y: f32[M, N] = where(2 * index(N) + 1 < n, x, 0)", "1 <= n <= 2 * N"),
    "n[at]": ("n: i64[B], at: i32[M], x: f32[M, N]", "y: f32[M, N] = where(index(N) < n[at], x, 0)", "1 <= n <= N"),
}
"""Parameters, an output with its value, and what holds for the integers of a call with ordinary values."""

quick = settings(
    max_examples=40, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("use", USES)
def test_integers_are_drawn_where_they_are_used_as_positions(use: str) -> None:
    params, output, holds = USES[use]
    declared, _, value = output.partition(" = ")
    op = graph(f"op f({params}) -> {declared}:\n    y = {value}\n")
    drawn: dict[bool, list[bool]] = {False: [], True: []}

    @quick
    @given(cases(op))
    def collect(case: Case) -> None:
        name = holds.split()[2]
        given_values = build(op, case).arguments[name]
        assert isinstance(given_values, torch.Tensor)
        for number in given_values.flatten().tolist() if all(case.extents.values()) else ():
            drawn[case.values.get(name) == "stray"].append(eval(holds, {**case.extents, name: number}))

    collect()
    assert drawn[False]
    assert all(drawn[False])
    assert not all(drawn[True])


def test_most_of_a_paged_attention_has_a_bound(tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(PAGED, tmp_path)
    record = Record()
    exercise(op.module, op.program, Effort(own=4, each=4), device, record)
    assert record.share is not None
    assert record.share > 0.9
    assert record.worst.keys() == {kernel.name for kernel in op.program.kernels}


def test_one_position_too_many_is_noticed(tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(PAGED, tmp_path)
    text = Path(str(op.module.__file__)).read_text()
    assert "< lengths" in text
    module = imported(text.replace("< lengths", "<= lengths"), tmp_path)
    with pytest.raises(AssertionError, match="is outside of"):
        exercise(module, op.program, Effort(own=4, each=2, planned=20, smaller=0), device, Record())
