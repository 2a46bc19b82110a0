"""Sums of products that are scaled group by group: a step of the loop has one group, on the tensor core."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from compiled import compiled
from torch import Tensor

from fusec.runtime import Op as RuntimeOp
from fusec.runtime import PlanError, Product, eight_bits
from fusec.runtime.eight_bits import copies
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
        assert step.schedule in ("gemm", "library", "roles")
        assert step.launches[0].traffic.flops == 2 * rows * 1024 * 1024 or rows % 16


LIBRARY = {
    "rows by blocks": FORMS["rows by blocks"],
    "rows by rows": "op f(a: {t}[M, G*L], b: {t}[N, G*L], s: f32[M, G], t: f32[N, G]) -> y: bf16[M, N]\n"
    "where L == 32:\n    y = sum(dot(a, b, over=L) * s * t, over=G)",
    "blocks by rows": "op f(a: {t}[B*R, G*L], b: {t}[N, G*L], s: f32[B, G], t: f32[N, G]) -> y: bf16[B*R, N]\n"
    "where L == 32, R == 16:\n    y = sum(t * dot(a, b, over=L) * s, over=G)",
    "fast": FORMS["rows by blocks"].replace("over=L)", "over=L, accum=fast)"),
    "several dimensions": "op f(a: {t}[I, M, G*L], b: {t}[P, R, G*L], s: f32[I, M, G], t: f32[P, G])\n"
    "-> y: bf16[I, M, P, R]\nwhere L == 32, R == 16:\n    y = sum(dot(a, b, over=L) * s * t, over=G)",
    "quantised": "op f(a: bf16[..., G*L], weight b: {t}[P*R, G*L], weight t: f32[P, G]) -> y: bf16[..., P*R]\n"
    "where L == 32, R == 16:\n    q, s = quantize(a, {t}, over=L)\n    y = sum(dot(q, b, over=L) * s * t, over=G)",
    "behind": "op f(a: {t}[M, G*L], b: {t}[P*R, G*L], s: f32[M, G], t: f32[P, G], bias: f32[P*R]) -> y: bf16[M, P*R]\n"
    "where L == 32, R == 16:\n    y = silu(cast(sum(dot(a, b, over=L) * s * t, over=G), bf16) + bias)",
    "made scales": "op f(a: {t}[M, G*L], b: {t}[N, G*L], s: i8[M, G], t: f32[N, G]) -> y: bf16[M, N]\nwhere L == 32:\n"
    "    y = sum(dot(a, b, over=L) * exp2(cast(s, f32) / 16) * t, over=G)",
}
"""Products that the library scales group by group, where groups and blocks are of 128."""


def of_128(form: str) -> str:
    text = LIBRARY[form].format(t="f8e4m3")
    return text.replace("L == 32", "L == 128").replace("R == 16", "R == 128")


@pytest.mark.parametrize("form", LIBRARY)
def test_the_library_scales_groups(form: str, tmp_path: Path, device: torch.device) -> None:
    """Scales that do not lie as it reads them are copied, by itself or by who makes them."""
    (op,) = compiled(of_128(form), tmp_path)
    own = next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))
    names = {solve.name for solve in op.program.graph.solves}
    sizes = {"M": 8, "I": 2, "N": 48, "B": 1, "P": 2, "G": 4, "L": 128, "R": 128}
    extents = {name: size for name, size in sizes.items() if name in names}
    for seed, layout in enumerate(("contiguous", "transposed", "sliced_all_over")[: 1 if "I" in names else 3]):
        layouts = {name: layout for name in ("s", "t") if name in {p.name for p in op.program.graph.tensors}}
        case = Case(op=op.name, seed=seed, extents=extents, lead=(3, 8), layouts=layouts)
        with own.forced("library"):
            run_and_compare(op.call, op.program.forms, case, device=device)


def in_order(order: str) -> Callable[..., None]:
    """A stand-in for the library that multiplies the sums of groups with their scales in one order, in f32."""

    def multiplied(a: Tensor, b: Tensor, rows: Tensor, columns: Tensor, *, out: Tensor, **_: object) -> None:
        total = torch.zeros(out.shape, dtype=torch.float64)
        for group in range(a.shape[1] // 128):
            part = slice(128 * group, 128 * (group + 1))
            sums = (a[:, part].double() @ b[part].double()).float()
            s = rows[:, group].repeat_interleave(a.shape[0] // rows.shape[0])[:, None]
            t = columns[group].repeat_interleave(b.shape[1] // columns.shape[1])
            total += {"rows": sums * s * t, "columns": sums * t * s, "both": sums * (s * t)}[order].double()
        out.copy_(total)

    return multiplied


@pytest.mark.parametrize("order", ["rows", "columns", "both"])
@pytest.mark.parametrize("form", ["rows by blocks", "blocks by rows", "quantised"])
def test_the_library_may_scale_groups_in_any_order(
    form: str, order: str, tmp_path: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is its own is not known: where one has no room for what another has, either is right."""
    if device.type == "cpu":
        monkeypatch.setattr(eight_bits, "_exactly_in_groups", in_order(order))
    (op,) = compiled(of_128(form), tmp_path)
    own = next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))
    scales = [tensor.name for tensor in op.program.graph.tensors if tensor.name in ("s", "t")]
    known = {solve.name for solve in op.program.graph.solves}
    sizes = {"M": 16, "N": 16, "B": 1, "P": 1, "G": 1, "L": 128, "R": 128}
    extents = {name: size for name, size in sizes.items() if name in known}
    for seed in range(4):
        kinds = ("huge", "tiny") if seed % 2 else ("tiny", "huge")
        values = dict(zip(scales, kinds, strict=False))
        case = Case(op=op.name, seed=seed, extents=extents, lead=(16,), values=values)
        with own.forced("library"):
            run_and_compare(op.call, op.program.forms, case, device=device)


