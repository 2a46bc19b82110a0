"""Sums of products that are scaled group by group: a step of the loop has one group, on the tensor core."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.runtime import Op as RuntimeOp
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

FORMS = {
    "rows by blocks": (
        "op f(a: {t}[M, G*L], b: {t}[P*R, G*L], s: f32[M, G], t: f32[P, G]) -> y: bf16[M, P*R]\n"
        "where L == 32, R == 16:\n"
        "    y = sum(dot(a, b, over=L) * s * t, over=G)"
    ),
    "rows by rows": (
        "op f(a: {t}[M, G*L], b: {t}[N, G*L], s: f32[M, G], t: f32[N, G], bias: f32[N]) -> y: f32[M, N]:\n"
        "    y = sum(dot(a, b, over=L) * s * t, over=G) + bias"
    ),
    "one side": (
        "op f(a: {t}[M, G*L], b: {t}[N, G*L], t: f16[N, G]) -> y: f16[M, N]\nwhere L == 40:\n"
        "    y = silu(sum(dot(a, b, over=L) * t, over=G))"
    ),
    "exponents": (
        "op f(a: {t}[M, G*L], b: {t}[N, G*L], s: i8[M, G], t: i8[N, G]) -> y: f32[M, N]\nwhere L == 32:\n"
        "    y = sum(dot(a, b, over=L) * exp2(cast(s, f32) / 16) * exp2(cast(t, f32) / 16), over=G)"
    ),
    "groups first": (
        "op f(a: {t}[G, M, L], b: {t}[G, N, L], s: f32[G, M]) -> y: f32[M, N]:\n"
        "    y = sum(dot(a, b, over=L) * s, over=G)"
    ),
    "nothing": (
        "op f(a: {t}[M, G*L], b: {t}[N, G*L]) -> y: f32[M, N]\nwhere L == 32:\n    y = sum(dot(a, b, over=L), over=G)"
    ),
    "leading": (
        "op f(a: bf16[..., G*L], weight b: {t}[N, G*L], weight t: f32[N, G]) -> y: bf16[..., N]\nwhere L == 32:\n"
        "    q, s = quantize(a, {t}, over=L)\n    y = sum(dot(q, b, over=L) * s * t, over=G)"
    ),
}

SIZES = (
    {"M": 1, "N": 20, "P": 1, "G": 1, "L": 32},
    {"M": 18, "N": 33, "P": 2, "G": 3, "L": 24},
    {"M": 5, "N": 16, "P": 2, "G": 2, "L": 300},
)

KNOWN = {"rows by blocks": {"L": 32, "R": 16}, "one side": {"L": 40}}
KNOWN |= {form: {"L": 32} for form in ("exponents", "leading", "nothing")}

PAIRS = [(form, types) for form in FORMS for types in ("f8e4m3", "i8", "bf16") if (form, types) != ("leading", "bf16")]


@pytest.mark.parametrize(("form", "types"), PAIRS)
def test_groups_are_scaled_and_added(form: str, types: str, tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(FORMS[form].format(t=types), tmp_path)
    names = {solve.name for solve in op.program.graph.solves}
    own = next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))
    for seed, sizes in enumerate(SIZES):
        extents = {name: size for name, size in (sizes | KNOWN.get(form, {})).items() if name in names}
        case = Case(op=op.name, seed=seed, extents=extents, lead=(sizes["M"],))
        for plan in own.reaching_names if extents["L"] < 256 else (None,):
            with own.forced(plan):
                run_and_compare(op.call, op.program.forms, case, device=device)


@pytest.mark.parametrize("types", ["f8e4m3", "i8", "bf16"])
def test_groups_are_multiplied_by_the_tensor_core(types: str, tmp_path: Path) -> None:
    dtype = {"f8e4m3": torch.float8_e4m3fn, "i8": torch.int8, "bf16": torch.bfloat16}[types]
    text = FORMS["rows by blocks"].replace("L == 32, R == 16", "L == 128, R == 128").format(t=types)
    (op,) = compiled(text, tmp_path)
    for rows in (1, 16, 129, 4096):
        a, b = (torch.empty(size, 1024, dtype=dtype, device="meta") for size in (rows, 1024))
        s, t = (torch.empty(size, 8, device="meta") for size in (rows, 8))
        (step,) = op.module.f.plan(a, b, s, t).report.steps
        assert step.schedule == "gemm"
        assert step.launches[0].traffic.flops == 2 * rows * 1024 * 1024 or rows % 16
