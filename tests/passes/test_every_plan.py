"""No plan that has a condition stands last: a plan that no call is refused by closes every group."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reference_specs import CONTRACTIONS, specs

from fusec.diagnostics import InternalError, Source
from fusec.ir.fixed_extents import fixed_extents
from fusec.ir.graph import Graph
from fusec.ir.partition import FUSED, STORED, VECTOR, Partition, Step
from fusec.ir.schedule import Gemm, Gemv, Group, Resident, RowLoop, Rows, Schedule, SplitRows
from fusec.ir.types import Named
from fusec.ir.verify_partition import verify_group, verify_schedules
from fusec.lang.load import load
from fusec.passes.graph.add_up import add_up, shared_sums
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.resolve_views import resolve_views
from fusec.passes.graph.simplify import simplify
from fusec.passes.partition.postpone import postpone
from fusec.passes.schedule.groups import contraction, groups
from fusec.passes.schedule.known import Known
from fusec.testing.random_specs import text as random_spec

RANDOM = 60

NORM = """op f(x: T[M, N]) -> y: T[M, N]
where T in {f16}:
    y = x / sum(x * x, over=N)
"""

BESIDE = NORM.replace("N]", "N, L]").replace("over=N", "over=(N, L)")
"""A loop over N has all of L in registers."""

PRODUCT = """op f(x: T[M, K], w: T[N, K]) -> y: T[M, N]
where T in {f16}:
    y = dot(x, w, over=K)
"""


def graphs(text: str) -> tuple[Graph, ...]:
    return elaborate(load(Source("spec.fuse", text), None))


def groups_of(graph: Graph) -> tuple[Group, ...]:
    """The groups of an op, of which a last step makes the sums in place that several values may share."""
    summed = add_up(graph)
    first = postpone(summed, shared_sums(summed)).first
    return groups(resolve_views(simplify(first)), Known(fixed_extents(graph)))


def test_every_group_has_a_plan_for_every_call() -> None:
    for text in (*specs(), CONTRACTIONS, *map(random_spec, range(RANDOM))):
        for graph in graphs(text):
            for group in groups_of(graph):
                verify_group(group, fixed_extents(graph))


@pytest.mark.parametrize(("text", "shape"), [(NORM, Rows), (NORM, Resident), (BESIDE, Resident), (BESIDE, RowLoop)])
def test_a_plan_with_a_limit_may_not_stand_last(text: str, shape: type[Schedule]) -> None:
    (graph,) = graphs(text)
    (group,) = groups_of(graph)
    plans = tuple(sorted(group.plans, key=lambda plan: isinstance(plan, shape)))
    with pytest.raises(InternalError, match="no plan of y takes every call"):
        verify_group(replace(group, plans=plans), {})
    verify_group(replace(group, plans=plans, apart=(group,)), {})


def test_a_loop_with_nothing_beside_it_takes_every_call() -> None:
    (graph,) = graphs(NORM)
    (group,) = groups_of(graph)
    plans = tuple(plan for plan in group.plans if not isinstance(plan, SplitRows))
    assert isinstance(plans[-1], RowLoop)
    verify_group(replace(group, plans=plans), {})


def test_rows_known_to_be_short_need_no_other_plan() -> None:
    (graph,) = graphs(NORM.replace("{f16}", "{f16}, N == 64"))
    (group,) = groups_of(graph)
    assert [type(plan) for plan in group.plans] == [Rows]
    with pytest.raises(InternalError, match="no plan of y takes every call"):
        verify_group(group, {})


def test_a_plan_for_a_few_may_not_stand_last() -> None:
    (graph,) = graphs(PRODUCT)
    (group,) = groups_of(graph)
    few = tuple(replace(plan, few=(Named("M"),)) for plan in group.plans if isinstance(plan, Gemm | Gemv))
    with pytest.raises(InternalError, match="no plan of y takes every call"):
        verify_group(replace(group, plans=few), {})


def test_a_contraction_of_stored_operands_ends_in_the_gemm_that_takes_every_call() -> None:
    (graph,) = graphs(PRODUCT)
    group = contraction(resolve_views(graph), Known({}), "", vectors=True)
    assert isinstance(group, Group)
    assert [plan.name for plan in group.plans] == ["gemv", "gemv_loop", "split_k", "swap_ab", "tma", "gemm"]
    verify_group(group, {})
    for last in range(1, len(group.plans)):
        with pytest.raises(InternalError, match="no plan of y takes every call"):
            verify_group(replace(group, plans=group.plans[:last]), {})


def test_plans_for_vectors_alone_are_for_a_partition_that_is() -> None:
    (graph,) = graphs(PRODUCT)
    (group,) = groups_of(graph)
    vectors = replace(group, plans=tuple(plan for plan in group.plans if isinstance(plan, Gemv)))
    step = Step(graph, groups=(vectors,))
    verify_schedules(Partition(VECTOR, (step,)), {})
    for name in (FUSED, STORED):
        with pytest.raises(InternalError, match="no plan of y takes every call"):
            verify_schedules(Partition(name, (step,)), {})
