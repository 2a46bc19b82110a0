"""What is added behind a dot: the library adds it before it rounds, where it can, and every plan makes the same sum."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from catalogue import Op
from compiled import compiled

from fusec.reference.rounding import TORCH_DTYPES
from fusec.runtime import Op as RuntimeOp
from fusec.runtime import PlanError, Product
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

FORMS = {
    "bias": "op f(x: T[M, K], w: T[N, K], bias: T[N]) -> y: T[M, N]\nwhere T in {f16, bf16, f32}:\n"
    "    y = dot(x, w, over=K) + bias",
    "optional bias": "op f(x: T[M, K], w: T[N, K], bias: T[N] = 0) -> y: T[M, N]\nwhere T in {bf16, f32}:\n"
    "    y = bias + dot(x, w, over=K)",
    "residual": "op f(x: T[M, K], w: T[N, K], r: T[M, N]) -> y: T[M, N]\nwhere T in {f16, bf16, f32}:\n"
    "    y = r + dot(x, w, over=K)",
    "columns": "op f(x: T[M, K], w: T[N, K], bias: T[M]) -> y: T[N, M]\nwhere T in {bf16, f32}:\n"
    "    y = dot(x, w, over=K) + bias",
    "batches": "op f(x: T[B, M, K], w: T[B, N, K], r: T[B, M, N]) -> y: T[B, M, N]\nwhere T in {bf16}:\n"
    "    y = dot(x, w, over=K) + r",
    "bias of batches": "op f(x: T[B, M, K], w: T[B, N, K], bias: T[N]) -> y: T[B, M, N]\nwhere T in {bf16, f32}:\n"
    "    y = dot(x, w, over=K) + bias",
    "vectors": "op f(x: T[B, M, K], w: T[B, K, N], bias: T[B, N]) -> y: T[B, M, N]\nwhere T in {bf16}:\n"
    "    y = dot(x, w, over=K) + bias",
    "cast": "op f(x: bf16[M, K], w: bf16[N, K], bias: bf16[N]) -> y: bf16[M, N]:\n"
    "    y = cast(dot(x, w, over=K) + bias, bf16)",
    "in f32": "op f(x: bf16[M, K], w: bf16[N, K], bias: f32[N]) -> y: f32[M, N]:\n    y = dot(x, w, over=K) + bias",
    "norm": "op f(x: T[M, K], gain: T[K], w: T[N, K], bias: T[N] = 0) -> y: T[M, N]\nwhere T in {bf16}:\n"
    "    y = dot(rmsnorm(x, gain, 1e-6, over=K), w, over=K, precision=T) + bias",
    "two axes": "op f(x: T[M, K], w: T[G, L, K], bias: T[G, L]) -> y: T[M, G, L]\nwhere T in {bf16}:\n"
    "    y = dot(x, w, over=K) + bias",
}
"""All that is added is the library's: no kernel stands behind it."""

OTHERS = {
    "another type": "op f(x: bf16[M, K], w: bf16[N, K], bias: f32[N]) -> y: bf16[M, N]:\n"
    "    y = dot(x, w, over=K) + bias",
    "rows": "op f(x: T[M, K], w: T[N, K], bias: T[M]) -> y: T[M, N]\nwhere T in {bf16}:\n"
    "    y = dot(x, w, over=K) + bias",
    "both": "op f(x: T[..., K], w: T[N, K], r: T[..., N], bias: T[N] = 0) -> y: T[..., N]\nwhere T in {f16, f32}:\n"
    "    y = dot(x, w, over=K) + bias + r",
    "both in f32": "op f(x: bf16[M, K], w: bf16[N, K], bias: f32[N], r: f32[M, N]) -> y: f32[M, N]:\n"
    "    y = dot(x, w, over=K) + bias + r",
    "two matrices": "op f(x: T[M, K], w: T[N, K], r: T[M, N], s: T[M, N]) -> y: T[M, N]\nwhere T in {bf16}:\n"
    "    y = dot(x, w, over=K) + r + s",
    "a number": "op f(x: T[M, K], w: T[N, K], s: T[]) -> y: T[M, N]\nwhere T in {bf16}:\n    y = dot(x, w, over=K) + s",
    "computed": "op f(x: T[M, K], w: T[N, K], r: T[M, N]) -> y: T[M, N]\nwhere T in {bf16}:\n"
    "    y = dot(x, w, over=K) + silu(r)",
    "subtracted": "op f(x: T[M, K], w: T[N, K], r: T[M, N]) -> y: T[M, N]\nwhere T in {bf16}:\n"
    "    y = dot(x, w, over=K) - r",
    "twice": "op f(x: T[M, K], w: T[N, K], bias: T[N]) -> y: T[M, N]\nwhere T in {bf16}:\n"
    "    p = dot(x, w, over=K)\n    y = p + p + bias",
    "read again": "op f(x: T[M, K], w: T[N, K], r: T[M, N]) -> (y: T[M, N], s: f32[M])\nwhere T in {bf16}:\n"
    "    y = dot(x, w, over=K) + r\n    s = sum(y * y, over=N)",
    "another dot": "op f(x: T[M, K], w: T[N, K], v: T[N, K]) -> y: T[M, N]\nwhere T in {bf16}:\n"
    "    y = dot(x, w, over=K) + dot(x, v, over=K)",
    "1 when omitted": "op f(x: T[M, K], w: T[N, K], bias: T[N] = 1) -> y: T[M, N]\nwhere T in {bf16}:\n"
    "    y = dot(x, w, over=K) + bias",
    "f8": "op f(x: f8e4m3[M, K], w: f8e4m3[N, K], bias: bf16[N]) -> y: bf16[M, N]:\n    y = dot(x, w, over=K) + bias",
}
"""A kernel adds: the library does not."""

