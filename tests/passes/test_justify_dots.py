"""What left each dot of an op, what joined a weight, and the first condition against the rest, as `explain` says it."""

from __future__ import annotations

import pytest

from fusec.diagnostics import Source
from fusec.lang.load import load
from fusec.passes.explain.justify import Contraction, contractions
from fusec.passes.graph.commute import commute
from fusec.passes.graph.elaborate.op import elaborate
from fusec.passes.graph.marks import marked
from fusec.passes.graph.simplify import simplify

SPEC = """op f(x: T[M, K], g: T[K], s: f32[M], n: i8[M, K], m: i8[N, K], q: f8e4m3[N, K], p: f8e4m3[M, K], d: f64[M],
     weight gain: T[K], weight bias: T[K], weight row: T[M, K],
     weight w: T[N, K], weight wide: f32[N, K], weight v: f8e4m3[N, K])
  -> y: f32[M, N]
where T in {types}:
    y = {body}
"""

Verdicts = list[tuple[bool, str]]

NOTHING = "no factor along K depends on weights alone"
ALONG = "every factor of the operands has the axis K"


def justified(body: str, types: str = "{bf16, f32}") -> tuple[Contraction, ...]:
    """The dots of an op that computes `body`."""
    (graph,) = elaborate(load(Source("f.fuse", SPEC.format(body=body, types=types)), None))
    return contractions(graph, commute(simplify(marked(graph))))


def verdicts(body: str, rule: str, types: str = "{bf16, f32}") -> Verdicts:
    """What is said of a rule and the last dot."""
    return [(found.applied, found.reason) for found in justified(body, types)[-1].rules if found.name == rule]


IN_PARTS = "with sums in f32, where the tensor core has fewer digits of at most 128 products"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("dot(x * s, w, over=K)", ["s has no axis K, and left"]),
        ("dot(x * s / sum(x, over=K), w, over=K)", ["s and reduction 1 have no axis K, and left"]),
        ("dot(-x * 2, w, over=K)", ["2 has no axis K, and left", "the sign left"]),
        ("dot(x, w * 0.5, over=K)", ["0.5 has no axis K, and left"]),
        ("dot(x * s, exp(w), over=K)", ["s has no axis K, and left"]),
        ("dot(x * g * s, q * 3, over=K)", ["s and 3 have no axis K, and left"]),
        (
            "dot(rmsnorm(x, g, 1e-6, over=K), w, over=K)",
            ["rsqrt in rmsnorm(x, g, 1e-6, over=K) has no axis K, and left"],
        ),
    ],
)
def test_what_left_a_dot(body: str, said: list[str]) -> None:
    assert verdicts(body, "defer") == [(True, reason) for reason in said]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("dot(x, w, over=K)", "both operands are stored tensors, and nothing multiplies them"),
        ("dot(silu(x), w, over=K)", ALONG),
        ("dot(cast(x * s, T), w, over=K)", "the declared cast to T stands in between"),
        ("dot(x * s + g, w, over=K)", "add in x * s + g is a sum, which is not taken apart"),
        ("dot(exp(x * s), w, over=K)", "a factor does not pass through exp(x * s)"),
        ("dot(x * s, w, over=K, accum=f16)", "the sum is kept in f16, which has no room for what stays"),
        ("dot(n * s, m, over=K)", "what stays is a dot of integers, whose sum may not fit 32 bits"),
        ("dot(x * d, w, over=K)", "d is f64, and the dot of what stays is not"),
    ],
)
def test_what_is_kept_in_a_dot_for_the_first_condition_that_fails(body: str, reason: str) -> None:
    assert verdicts(body, "defer") == [(False, reason)]


def test_what_stays_is_not_rounded_to_a_type_of_less_range() -> None:
    norm = "dot(rmsnorm(x, g, 1e-6, over=K), w, over=K, precision=T)"
    reason = "x * g would be rounded to f16 without it, which has less range than f32"
    assert verdicts(norm, "defer", "{bf16, f16}") == [(False, reason)]
    peaked = "dot(softmax(x, over=K), w, over=K, precision=T)"
    assert verdicts(peaked, "defer", "{bf16, f16}") == [(True, "reduction 2 has no axis K, and left")]
    wide = "dot(rmsnorm(x, g, 1e-6, over=K), w, over=K)"
    left = "rsqrt in rmsnorm(x, g, 1e-6, over=K) has no axis K, and left"
    assert verdicts(wide, "defer", "{bf16, f16}") == [(True, left)]


