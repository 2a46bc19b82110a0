"""Drawn extents are solutions of what a signature asks, however it is written, and not always the same one."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from specimens import graph

from fusec.reference.bind import bind
from fusec.testing.cases import Case, build
from fusec.testing.strategies import Budget, cases

FORMS = {
    "N == 8192": (1, "x: f32[M, N]"),
    "D == R": (3, "x: f32[M, D], z: f32[M, R]"),
    "N % 128 == 0": (3, "x: f32[M, N]"),
    "N % 96 == 32": (3, "x: f32[M, N]"),
    "128 <= N": (3, "x: f32[M, N]"),
    "128 <= N, N < 131": (2, "x: f32[M, N]"),
    "N >= 20000, N % 4 == 3": (1, "x: f32[M, N]"),
    "N % 8192 == 5000": (1, "x: f32[M, N]"),
    "M > 100": (3, "x: f32[M, N]"),
    "H * D == 4096": (3, "x: f32[M, H, D]"),
    "H * D == K": (3, "x: f32[M, H, D], z: f32[K]"),
    "2 * A == 3 * B": (3, "x: f32[M, A], z: f32[M, B]"),
    "A * B == C * D": (3, "x: f32[A, B], z: f32[C, D]"),
    "A + B == 576, A % 64 == 0": (3, "x: f32[M, A], z: f32[M, B]"),
    "A + B == C + D": (3, "x: f32[A, B], z: f32[C, D]"),
    "Q % K == 0, Q // K == 5, K > 3": (3, "x: f32[M, Q], z: f32[M, K]"),
    "E == D - 4": (3, "x: f32[D], z: f32[E]"),
    "E // 2 == 7, E == D + 3": (2, "x: f32[D], z: f32[E]"),
    "K == 2 * L, K == 6 * J": (3, "x: f32[K], y: f32[L], z: f32[J]"),
    "N != 1, N != 2": (3, "x: f32[M, N]"),
}
"""Conditions, how many different solutions are asked for, and the tensors whose extents they are about."""

quick = settings(
    max_examples=20, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def spec(condition: str, tensors: str) -> str:
    names = [tensor.partition(":")[0] for tensor in tensors.split(", ") if ":" in tensor]
    outputs = ", ".join(part.replace(":", "_out:", 1) if ":" in part else part for part in tensors.split(", "))
    lines = "".join(f"    {name}_out = {name} * 2\n" for name in names)
    return f"op f({tensors}) -> ({outputs})\nwhere {condition}:\n{lines}"


@pytest.mark.parametrize("condition", FORMS)
def test_extents_that_satisfy_a_condition_are_found(condition: str) -> None:
    wanted, tensors = FORMS[condition]
    op = graph(spec(condition, tensors))
    found: list[dict[str, int]] = []

    @quick
    @given(cases(op, Budget(elements=1024)))
    def collect(case: Case) -> None:
        binding = bind(op, build(op, case).arguments)
        found.append({name: binding.extents[name] for name in case.extents})

    collect()
    about = {name for name in found[0] if name in condition}
    assert len({tuple(sorted(e for e in each.items() if e[0] in about)) for each in found}) >= wanted
    assert any(all(each.values()) for each in found)


def test_extents_that_must_be_large_leave_few_rows() -> None:
    op = graph(spec("N == 8192", "x: f32[M, N]"))
    rows: set[int] = set()

    @quick
    @given(cases(op))
    def collect(case: Case) -> None:
        rows.add(case.extents["M"])

    collect()
    assert rows <= {0, 1, 2}
    assert {1, 2} <= rows


def test_what_nothing_satisfies_is_not_drawn() -> None:
    op = graph(spec("N > 5, N < 4", "x: f32[M, N]"))

    @quick
    @given(cases(op))
    def collect(case: Case) -> None:
        raise AssertionError(case)

    with pytest.raises(Unsatisfiable):
        collect()
