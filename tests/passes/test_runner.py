"""The runner tells of every step, and which of them made a graph or a partition that is not well formed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from fusec.diagnostics import InternalError, Source
from fusec.ir.graph import Graph
from fusec.ir.partition import LIBRARY, STORED, Partition, Split
from fusec.ir.schedule import Group
from fusec.ir.types import BOOL, REAL, ValueType
from fusec.ir.verify import verify_graph
from fusec.ir.verify_partition import verify_partition
from fusec.lang.load import load
from fusec.passes import pipeline
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.partition.postpone import Postponed
from fusec.passes.pipeline import GRAPH_STEPS, compile_graph
from fusec.passes.runner import StepReport

SPEC = """op f(x: T[M, D], w: T[D]) -> (y: T[M, D], z: f32[M])
where T in {f16, f32}, D % 2 == 0:
    a, b = halves(rmsnorm(x, w, 0.1, over=D), over=D)
    y = join(b, a, over=D)
    z = mean(x, over=D)
"""


def reports(text: str = SPEC) -> list[StepReport]:
    (graph,) = elaborate(load(Source("f.fuse", text), None))
    steps: list[StepReport] = []
    compile_graph(graph, steps.append)
    return steps


def test_the_runner_tells_of_every_step_in_order() -> None:
    rewrites = [step.__name__ for step in GRAPH_STEPS]
    names = [*rewrites, "resolve_views", "schedule", "build_kernels", "host_table"]
    assert [report.name for report in reports()] == names


def test_the_runner_tells_of_the_partitions_of_an_op_with_dots() -> None:
    names = [report.name for report in reports(DOTS)]
    assert names[5:8] == ["prepare", "partition", "resolve_views"]


DOTS = """op f(x: T[M, K], weight w: T[K, N], bias: T[N] = 0) -> y: T[M, N]
where T in {bf16}:
    y = dot(rmsnorm(x, 1.0, 0.1, over=K), w * 2, over=K, precision=T) + bias
"""


def ill_typed(graph: Graph) -> Graph:
    """A graph of which an output has another type than the node that it reads."""
    node = replace(graph.nodes[-1], type=ValueType(BOOL))
    return replace(graph, nodes=(*graph.nodes[:-1], node))


def broken(step: Callable[..., Any], part: str) -> Callable[..., Any]:
    """The step with an ill-typed graph in some part of what it makes."""

    def wrong(*given: Any) -> Any:
        match step(*given):
            case Graph() as graph:
                return ill_typed(graph)
            case Split() as split:
                return replace(split, **{part: ill_typed(getattr(split, part))})
            case Postponed() as postponed:
                return replace(postponed, **{part: ill_typed(getattr(postponed, part))})
            case (Partition(steps=(first, *rest)) as made, *others):
                return (replace(made, steps=(replace(first, graph=ill_typed(first.graph)), *rest)), *others)

    wrong.__name__ = step.__name__
    return wrong


LAST = """op f(mut c: f32[P, N], dst: i32[M], src: i32[M], x: f32[M, N]) -> y: f32[M, N]:
    y = x * 2
    c[dst] = c[src] + sum(x, over=N)
"""

BROKEN = [("simplify", ""), ("commute", ""), ("regroup", ""), ("defer", ""), ("reciprocate", ""), ("partition", "")]
BROKEN += [("prepare", "once"), ("prepare", "each"), ("postpone", "first"), ("postpone", "last")]


@pytest.mark.parametrize(("name", "part"), BROKEN)
def test_the_runner_says_which_step_broke_which_rule(name: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (graph,) = elaborate(load(Source("f.fuse", LAST if name == "postpone" else DOTS), None))
    monkeypatch.setattr(pipeline, name, broken(getattr(pipeline, name), part))
    monkeypatch.setattr(pipeline, "GRAPH_STEPS", tuple(getattr(pipeline, step.__name__) for step in GRAPH_STEPS))
    with pytest.raises(InternalError, match=f"internal error in {name}: %\\d+ is said to be bool"):
        compile_graph(graph)


def partitions() -> dict[str, Partition]:
    """The partitions of an op with a step that stores what is multiplied, one that multiplies, one behind it."""
    (made,) = [report.result for report in reports(DOTS) if report.name == "partition"]
    return {each.name: each for each in made if not each.omits}


def without_step(partition: Partition, place: int) -> Partition:
    return replace(partition, steps=(*partition.steps[:place], *partition.steps[place + 1 :]))


def without_group(partition: Partition) -> Partition:
    other = Group(("other",), ())
    return replace(partition, steps=tuple(replace(step, groups=(other,)) for step in partition.steps))


WRONG: dict[str, tuple[Callable[[Partition], Partition], str]] = {
    "steps in another order": (lambda p: replace(p, steps=p.steps[::-1]), "is read before it is stored"),
    "a step twice": (lambda p: replace(p, steps=(*p.steps, p.steps[-1])), "is stored by two steps"),
    "no step that stores": (lambda p: without_step(p, 0), "is read before it is stored"),
    "no step that reads": (lambda p: without_step(p, len(p.steps) - 1), "is stored for nobody"),
    "an intermediate twice": (lambda p: replace(p, holds=p.holds * 2), "two intermediates have one name"),
    "an intermediate of another shape": (
        lambda p: replace(p, holds=tuple(replace(tensor, dims=tensor.dims[1:]) for tensor in p.holds)),
        "in another shape",
    ),
    "a group of something else": (without_group, "the groups of a step make other"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", [STORED, LIBRARY])
def test_the_verifier_tells_a_partition_that_does_not_run(name: str, wrong: str) -> None:
    change, message = WRONG[wrong]
    partition = partitions()[name]
    verify_partition(partition)
    with pytest.raises(InternalError, match=message):
        verify_partition(change(partition))


@pytest.mark.parametrize(("reduction", "is_part_of_a_mean"), [("sum", True), ("amax", False), ("amin", False)])
def test_integers_are_added_as_reals_and_not_compared_as_such(reduction: str, is_part_of_a_mean: bool) -> None:
    text = f"op f(x: i8[M, N]) -> y: i64[M]:\n    y = {reduction}(x, over=N)\n"
    (graph,) = elaborate(load(Source("f.fuse", text), None))
    node = replace(graph.nodes[-1], type=replace(graph.nodes[-1].type, element=REAL))
    wrong = replace(graph, nodes=(*graph.nodes[:-1], node))
    with nullcontext() if is_part_of_a_mean else pytest.raises(InternalError, match="is said to be real"):
        verify_graph(wrong)


@pytest.mark.parametrize("verifier", ["verify_schedules", "verify_host"])
def test_what_holds_between_the_results_of_steps_is_verified_of_all(
    verifier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Schedules of each partition, and the table of the op."""
    seen: list[Any] = []
    monkeypatch.setattr(pipeline, verifier, lambda *given: seen.append(given))
    (graph,) = elaborate(load(Source("f.fuse", DOTS), None))
    program = compile_graph(graph)
    partitions = {each.name for given in seen for each in given if isinstance(each, Partition)}
    if verifier == "verify_schedules":
        assert {STORED, LIBRARY} <= partitions
    else:
        ((verified, table),) = seen
        assert table == program.table
        assert verified.graph == program.graph
