"""Random specs are well typed, mean something, stay within a narrow bound, and cover the language of row ops."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from specimens import graph

from fusec.numerics.envelope import envelope
from fusec.reference.evaluate import evaluate
from fusec.testing.cases import Case, build
from fusec.testing.random_specs import text
from fusec.testing.strategies import Budget, cases

brief = settings(
    max_examples=3,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_a_random_spec_has_a_meaning_and_a_narrow_bound(spec_seed: int) -> None:
    op = graph(text(spec_seed))

    @brief
    @given(cases(op, Budget(rows=4, elements=300)))
    def meaningful(case: Case) -> None:
        arguments = build(op, case).arguments
        assert evaluate(op, arguments).keys() == {output.name for output in op.outputs}
        bounds = envelope(op, arguments)
        if not case.values:
            assert not any(bound.unknown.any() for bound in bounds.values())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        meaningful()


def test_a_seed_always_gives_the_same_spec() -> None:
    assert [text(seed) for seed in range(20)] == [text(seed) for seed in range(20)]
    assert len({text(seed) for seed in range(100)}) == 100


@pytest.mark.parametrize(
    "construct",
    [
        *("...", "H*D", "G*L", "P + Q", "dim(H)", "L == 16", "% 2 == 0", "% 4 == 0"),
        *("halves(", "pairs(", "join(", "interleave(", "split(", "concat(", "index(", "table", "weight "),
        *("cast(", "quantize(", "f8e4m3[", "i8[", "softmax(", "mean(", "sum(", "amax(", "amin(", "where("),
        *("{relu, silu}", " = 0", "over=(H, D)", "s2: f32", "-> (", "-> y0"),
    ],
)
def test_every_construct_turns_up(construct: str) -> None:
    assert any(construct in text(seed) for seed in range(200))