SIZES = ({"M": 1, "N": 16, "K": 32}, {"M": 17, "N": 33, "K": 45}, {"M": 40, "N": 32, "K": 1}, {"M": 3, "N": 5, "K": 0})


def runtime(op: Op) -> RuntimeOp:
    return next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))


def cases(op: Op, sizes: dict[str, int], seed: int) -> list[Case]:
    known = {solve.name for solve in op.program.graph.solves}
    extents = {name: size for name, size in (sizes | {"B": 3, "G": 4, "L": 6}).items() if name in known}
    optional = tuple(param.name for param in op.program.graph.tensors if param.optional)
    dtypes = [{variable.name: option} for variable in op.program.graph.variables for option in variable.options] or [{}]
    return [
        Case(
            op=op.name,
            seed=seed,
            extents=extents,
            lead=(2, 3),
            omitted=omitted,
            dtypes={n: d.name for n, d in each.items()},
        )
        for each in dtypes
        for omitted in dict.fromkeys(((), optional))
    ]


@pytest.mark.parametrize("form", FORMS | OTHERS)
def test_the_library_adds_as_the_op_does(form: str, tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled((FORMS | OTHERS)[form], tmp_path)
    for seed, sizes in enumerate(SIZES):
        for case in cases(op, sizes, seed):
            try:
                with runtime(op).forced("library"):
                    run_and_compare(op.call, op.program.forms, case, device=device)
            except PlanError:
                # A vector of one element is not one of as many as there are columns.
                assert form == "f8" or (form, sizes["M"]) == ("columns", 1)


def products(op: Op, form: str, **changed: torch.Tensor | None) -> list[tuple[str, ...]]:
    """What each step of the library's plan reads, if that is a product; the outputs that kernels write."""
    tensors = {}
    for param in op.program.graph.tensors:
        element = getattr(param.element, "options", (param.element,))[0]
        shape = [{"M": 40, "N": 32, "K": 64, "B": 3, "G": 4, "L": 6}.get(str(dim[0]), 40) for dim in param.dims]
        tensors[param.name] = torch.empty(shape, dtype=TORCH_DTYPES[element.name], device="meta")
    decision = runtime(op).decide(*(tensors | changed).values(), plan="library")
    return [
        tuple(matrix.name for matrix in launch.read) if isinstance(launch, Product) else ("kernel",)
        for launch in decision.launches
    ]


@pytest.mark.parametrize("form", FORMS)
def test_no_kernel_stands_behind_the_library(form: str, tmp_path: Path) -> None:
    (op,) = compiled(FORMS[form], tmp_path)
    *before, last = products(op, form)
    assert before == ([("kernel",)] if form == "norm" else [])
    added = {param.name for param in op.program.graph.tensors} & {"bias", "r"}
    assert set(last[2:]) == added


@pytest.mark.parametrize("form", [form for form in OTHERS if form not in ("f8", "another dot")])
def test_what_a_kernel_adds(form: str, tmp_path: Path) -> None:
    (op,) = compiled(OTHERS[form], tmp_path)
    found = products(op, form)
    assert found[-1] == ("kernel",)
    assert all(len(read) == 2 for read in found[:-1])


def test_a_residual_is_the_librarys_where_a_bias_is_left_out(tmp_path: Path) -> None:
    (op,) = compiled(OTHERS["both"], tmp_path)
    assert products(op, "both", bias=None) == [("x", "w", "r")]


@pytest.mark.parametrize("layout", ["transposed", "repeated", "strided", "sliced"])
def test_a_residual_that_lies_in_another_way_is_left_to_kernels(layout: str, tmp_path: Path) -> None:
    (op,) = compiled(FORMS["residual"], tmp_path)
    given = {
        "transposed": torch.empty(32, 40, dtype=torch.float16, device="meta").T,
        "repeated": torch.empty(1, 1, dtype=torch.float16, device="meta").expand(40, 32),
        "strided": torch.empty(40, 64, dtype=torch.float16, device="meta")[:, ::2],
        "sliced": torch.empty(40, 64, dtype=torch.float16, device="meta")[:, :32],
    }[layout]
    if layout == "sliced":
        assert products(op, "residual", r=given) == [("x", "w", "r")]
    else:
        with pytest.raises(PlanError):
            products(op, "residual", r=given)
