"""Products of MXFP8, MXFP4 and NVFP4: right in every plan, and multiplied by tensor cores as they are packed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.forcing import forcings
from fusec.ir.multiply import multiplied_as
from fusec.ir.schedule import Gemm
from fusec.ir.types import DTYPES
from fusec.runtime import Op as RuntimeOp
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

FORM = """
op f(a: {a}[M, G*L], sa: {scale}[M, G], b: {b}[N, G*L], sb: {scale}[N, G]{more}) -> y: {y}[M, N]
where L == {group}:
    y = {made}
"""
SUM = "sum(dot(a, b, over=L) * {sa} * {sb}, over=G)"


def form(a: str, b: str, scale: str = "f8e8m0", group: int = 32, y: str = "f32", more: str = "", made: str = "") -> str:
    sign = "abs({})" if scale == "f8e4m3" else "{}"
    total = SUM.format(sa=sign.format("sa"), sb=sign.format("sb"))
    return FORM.format(a=a, b=b, scale=scale, group=group, y=y, more=more, made=made.format(total) or total)


FORMS = {
    "mxfp8": form("f8e4m3", "f8e4m3", y="bf16"),
    "mxfp8 of two kinds": form("f8e5m2", "f8e4m3", more=", bias: f32[N] = 0", made="silu({}) + bias"),
    "mxfp8 by mxfp4": form("f8e4m3", "f4e2m1"),
    "mxfp4": form("f4e2m1", "f4e2m1", y="bf16", more=", r: bf16[M, N]", made="{} + r"),
    "nvfp4": form("f4e2m1", "f4e2m1", "f8e4m3", 16, more=", total: f32[]", made="{} * total"),
}


def runtime(module: object) -> RuntimeOp:
    return next(value for value in vars(module).values() if isinstance(value, RuntimeOp))


@pytest.mark.parametrize("name", FORMS)
def test_every_plan_makes_what_the_spec_says(name: str, tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(FORMS[name], tmp_path)
    optional = tuple(param.name for param in op.program.graph.tensors if param.optional)
    group = 16 if name == "nvfp4" else 32
    sizes = ({"M": 3, "N": 5, "G": 1}, {"M": 17, "N": 34, "G": 5}, {"M": 1, "N": 16, "G": 0})
    for seed, extents in enumerate(sizes):
        case = Case(op=op.name, seed=seed, extents=extents | {"L": group}, omitted=optional if seed == 1 else ())
        assert "scaled" in runtime(op.module).reaching_names
        for forcing in forcings(runtime(op.module)):
            with forcing.of(runtime(op.module)):
                run_and_compare(op.call, op.program.forms, case, device=device)


@pytest.mark.parametrize("name", FORMS)
def test_digits_are_decoded_where_they_are_multiplied(name: str, tmp_path: Path) -> None:
    """No operand is stored in more bits first, and tensor cores multiply."""
    (op,) = compiled(FORMS[name], tmp_path)
    assert op.program.held == ()
    gemm = next(plan for plan in op.program.plans if isinstance(plan, Gemm))
    (dot,) = gemm.tile.dots.values()
    types = multiplied_as(gemm.tile.flow.nodes, dot)
    assert types is not None
    assert all(storage in (DTYPES["f8e4m3"], DTYPES["f8e5m2"], DTYPES["bf16"]) for storage in types)
