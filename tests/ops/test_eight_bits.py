"""Products of f8 and of i8: every plan makes them, in every layout, within the bound or exactly."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from catalogue import Op
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
    "numbers": (
        "op f(a: {a}[M, K], b: {b}[N, K], s: f32[], t: f32[]) -> y: f16[M, N]:\n    y = dot(a, b, over=K) * s * t"
    ),
    "one scale": (
        "op f(a: {a}[M, K], b: {b}[N, K], t: f32[N]) -> y: bf16[M, N]:\n    y = t * dot(a, b, over=K, accum=fast)"
    ),
    "made scales": (
        "op f(a: {a}[M, K], b: {b}[N, K], s: f32[M], t: f32[], u: f32[N, 2]) -> y: bf16[M, N]:\n"
        "    y = dot(a, b, over=K) * (s * t) * amax(u, over=2)"
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

SIZES = ({"M": 1, "N": 16, "K": 80}, {"M": 17, "N": 33, "K": 45}, {"M": 40, "N": 32, "K": 160})


def runtime(op: Op) -> RuntimeOp:
    return next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))


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


@pytest.mark.parametrize("types", ["e4m3", "i8"])
@pytest.mark.parametrize("form", ["plain", "scales", "numbers", "one scale", "leading", "quantised"])
def test_the_librarys_products_are_right(form: str, types: str, tmp_path: Path, device: torch.device) -> None:
    a, b = TYPES[types]
    (op,) = compiled(FORMS[form].format(a=a, b=b), tmp_path)
    known = {solve.name for solve in op.program.graph.solves}
    extents = {name: size for name, size in {"M": 40, "N": 32, "K": 160}.items() if name in known}
    for seed, omitted in enumerate(((), tuple(p.name for p in op.program.graph.tensors if p.optional))):
        case = Case(op=op.name, seed=seed, extents=extents, lead=(40,), omitted=omitted)
        with runtime(op).forced("library"):
            run_and_compare(op.call, op.program.forms, case, device=device)


@pytest.mark.parametrize("form", ["scales", "numbers", "made scales", "quantised"])
def test_scales_that_another_order_has_no_room_for(form: str, tmp_path: Path, device: torch.device) -> None:
    """The library multiplies with the scale of columns first, or with the product of two numbers: both may overflow."""
    (op,) = compiled(FORMS[form].format(a="f8e4m3", b="f8e4m3"), tmp_path)
    known = {solve.name for solve in op.program.graph.solves}
    extents = {name: size for name, size in {"M": 40, "N": 32, "K": 160}.items() if name in known}
    scales = [param.name for param in op.program.graph.tensors if param.name in ("s", "t", "u")]
    for seed in range(12):
        kinds = ("huge", "tiny") if seed % 2 else ("tiny", "huge")
        values = dict(zip(scales, kinds, strict=False))
        case = Case(op=op.name, seed=seed, extents=extents, lead=(40,), values=values)
        with runtime(op).forced("library"):
            run_and_compare(op.call, op.program.forms, case, device=device)


def test_sums_of_i8_too_long_for_32_bits_are_exact(tmp_path: Path, device: torch.device) -> None:
    """All of -128 by -128: one product more than a tensor core has room for."""
    (op,) = compiled("op f(a: i8[M, K], b: i8[N, K]) -> y: i64[M, N]:\n    y = dot(a, b, over=K)", tmp_path)
    own = runtime(op)
    for extra in (0, 16):
        inner = MOST_I8 // 16 * 16 + extra
        a, b = (torch.full((size, inner), -128, dtype=torch.int8, device=device) for size in (2, 3))
        for plan in ("gemm", "tma", "swap_ab"):
            with pytest.raises(PlanError) if extra else nullcontext():
                own.decide(a, b, plan=plan)
        assert op.call(a, b).tolist() == [[inner * 2**14] * 3] * 2


def arguments(op: Op, **sizes: int) -> dict[str, torch.Tensor]:
    """Tensors without data for all that a call cannot leave out."""
    tensors = {param.name: param for param in op.program.graph.tensors if not param.optional}
    shapes = {
        name: [sizes["M"] if dim == (Lead(),) else sizes.get(str(dim[0]), 2) for dim in param.dims]
        for name, param in tensors.items()
    }
    dtypes = {name: TORCH_DTYPES[param.element.name] for name, param in tensors.items()}
    return {name: torch.empty(shape, dtype=dtypes[name], device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize("types", ["e4m3", "i8"])
@pytest.mark.parametrize("form", ["scales", "leading", "quantised"])
def test_many_rows_are_multiplied_by_the_tensor_core(form: str, types: str, tmp_path: Path) -> None:
    """Threads multiply a vector alone."""
    a, b = TYPES[types]
    (op,) = compiled(FORMS[form].format(a=a, b=b), tmp_path)
    for rows in (3, 16, 17, 64, 129, 1000, 4096):
        steps = op.module.f.plan(**arguments(op, M=rows, N=4096, K=4096)).report.steps
        plans = [step.schedule for step in steps if any(launch.traffic.flops for launch in step.launches)]
        assert plans, rows
        assert set(plans) <= {"tma", "roles", "swap_ab", "split_k", "gemm", "library"}, (rows, plans)


STEPS = {"plain": 1, "fast": 1, "scales": 1, "numbers": 1, "one scale": 1, "quantised": 2, "made scales": 3}
"""How many steps the library's plan has: what stores operands and scales, and the product."""


