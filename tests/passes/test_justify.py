"""Where every reduction of a plan went, and why, as `fusec explain` says it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from reference_specs import CONSTRUCTS, examples, specs

from fusec.diagnostics import Source
from fusec.ir.expressions import Reduce
from fusec.ir.graph import reachable
from fusec.lang.load import load
from fusec.passes.explain.justify import Placement, Reduction, justify, placements
from fusec.passes.graph.commute import Leaving, commuted, reducing
from fusec.passes.graph.elaborate.op import elaborate
from fusec.passes.graph.marks import mark_of, marked, marked_reductions
from fusec.passes.graph.simplify import simplify
from fusec.passes.pipeline import compile_graph
from fusec.passes.runner import StepReport
from fusec.testing.random_specs import text as random_spec

SPEC = """op f(x: T[M, N], w: T[N], b: T[N]) -> y: f32[M{kept}]
where T in {{f16, f32}}{constraint}:
    s = {earlier}
    y = {body}
"""


@dataclass(frozen=True)
class Justified:
    """The reductions of an op, and where each shape of plan puts them."""

    reductions: tuple[Reduction, ...]
    plans: dict[str, tuple[Placement, ...]]

    def rules(self, number: int, name: str) -> list[tuple[bool, str]]:
        return [(rule.applied, rule.reason) for rule in self.reductions[number - 1].rules if rule.name == name]

    def places(self, shape: str) -> dict[int, str]:
        return {placement.reduction: placement.place for placement in self.plans[shape]}


def justified(body: str, earlier: str = "mean(x * x, over=N)", kept: str = "", constraint: str = "") -> Justified:
    """An op that reduces twice: `s`, and `body`, which may use `s`."""
    text = SPEC.format(body=body, earlier=earlier, kept=kept, constraint=constraint)
    (graph,) = elaborate(load(Source("f.fuse", text), None))
    steps: list[StepReport] = []
    program = compile_graph(marked(graph), steps.append)
    made = {step.name: step.result for step in steps}
    plans = [plan for group in program.groups for plan in group.all_plans()]
    (fused,) = program.whole.steps
    assert fused.flow is not None
    reductions = justify(graph, made["simplify"], fused.flow)
    return Justified(reductions, {plan.name: placements(plan) for plan in plans})


def test_reductions_that_wait_for_nothing_are_merged() -> None:
    op = justified("s + amax(x, over=N)")
    assert [reduction.words for reduction in op.reductions] == ["mean(x * x, over=N)", "amax(x, over=N)"]
    assert op.rules(1, "merge") == [(True, "one sweep with reduction 2")]
    assert op.rules(2, "merge") == [(True, "one sweep with reduction 1")]
    assert op.rules(2, "commute") == [(False, "it waits for no other reduction over N")]
    assert op.rules(2, "online") == [(False, "it waits for no other reduction over N")]
    assert op.places("row_loop") == dict.fromkeys((1, 2), "streamed along N, sweep 1 of 1")


def test_a_positive_factor_is_commuted() -> None:
    op = justified("amax(abs(x * rsqrt(s + 1) * w), over=N)")
    assert op.rules(2, "commute") == [(True, "rsqrt(s + 1) is positive, has no axis N, and left it")]
    assert op.rules(2, "merge") == [(True, "one sweep with reduction 1")]
    assert op.places("row_loop")[2] == "streamed along N, sweep 1 of 1"


def test_a_factor_of_a_sum_may_have_any_sign() -> None:
    op = justified("sum(x * s * w, over=N)", earlier="sum(x, over=N)")
    assert op.rules(2, "commute") == [(True, "reduction 1 has no axis N, and left it")]


def test_of_two_factors_one_may_leave() -> None:
    op = justified("amax(x * s * sigmoid(s), over=N)", earlier="sum(x, over=N)")
    assert op.rules(2, "commute") == [
        (True, "sigmoid(s) is positive, has no axis N, and left it"),
        (False, "reduction 1 is not proved positive"),
    ]
    assert op.places("row_loop")[2] == "streamed along N, sweep 2 of 2"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("amax(x * s, over=N)", "reduction 1 is not proved positive"),
        ("sum(abs(x * s), over=N)", "reduction 1 is not proved positive"),
        ("sum(maximum(x * s, w * s), over=N)", "reduction 1 is not proved positive"),
        ("sum(cast(x * s, T) * w, over=N)", "the declared cast to T stands in between"),
        ("sum(exp(x * s), over=N)", "a factor does not pass through exp(x * s)"),
        ("sum(x / (s + 1), over=N)", "it is divided by add in s + 1, and only a factor can leave"),
        ("sum(x - s, over=N)", "sub in x - s does not multiply all of it, and only a factor can leave"),
        ("sum(x * s + b, over=N)", "add in x * s + b does not multiply all of it, and only a factor can leave"),
        ("sum(x * s + b * exp(s), over=N)", "not all that meets in add in x * s + b * exp(s) has the factor"),
        ("sum(cast(x, i32) * s, over=N)", "what would stay, cast(x, i32), is no real number"),
    ],
)
def test_a_refused_rule_names_the_first_condition_that_fails(body: str, reason: str) -> None:
    op = justified(body)
    assert op.rules(2, "commute") == [(False, reason)]
    assert op.rules(2, "online") == [(False, "not built: what it waits for is finished first")]
    assert op.rules(1, "merge") == [(False, "reduction 2 needs a later sweep")]
    assert op.rules(2, "merge") == [(False, "reduction 1 needs an earlier sweep")]
    assert op.places("row_loop") == {number: f"streamed along N, sweep {number} of 2" for number in (1, 2)}


def test_a_factor_whose_axis_a_view_takes_apart_stays() -> None:
    earlier = "sum(x, over=M)\n    a, c = halves(x * s, over=N)"
    op = justified("sum(a * c, over=M)", earlier, kept=", N/2", constraint=", N % 2 == 0")
    assert op.rules(2, "commute") == [(False, "a view takes an axis of the factor apart")]


def test_where_a_row_goes() -> None:
    op = justified("amax(x, over=N)", earlier="1.0")
    assert {shape: op.places(shape)[1] for shape in op.plans} == {
        "rows": "in registers, several rows to a program",
        "resident": "in registers",
        "row_loop": "streamed along N, sweep 1 of 1",
        "split_rows": "split over programs along N, combined in fixed order by the stages after it",
    }


def test_each_stage_of_a_split_has_its_own_reduction() -> None:
    op = justified("sum(exp(x - s), over=N)", earlier="amax(x, over=N)")
    assert [(placed.reduction, placed.stage) for placed in op.plans["split_rows"]] == [
        (1, "partial_largest"),
        (2, "partial_total"),
    ]


def test_reductions_of_one_function_are_told_apart() -> None:
    op = justified("sum(layernorm(x, w, b, 0.1, over=N), over=N)", earlier="1.0")
    words = "mean over N in layernorm(x, w, b, 0.1, over=N)"
    assert [reduction.words for reduction in op.reductions[:2]] == [words, words]
    assert op.rules(1, "commute") == [(False, "it waits for no other reduction over N")]
    assert op.rules(2, "commute")[0][1].startswith("sub in layernorm(x, w, b, 0.1, over=N) does not multiply all")


def test_reductions_that_become_equal_are_one() -> None:
    op = justified("s + sum(x * x, over=N)")
    assert op.rules(2, "share") == [(True, "equal to another reduction, computed once")]
    assert op.places("row_loop").keys() == {1}


def reductions_of(text: str) -> Iterator[tuple[bool, bool, bool, str]]:
    """Of every reduction whether it waited, whether it still does, and whether something is said to be in the way."""
    for graph in elaborate(load(Source("f.fuse", text), None)):
        told: dict[int | None, Leaving] = {}
        marks = marked(simplify(graph))
        after = commuted(marks, lambda builder, node, found: told.update({mark_of(node, Reduce): found}))  # noqa: B023
        for number, places in marked_reductions(after.nodes, reachable(after.nodes, after.roots)).items():
            expr = after.nodes[places[0]].expr
            assert isinstance(expr, Reduce)
            waits = reducing(after.nodes, expr.axes)(expr.arg)
            yield told[number].waits, waits, told[number].kept is not None, f"{graph.name}: {expr}"


@pytest.mark.parametrize("text", [*specs(), *examples(), CONSTRUCTS, *map(random_spec, range(40))])
def test_something_is_in_the_way_where_a_reduction_still_waits_and_nowhere_else(text: str) -> None:
    for waited, waits, is_kept, words in reductions_of(text):
        assert waits is is_kept, words
        assert waited or not waits, words
