"""Where every reduction of a plan went, and why, as `fusec explain` says it."""

from __future__ import annotations

import pytest

from fusec.diagnostics import Source
from fusec.ir.program import BuiltPlan
from fusec.lang.load import load
from fusec.passes.graph.elaborate.op import elaborate
from fusec.passes.pipeline import StepReport, compile_graph
from fusec.passes.plan.justify import Placement, justify, live_registers

SPEC = """op f(x: T[..., N], w: T[N]) -> y: f32[...]
where T in {{f16, f32}}:
    s = {earlier}
    y = {body}
"""

LAYERNORM = """op f(x: T[..., N], w: T[N], b: T[N], eps: f32 = 1e-5) -> y: T[..., N]
where T in {f16, f32}:
    y = layernorm(x, w, b, eps, over=N)
"""


def plans(body: str, earlier: str = "mean(x * x, over=N)") -> dict[str, tuple[BuiltPlan, tuple[Placement, ...]]]:
    """The plans of an op that reduces `body`, which may use an earlier reduction `s`, by their shape."""
    (graph,) = elaborate(load(Source("f.fuse", SPEC.format(body=body, earlier=earlier)), None))
    steps: list[StepReport] = []
    program = compile_graph(graph, steps.append)
    made = {step.name: step.result for step in steps}
    built = [plan for group in program.groups for plan in group.all_plans()]
    return {plan.plan.shape.value: (plan, justify(plan.plan, made["simplify"], made["commute"])) for plan in built}


def placed(body: str, earlier: str = "mean(x * x, over=N)", shape: str = "resident") -> Placement:
    """The placement of the reduction that `body` is."""
    return next(found for found in plans(body, earlier)[shape][1] if found.reduction == body)


def test_reductions_that_wait_for_nothing_are_merged() -> None:
    first, second = plans("s + amax(x, over=N)")["streamed"][1]
    assert (first.reduction, second.reduction) == ("sum in mean(x * x, over=N)", "amax(x, over=N)")
    assert second.place == "streamed: streamed along N, sweep 1 of 1"
    assert second.applied == ("merge: one sweep with sum in mean(x * x, over=N)",)
    assert first.applied == ("merge: one sweep with amax(x, over=N)",)
    assert (first.refused, second.refused) == ((), ())


def test_a_positive_factor_is_commuted() -> None:
    placement = placed("amax(abs(x * rsqrt(s + 1) * w), over=N)", shape="streamed")
    assert placement.applied[-1].startswith("commute: ")
    assert placement.place == "streamed: streamed along N, sweep 1 of 1"
    assert placement.refused == ()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("amax(x * s, over=N)", "div in mean(x * x, over=N) is not proved positive"),
        ("sum(cast(x * s, T) * w, over=N)", "the declared cast to T stands in between"),
        ("sum(exp(x * s), over=N)", "a factor does not pass through exp(x * s)"),
        ("sum(x - s, over=N)", "sub in x - s does not multiply all of it, and only a factor can leave"),
        ("sum(abs(x * rsqrt(s + 1) + w), over=N)", "add in x * rsqrt(s + 1) + w does not multiply all of it"),
    ],
)
def test_a_refused_rule_names_the_first_condition_that_fails(body: str, reason: str) -> None:
    placement = placed(body, shape="streamed")
    assert placement.place == "streamed: streamed along N, sweep 2 of 2"
    assert not any(rule.startswith("commute") for rule in placement.applied)
    assert len(placement.refused) == 1
    assert placement.refused[0].startswith(f"commute: {reason}")


def test_where_a_row_goes() -> None:
    found = plans("amax(x, over=N)", earlier="1.0")
    assert {shape: placements[-1].place.split(" along")[0] for shape, (_, placements) in found.items()} == {
        "rows": "rows: in registers",
        "resident": "resident: in registers",
        "streamed": "streamed: streamed",
        "split": "partial0: split over programs",
    }


def test_a_row_that_is_needed_twice_takes_more_registers() -> None:
    once, _ = plans("amax(x, over=N)", earlier="1.0")["resident"]
    twice, _ = plans("sum(exp(x - s), over=N)", earlier="amax(x, over=N)")["resident"]
    (needs_one,), (needs_two,) = (map(live_registers, plan.plan.stages) for plan in (once, twice))
    assert needs_one == "about 1 * N / threads + 16"
    assert needs_two.endswith("* N / threads + 32")


def test_reductions_of_one_function_are_told_apart() -> None:
    first, second = plans("sum(softmax(x, over=N), over=N)")["resident"][1][:2]
    assert [first.reduction, second.reduction] == [f"{op} in softmax(x, over=N)" for op in ("amax", "sum")]
    (graph,) = elaborate(load(Source("f.fuse", LAYERNORM), None))
    steps: list[StepReport] = []
    program = compile_graph(graph, steps.append)
    made = {step.name: step.result for step in steps}
    mean, variance = justify(program.groups[0].plans[0].plan, made["simplify"], made["commute"])
    assert mean.reduction == variance.reduction == "sum in layernorm(x, w, b, eps, over=N)"
    assert (len(mean.refused), len(variance.refused)) == (0, 1)