def test_of_two_operands_one_may_be_rid_of_its_factor() -> None:
    assert verdicts("dot(x * g * s, q * 3, over=K, precision=T)", "defer", "{bf16, f16}") == [
        (True, "3 has no axis K, and left"),
        (False, "x * g would be rounded to f16 without it, which has less range than f32"),
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("dot(x * gain, w, over=K)", "gain follows from weights alone, and joined w"),
        (
            "dot(w, x * s / (1 + bias) * gain, over=K)",
            "add in 1 + bias and gain follow from weights alone, and joined w",
        ),
        ("dot(cast(x * s, T) * gain, w, over=K)", "gain follows from weights alone, and joined w"),
        ("dot(x * gain, w * 2, over=K)", "gain follows from weights alone, and joined w"),
        ("dot(x * gain, wide, over=K, precision=T)", "gain follows from weights alone, and joined wide"),
    ],
)
def test_what_joined_a_weight(body: str, reason: str) -> None:
    assert verdicts(body, "fold") == [(True, reason)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("dot(x * g, w, over=K)", NOTHING),
        ("dot(x * index(K), w, over=K)", NOTHING),
        ("dot(bias * gain, w, over=K)", "bias * gain is all that stays of its operand"),
        ("dot(cast(x * gain, T), w, over=K)", "the declared cast to T stands in between"),
        ("dot(x * gain, q, over=K)", "q does not depend on weights alone"),
        ("dot(exp(x) * gain, w, over=K)", "what stays, exp(x), is no stored tensor of reals"),
        ("dot(n * gain, w, over=K)", "what stays, n, is no stored tensor of reals"),
        ("dot(s * gain, w, over=K)", "gain is all that stays of its operand"),
        ("dot(x * row, w, over=K)", "row has the axis M, which w has not"),
        ("dot(p * gain, v, over=K)", "numbers of f8e4m3 fill the range of their type, and a product may leave it"),
    ],
)
def test_what_does_not_join_a_weight_for_the_first_condition_that_fails(body: str, reason: str) -> None:
    assert verdicts(body, "fold") == [(False, reason)]


IN_PARTS = "with sums in f32, where the tensor core has fewer digits of at most 128 products"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("dot(x, w, over=K)", "in T"),
        ("dot(x * s, w, over=K)", "in T"),
        ("dot(x * x, w, over=K)", "in f32, since an operand is computed"),
        ("dot(x * x, wide, over=K, precision=tf32)", "in f32, of which operands may lose digits by precision=tf32"),
        ("dot(x * x, w, over=K, precision=(T, tf32))", "in T, to which operands may be rounded by precision=T"),
        ("dot(x, wide, over=K, precision=f16)", "in f16, to which operands may be rounded by precision=f16"),
        ("dot(maximum(x, 0), w, over=K, precision=T)", "in T"),
        ("dot(p, w, over=K)", "in T"),
        ("dot(p, q, over=K)", f"in f8e4m3, {IN_PARTS}"),
        ("dot(p * s, q, over=K)", f"in f8e4m3, {IN_PARTS}"),
        ("dot(p, cast(q, f8e5m2), over=K)", f"in f8e4m3 by f8e5m2, {IN_PARTS}"),
        ("dot(p, q, over=K, accum=fast)", "in f8e4m3, with sums in as few digits as the tensor core has, by accum"),
        ("dot(n, m, over=K)", "in i8, with sums in i32, in i64 by threads where these may be too large for it"),
        ("dot(n, index(K), over=K)", ""),
    ],
)
def test_what_a_dot_multiplies_in(body: str, said: str) -> None:
    assert justified(body)[-1].multiplied == said


def test_dots_are_told_apart() -> None:
    found = justified("dot(x, w, over=K) + dot(x * s, q, over=K)")
    assert [(dot.number, dot.words) for dot in found] == [(1, "dot(x, w, over=K)"), (2, "dot(x * s, q, over=K)")]


def test_what_left_one_dot_is_a_factor_of_the_next() -> None:
    found = justified("sum(dot(dot(x * s, w, over=K), wide, over=N), over=K)")
    assert [rule.reason for rule in found[1].rules if rule.applied] == ["s has no axis N, and left"]


def test_equal_dots_are_one() -> None:
    first, second = justified("dot(x ** 2, w, over=K) + dot(x * x, w, over=K)")
    assert [rule.name for rule in first.rules] == ["defer", "fold"]
    assert [(rule.name, rule.applied) for rule in second.rules] == [("share", True)]
