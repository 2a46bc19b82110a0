"""Every call has a plan, whatever extents and strides it comes with and whichever way it is told to take."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import product

import pytest
import torch
from catalogue import Op
from compiled import compiled

from fusec.runtime import Op as Registered
from fusec.runtime import PlanError
from fusec.testing.cases import Case, build

TWICE = {
    "beside": """
op f(z: T[M, N]) -> (y: T[M], y2: T[N, Z])
where T in {f16, bf16}, N == Z:
    v0 = rename(z, N -> Z)
    v1 = dot(z, v0, over=M)
    y = amin(dot(softmax(v1, over=Z), v0, over=Z, precision=T), over=N)
    y2 = v1
""",
    "behind": """
op f(z: T[M, N], w: T[Z, N], u: T[L, Z]) -> y: T[M, L]
where T in {f16, bf16}:
    y = dot(cast(relu(dot(z, w, over=N)), T), u, over=Z)
""",
    "turned": """
op f(z: T[M, N], w: T[N, Z], u: T[M, L]) -> y: T[Z, L]
where T in {f16, bf16}:
    y = dot(cast(relu(dot(z, w, over=N)), T), u, over=M)
""",
}
"""Ops with two contractions, whose plans for a few rows are for a few positions of different axes."""

EXTENTS = (0, 1, 2, 40, 130)

LAYOUTS = ("contiguous", "transposed", "misaligned")


@pytest.fixture(scope="module", params=TWICE)
def op(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Op:
    (only,) = compiled(TWICE[request.param], tmp_path_factory.mktemp("twice"))
    return only


def registered(op: Op) -> Registered:
    return next(value for value in vars(op.module).values() if isinstance(value, Registered))


def plan(op: Op, m: int, n: int, layout: str, device: torch.device, name: str | None = None) -> object:
    """The plan of a call, which is not launched."""
    extents = {"M": m, "N": n, "Z": n, "L": 24}
    case = Case(op=op.name, seed=1, extents=extents, dtypes={"T": "f16"}, layouts={"z": layout})
    return registered(op).plan(*build(op.program.graph, case, device).arguments.values(), plan=name)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_call_has_a_plan(op: Op, layout: str, device: torch.device) -> None:
    for m, n in product(EXTENTS, EXTENTS):
        assert plan(op, m, n, layout, device) is not None


def test_every_plan_by_name_is_one_for_every_call_that_it_can_take(op: Op, device: torch.device) -> None:
    names = registered(op).plan_names
    assert {"tma", "swap_ab", "library"} <= set(names)
    for name, layout in product(names, LAYOUTS):
        limited = pytest.raises(PlanError) if name in refused(op, layout, device) else nullcontext()
        with limited:
            assert plan(op, 40, 130, layout, device, name) is not None


def refused(op: Op, layout: str, device: torch.device) -> set[str]:
    """The plans that the strides of a call do not allow."""
    try:
        plan(op, 40, 130, layout, device, "tma")
    except PlanError as error:
        return {*registered(op).plan_names} - {*(error.expected or ())}  # type: ignore[misc]
    return set()
