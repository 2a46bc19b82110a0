"""A host table is held to its kernels: each is there, and is given what it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fusec.diagnostics import InternalError, Source
from fusec.ir.host.names import Name
from fusec.ir.host.plans import Plans, Workspace
from fusec.ir.host.schedules import Elementwise, Resident, SplitRows
from fusec.ir.program import HostTable, Program
from fusec.ir.verify_host import verify_host
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.pipeline import compile_graph

SPEC = """op f(x: T[..., N], w: T[N], eps: f32) -> y: T[..., N]
where T in {f16, bf16, f32}:
    y = rmsnorm(x, w, eps, over=N)
"""


@pytest.fixture(scope="module")
def program() -> Program:
    (graph,) = elaborate(load(Source("f.fuse", SPEC), None))
    return compile_graph(graph)


def with_plans(table: HostTable, change: Callable[[Any], Any]) -> HostTable:
    """The table with other schedules: `change` is given each, and returns None for what is left out."""
    (step,) = table.plans.steps
    plans = tuple(new for plan in step.plans if (new := change(plan)) is not None)
    return replace(table, plans=replace(table.plans, steps=(replace(step, plans=plans),)))


def of_plans(table: HostTable, **changes: Any) -> HostTable:
    plans: Plans = replace(table.plans, **changes)
    return replace(table, plans=plans)


def another_tile(plan: Any) -> Any:
    return replace(plan, tile="M") if isinstance(plan, Resident) else plan


def another_kernel(plan: Any) -> Any:
    return replace(plan, kernel=Name("_f_other")) if isinstance(plan, Resident) else plan


def another_sum(plan: Any) -> Any:
    if not isinstance(plan, SplitRows):
        return plan
    (partial,) = plan.partials
    return replace(plan, partials=(replace(partial, sums={**partial.sums, "partial_total": ""}),))


def without_splits(plan: Any) -> Any:
    return Elementwise(plan.combine.kernel, plan.combine.rows, "N") if isinstance(plan, SplitRows) else plan


FAULTS: dict[str, tuple[Callable[[HostTable], HostTable], str]] = {
    "a kernel that is not there": (lambda t: with_plans(t, another_kernel), "there is no kernel _f_other"),
    "a kernel that nothing launches": (lambda t: with_plans(t, another_kernel), "no plan launches _f_resident"),
    "a tile size that is not given": (lambda t: with_plans(t, another_tile), "_f_resident is not given BLOCK_N"),
    "a stride that is not given": (
        lambda t: of_plans(t, strides={**t.plans.strides, "w": "K"}),
        "_f_rows is not given w_stride_N",
    ),
    "a pointer that is not given": (
        lambda t: of_plans(t, strides={name: dims for name, dims in t.plans.strides.items() if name != "w"}),
        "_f_combine is not given w",
    ),
    "a number of the call that is not given": (lambda t: of_plans(t, scalars=""), "_f_rows is not given eps"),
    "partial results that nothing takes": (
        lambda t: with_plans(t, another_sum),
        "no kernel of split_rows takes partial_total",
    ),
    "partial results that nothing leaves": (
        lambda t: with_plans(t, without_splits),
        "_f_combine is not given partial_sum_of_squares",
    ),
    "a workspace that nothing uses": (
        lambda t: of_plans(t, workspace={"spare": Workspace("N", "T")}),
        "nothing uses the workspace spare",
    ),
}


def test_what_the_compiler_makes_holds(program: Program) -> None:
    assert program.table is not None
    verify_host(program, program.table)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(program: Program, fault: str) -> None:
    change, said = FAULTS[fault]
    assert program.table is not None
    with pytest.raises(InternalError) as caught:
        verify_host(program, change(program.table))
    assert said in str(caught.value)