UNLIKE = {
    "groups of 64": ("rows by blocks", "L == 128", "L == 64"),
    "blocks of 64": ("rows by blocks", "R == 128", "R == 64"),
    "one side": ("rows by rows", " * t,", ","),
    "scales in f16": ("rows by rows", "s: f32", "s: f16"),
    "a factor more": ("rows by rows", "* t, over=G", "* t * t, over=G"),
    "another operation": ("rows by rows", "* t, over=G", "+ t, over=G"),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_no_other_groups_are_the_librarys(name: str, tmp_path: Path) -> None:
    form, before, after = UNLIKE[name]
    text = of_128(form)
    assert before in text
    (op,) = compiled(text.replace(before, after), tmp_path)
    own = next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))
    assert "library" not in own.reaching_names


@pytest.mark.parametrize("change", [{"rows": 17}, {"groups": 6}, {"pitch": 8}], ids=lambda change: next(iter(change)))
def test_calls_that_the_library_does_not_take(change: dict[str, int], tmp_path: Path) -> None:
    (op,) = compiled(of_128("rows by blocks"), tmp_path)
    own = next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))
    for asked, is_taken in (({}, True), (change, False)):
        sizes = {"rows": 16, "groups": 8, "pitch": 0} | asked
        inner = sizes["groups"] * 128
        a, b = (
            torch.empty(n, inner + sizes["pitch"], dtype=torch.float8_e4m3fn, device="meta")
            for n in (sizes["rows"], 256)
        )
        s, t = (torch.empty(n, sizes["groups"], device="meta") for n in (sizes["rows"], 2))
        with nullcontext() if is_taken else pytest.raises(PlanError, match="library"):
            own.decide(a[:, :inner], b[:, :inner], s, t, plan="library")


@pytest.mark.parametrize("rows", [64, 1000, 8192])
def test_scales_that_are_made_lie_as_the_library_reads_them(rows: int, tmp_path: Path) -> None:
    """Nothing is copied: `...` of such a tensor lies innermost."""
    (op,) = compiled(of_128("quantised"), tmp_path)
    own = next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))
    x, b = torch.empty(2, rows, 4096, dtype=torch.bfloat16, device="meta"), torch.empty(4096, 4096, device="meta")
    t = torch.empty(32, 32, device="meta")
    launches = own.decide(x, b.to(torch.float8_e4m3fn), t, plan=None).launches
    (product,) = (launch for launch in launches if isinstance(launch, Product))
    assert not copies(product)
    assert product.scales[0] is not None
    assert product.scales[0].strides == (0, 1, 2 * rows)


def test_few_multiplications_are_not_worth_a_copy_of_scales(tmp_path: Path) -> None:
    (op,) = compiled(of_128("rows by blocks"), tmp_path)
    for size, laid, plan in ((1024, False, "gemm"), (1024, True, "library"), (4096, False, "library")):
        a, b = (torch.empty(size, size, dtype=torch.float8_e4m3fn, device="meta") for _ in range(2))
        s, t = torch.empty(size, size // 128, device="meta"), torch.empty(size // 128, size // 128, device="meta")
        s = s.T.contiguous().T if laid else s
        (step,) = op.module.f.plan(a, b, s, t).report.steps
        assert step.schedule == plan, (size, laid)