@pytest.mark.parametrize("form", STEPS)
def test_the_library_multiplies_with_scales(form: str, tmp_path: Path) -> None:
    """Nothing is left to do behind it."""
    a, b = TYPES["e4m3"]
    (op,) = compiled(FORMS[form].format(a=a, b=b), tmp_path)
    for sizes in ({"M": 64, "N": 4096, "K": 4096}, {"M": 1000, "N": 4096, "K": 128}):
        steps = [step.schedule for step in op.module.f.plan(**arguments(op, **sizes)).report.steps]
        assert steps[-1] == "library"
        assert len(steps) == STEPS[form], steps


def strided(size: int, width: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(size, width + 8, dtype=dtype, device="meta")[:, :width]


REFUSED: dict[str, dict[str, tuple[int, ...]]] = {
    "17 columns": {"a": (64, 4096), "b": (17, 4096)},
    "a sum of 4104": {"a": (64, 4104), "b": (4096, 4104)},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_library_does_not_take_is_left_to_kernels(name: str, tmp_path: Path) -> None:
    f8 = torch.float8_e4m3fn
    (op,) = compiled(FORMS["plain"].format(a="f8e4m3", b="f8e4m3"), tmp_path)
    tensors = {key: torch.empty(shape, dtype=f8, device="meta") for key, shape in REFUSED[name].items()}
    assert all(step.schedule != "library" for step in op.module.f.plan(**tensors).report.steps)


def test_rows_that_lie_apart_are_left_to_kernels(tmp_path: Path) -> None:
    f8 = torch.float8_e4m3fn
    (op,) = compiled(FORMS["plain"].format(a="f8e4m3", b="f8e4m3"), tmp_path)
    even, odd = torch.empty(4096, 4096, dtype=f8, device="meta"), strided(4096, 4096, f8)
    for a, b in ((odd, even), (even, odd)):
        assert all(step.schedule != "library" for step in op.module.f.plan(a, b).report.steps)
    both = compiled(FORMS["plain"].format(a="f8e5m2", b="f8e5m2"), tmp_path)[0]
    two = even.to(torch.float8_e5m2)
    assert all(step.schedule != "library" for step in both.module.f.plan(two, two).report.steps)


@pytest.mark.parametrize("types", ["e4m3", "i8"])
@pytest.mark.parametrize("form", ["plain", "one scale", "numbers", "leading"])
def test_what_begins_at_odd_addresses_is_left_to_kernels(form: str, types: str, tmp_path: Path) -> None:
    """Operands, and scales of rows and of columns, lie at multiples of 16 bytes where the library reads them."""
    a, b = TYPES[types]
    (op,) = compiled(FORMS[form].format(a=a, b=b), tmp_path)
    given = {
        name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in arguments(op, M=32, N=64, K=32).items()
    }
    runtime(op).decide(*given.values(), plan="library")
    read_by_it = {name for name in given if name in ("a", "b") or (given[name].dim() and types != "i8")}
    for name, tensor in given.items():
        moved = torch.zeros(tensor.numel() + 1, dtype=tensor.dtype)[1:].view(tensor.shape)
        with pytest.raises(PlanError, match="library") if name in read_by_it else nullcontext():
            runtime(op).decide(*(given | {name: moved}).values(), plan="library")
