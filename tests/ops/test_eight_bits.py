"""Products of f8 and of i8: every plan makes them, in every layout, within the bound or exactly."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.forcing import CHIPS, on_chip, reaches
from fusec.ir.multiply import MOST_I8
from fusec.ir.types import Lead
from fusec.reference.rounding import TORCH_DTYPES
from fusec.runtime import Op as RuntimeOp
from fusec.runtime import PlanError
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

FORMS = {
    "plain": "op f(a: {a}[M, K], b: {b}[N, K]) -> y: f32[M, N]:\n    y = dot(a, b, over=K)",
    "fast": "op f(a: {a}[M, K], b: {b}[N, K]) -> y: f32[M, N]:\n    y = dot(a, b, over=K, accum=fast)",
    "across": "op f(a: {a}[K, M], b: {b}[K, N]) -> y: f32[M, N]:\n    y = dot(a, b, over=K)",
    "row-major": "op f(a: {a}[M, K], b: {b}[K, N]) -> y: f32[M, N]:\n    y = dot(a, b, over=K)",
    "batches": "op f(a: {a}[B, M, K], b: {b}[B, N, K]) -> y: f32[B, M, N]:\n    y = dot(a, b, over=K)",
    "leading": "op f(a: {a}[..., K], weight b: {b}[N, K]) -> y: f32[..., N]:\n    y = dot(a, b, over=K)",
    "scales": (
        "op f(a: {a}[M, K], b: {b}[N, K], s: f32[M], t: f32[N], bias: f32[N] = 0) -> y: f32[M, N]:\n"
        "    y = dot(a, b, over=K) * s * t + bias"
    ),
    "whole": (
        "op f(a: {a}[M, K], b: {b}[N, K], s: f32[], t: f32[]) -> (y: bf16[M, N], z: f32[M]):\n"
        "    y = dot(a, b, over=K) * s * t\n    z = s * amax(cast(a, f32), over=K)"
    ),
    "two": (
        "op f(a: {a}[M, K], b: {b}[N, K], c: {b}[N, K], s: f32[M]) -> y: f32[M, N]:\n"
        "    y = dot(a, b, over=K) * s * sigmoid(dot(a, c, over=K) * 1e-3)"
    ),
    "several axes": "op f(a: {a}[M, G, L], b: {b}[N, G, L]) -> y: f32[M, N]:\n    y = dot(a, b, over=(G, L))",
    "quantised": (
        "op f(a: bf16[M, K], weight b: {b}[N, K], weight t: f32[N]) -> y: bf16[M, N]:\n"
        "    q, s = quantize(a, {a}, over=K)\n    y = dot(q, b, over=K) * s * t"
    ),
}

TYPES = {"e4m3": ("f8e4m3", "f8e4m3"), "e5m2": ("f8e5m2", "f8e5m2"), "mixed": ("f8e5m2", "f8e4m3"), "i8": ("i8", "i8")}

PLANS = (None, "library", "tma", "swap_ab", "row_loop", "split_rows")

SIZES = ({"M": 1, "N": 24, "K": 80}, {"M": 17, "N": 33, "K": 45}, {"M": 40, "N": 32, "K": 160})

PAIRS = [(form, types) for form in FORMS for types in ("e4m3", "i8")]
PAIRS += [("plain", "e5m2"), ("scales", "mixed"), ("row-major", "mixed"), ("quantised", "mixed")]


@pytest.mark.parametrize(("form", "types"), PAIRS)
def test_every_plan_multiplies_8_bits(form: str, types: str, tmp_path: Path, device: torch.device) -> None:
    a, b = TYPES[types]
    (op,) = compiled(FORMS[form].format(a=a, b=b), tmp_path)
    for plan in PLANS:
        if plan is not None and not reaches(plan, op.program):
            continue
        for seed, sizes in enumerate(SIZES):
            extents = sizes | {"B": 3, "G": 2, "L": sizes["K"]}
            known = {solve.name for solve in op.program.graph.solves}
            case = Case(op=op.name, seed=seed, extents={n: s for n, s in extents.items() if n in known}, lead=(3,))
            with on_chip(op.module, CHIPS[plan]) if plan else nullcontext():
                run_and_compare(op.call, op.program.forms, case, device=device)


def test_sums_of_i8_too_long_for_32_bits_are_exact(tmp_path: Path, device: torch.device) -> None:
    """All of -128 by -128: one product more than a matrix unit has room for."""
    (op,) = compiled("op f(a: i8[M, K], b: i8[N, K]) -> y: i64[M, N]:\n    y = dot(a, b, over=K)", tmp_path)
    own = next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))
    for extra in (0, 16):
        inner = MOST_I8 // 16 * 16 + extra
        a, b = (torch.full((size, inner), -128, dtype=torch.int8, device=device) for size in (2, 3))
        for plan in ("gemm", "tma", "swap_ab"):
            with pytest.raises(PlanError) if extra else nullcontext():
                own.decide(a, b, plan=plan)
        assert op.call(a, b).tolist() == [[inner * 2**14] * 3] * 2


@pytest.mark.parametrize("types", ["e4m3", "i8"])
@pytest.mark.parametrize("form", ["scales", "leading", "quantised"])
def test_many_rows_are_multiplied_by_the_tensor_core(form: str, types: str, tmp_path: Path) -> None:
    """No row takes a plan in which threads multiply, but for a vector."""
    a, b = TYPES[types]
    (op,) = compiled(FORMS[form].format(a=a, b=b), tmp_path)
    tensors = {param.name: param for param in op.program.graph.tensors if not param.optional}
    for rows in (3, 16, 17, 64, 129, 1000, 4096):
        sizes = {"M": rows, "N": 4096, "K": 4096}
        given = {
            name: torch.empty(
                [rows if dim == (Lead(),) else sizes[str(dim[0])] for dim in param.dims],
                dtype=TORCH_DTYPES[param.element.name],
                device="meta",
            )
            for name, param in tensors.items()
        }
        steps = op.module.f.plan(**given).report.steps
        plans = [step.schedule for step in steps if any(launch.traffic.flops for launch in step.launches)]
        assert plans, rows
        assert set(plans) <= {"tma", "swap_ab", "split_k", "gemm", "library"}, (rows, plans)
