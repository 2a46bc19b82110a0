"""Gemms in roles: their twins are right in the interpreter, they compile for sm_90, and rules take them there alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.codegen.gate import Job, compilers, measure
from fusec.diagnostics import Source
from fusec.driver import figures
from fusec.driver.compile import compile_file
from fusec.forcing import CHIPS
from fusec.runtime import Chip, Launch, PlanError
from fusec.runtime import Op as RuntimeOp
from fusec.runtime.select.chip import TARGETS
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

F8 = torch.float8_e4m3fn

FORMS = {
    "plain": "op f(a: f8e4m3[M, K], b: f8e4m3[N, K]) -> y: f32[M, N]:\n    y = dot(a, b, over=K)",
    "scales": (
        "op f(a: f8e4m3[M, K], b: f8e4m3[N, K], s: f32[M], t: f32[N], bias: bf16[N] = 0) -> y: bf16[M, N]:\n"
        "    y = dot(a, b, over=K) * s * t + bias"
    ),
    "mixed": "op f(a: f8e5m2[M, K], b: f8e4m3[N, K], s: f32[M]) -> y: f16[M, N]:\n    y = gelu(dot(a, b, over=K) * s)",
    "leading": (
        "op f(a: f8e4m3[..., K], weight b: f8e4m3[N, K], s: f32[...], t: f32[N]) -> y: bf16[..., N]:\n"
        "    y = silu(dot(a, b, over=K) * s * t)"
    ),
    "gated": (
        "op f(x: bf16[..., K], weight g: f8e4m3[N, K], weight u: f8e4m3[N, K], s: f32[N], t: f32[N])\n"
        "-> y: bf16[..., N]:\n    q, scale = quantize(x, f8e4m3, over=K)\n"
        "    y = silu(dot(q, g, over=K) * scale * s) * (dot(q, u, over=K) * scale * t)"
    ),
    "residual": (
        "op f(a: f8e4m3[M, K], g: f8e4m3[N, K], u: f8e4m3[N, K], r: bf16[M, N]) -> y: bf16[M, N]:\n"
        "    y = r + silu(dot(a, g, over=K) * 0.01) * dot(a, u, over=K)"
    ),
    "i8": (
        "op f(a: i8[M, K], b: i8[N, K], s: f32[M], t: f32[N], bias: f32[N] = 0) -> (y: bf16[M, N], sums: i32[M, N]):\n"
        "    product = dot(a, b, over=K)\n    y = product * s * t + bias\n    sums = product"
    ),
    "two of i8": (
        "op f(a: i8[M, K], g: i8[N, K], u: i8[N, K], r: bf16[M, N]) -> y: bf16[M, N]:\n"
        "    y = r + silu(dot(a, g, over=K) * 0.01) * dot(a, u, over=K)"
    ),
    "two outputs": (
        "op f(a: f8e4m3[M, K], b: f8e4m3[N, K], s: f32[N]) -> (y: bf16[M, N], z: f32[M, N], q: f8e4m3[M, N]):\n"
        "    y = dot(a, b, over=K) * s\n    z = dot(a, b, over=K) + 1\n    q = cast(dot(a, b, over=K) * 0.01, f8e4m3)"
    ),
}

GROUPS = {
    "blocks": (
        "op f(a: f8e4m3[..., G*L], b: f8e4m3[P*R, G*L], s: f32[..., G], t: f32[P, G], r: bf16[..., P*R])\n"
        "-> y: bf16[..., P*R]\nwhere L == 128, R == 128:\n    y = gelu(sum(dot(a, b, over=L) * s * t, over=G)) + r"
    ),
    "rows": (
        "op f(a: f8e4m3[M, G*L], b: f8e4m3[N, G*L], s: f32[M, G], bias: f32[N]) -> (y: f16[M, N], z: f32[M, N])\n"
        "where L == 128:\n    total = sum(dot(a, b, over=L) * s, over=G)\n    y = total + bias\n    z = total"
    ),
    "quantised": (
        "op f(x: bf16[..., G*L], weight w: f8e4m3[P*R, G*L], weight t: f32[P, G]) -> y: bf16[..., P*R]\n"
        "where L == 128, R == 128:\n    q, s = quantize(x, f8e4m3, over=L)\n"
        "    y = sum(dot(q, w, over=L) * s * t, over=G)"
    ),
    "blocks of i8": (
        "op f(a: i8[M, G*L], b: i8[P*R, G*L], s: f32[M, G], t: f32[P, G]) -> y: bf16[M, P*R]\n"
        "where L == 128, R == 256:\n    y = sum(dot(a, b, over=L) * s * t, over=G)"
    ),
    "fast": (
        "op f(a: f8e4m3[M, G*L], b: f8e4m3[N, G*L], s: f32[M, G], t: f16[G]) -> y: bf16[M, N]\n"
        "where L == 128:\n    y = sum(dot(a, b, over=L, accum=fast) * s * t, over=G)"
    ),
}
"""Groups of what is contracted that have scales."""

FORMS |= {f"groups: {name}": text for name, text in GROUPS.items()}

SIZES = ({"M": 3, "N": 16, "K": 16}, {"M": 130, "N": 144, "K": 272}, {"M": 64, "N": 80, "K": 128})
GROUPED = ({"M": 3, "N": 16, "P": 1, "G": 1}, {"M": 130, "N": 144, "P": 2, "G": 3}, {"M": 64, "N": 80, "P": 3, "G": 2})


def runtime(module: object) -> RuntimeOp:
    return next(value for value in vars(module).values() if isinstance(value, RuntimeOp))


@pytest.mark.parametrize("form", FORMS)
def test_roles_make_what_the_spec_says(form: str, tmp_path: Path, device: torch.device) -> None:
    """On a GPU the kernel itself, without one its twin."""
    (op,) = compiled(FORMS[form], tmp_path)
    known = {solve.name for solve in op.program.graph.solves}
    for seed, sizes in enumerate(GROUPED if form.startswith("groups") else SIZES):
        extents = {name: size for name, size in sizes.items() if name in known} | dict(op.program.known)
        optional = tuple(param.name for param in op.program.graph.tensors if param.optional)
        for omitted in {(), optional}:
            case = Case(op=op.name, seed=seed, extents=extents, lead=(sizes["M"],), omitted=omitted)
            with runtime(op.module).forced("roles"):
                run_and_compare(op.call, op.program.forms, case, device=device)


UNLIKE = {
    "fast sums": FORMS["plain"].replace("over=K)", "over=K, accum=fast)"),
    "bf16": FORMS["plain"].replace("f8e4m3", "bf16"),
    "two products": (
        "op f(a: f8e4m3[M, K], b: f8e4m3[N, K], c: f8e4m3[M, K]) -> y: f32[M, N]:\n"
        "    y = dot(a, b, over=K) * dot(c, b, over=K)"
    ),
    "groups of 64": GROUPS["rows"].replace("128", "64"),
    "groups of bf16": GROUPS["rows"].replace("f8e4m3", "bf16"),
    "groups with an offset": GROUPS["rows"].replace(" * s,", " * s + 1,"),
    "groups with a scale for every column": GROUPS["rows"].replace("s: f32[M, G]", "s: f32[N, G]"),
    "groups divided by a scale": GROUPS["rows"].replace(" * s,", " / s,"),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_what_needs_no_roles_has_none(name: str, tmp_path: Path) -> None:
    (op,) = compiled(UNLIKE[name], tmp_path)
    assert "roles" not in runtime(op.module).reaching_names


def operands(rows: int, columns: int, inner: int) -> list[torch.Tensor]:
    a, b = (torch.empty(size, inner, dtype=F8, device="meta") for size in (rows, columns))
    s, t = (torch.empty(size, device="meta") for size in (rows, columns))
    return [a, b, s, t]


def taken(op: RuntimeOp, given: list[torch.Tensor], plan: str | None = None, chip: Chip | None = None) -> list[str]:
    return [step.plan for step in op.decide(*given, plan=plan, chip=chip).steps]


def test_rules_take_roles_on_their_chip_alone(tmp_path: Path) -> None:
    (op,) = compiled(FORMS["leading"], tmp_path)
    own = runtime(op.module)
    assert taken(own, operands(2048, 4096, 4096)) == ["roles"]
    # Smaller tiles keep more of the chip busy.
    assert "roles" not in taken(own, operands(128, 4096, 4096))
    for capability in (89, 100, 120):
        chip = Chip(capability=capability)
        assert "roles" not in taken(own, operands(2048, 4096, 4096), chip=chip)
        with pytest.raises(PlanError, match="roles"):
            taken(own, operands(2048, 4096, 4096), plan="roles", chip=chip)


def test_rows_that_lie_apart_have_no_roles(tmp_path: Path) -> None:
    """Tensor maps have two axes: where rows are two of them, the plan by TMA is taken."""
    (op,) = compiled(FORMS["leading"], tmp_path)
    own = runtime(op.module)
    _, b, _, t = operands(1, 4096, 4096)
    a = torch.empty(4, 600, 4096, dtype=F8, device="meta")[:, :512]
    with pytest.raises(PlanError, match="roles"):
        taken(own, [a, b, torch.empty(4, 512, device="meta"), t], plan="roles")


@pytest.mark.parametrize("form", ["scales", "gated"])
def test_steps_under_way_fit_shared_memory(form: str, tmp_path: Path) -> None:
    (op,) = compiled(FORMS[form], tmp_path)
    given = operands(2048, 4096, 4096)
    if form == "gated":
        x = torch.empty(2048, 4096, dtype=torch.bfloat16, device="meta")
        given = [x, given[1], given[1], given[3], given[3]]
    else:
        given = [*given, torch.empty(4096, dtype=torch.bfloat16, device="meta")]
    (launch,) = (
        each
        for each in runtime(op.module).decide(*given, plan="roles").launches
        if isinstance(each, Launch) and each.twin is not None
    )
    assert launch.twin is not None
    loaded = sum(view.tile[0] * view.tile[1] for view in launch.maps.values() if view.itemsize == 1)
    stored = sum(4 * view.tile[0] * view.tile[1] for view in launch.maps.values() if view.itemsize == 2)
    stages = int(launch.arguments["STAGES"] or 0)
    assert stages > 3
    assert loaded * stages + stored < CHIPS["tma"].smem
    assert launch.grid == launch.twin.grid
    assert launch.arguments["end"] == launch.twin.arguments["end"]


FITTING = ("gated", "two outputs", "i8", "two of i8", "groups: blocks", "groups: blocks of i8")
"""One of each kind of sums, and of epilogues that take many registers."""


def test_kernels_in_roles_fit_the_chip() -> None:
    """What the resource gate says of them, without a GPU: they are for sm_90, and spill nothing there."""
    text = "\n\n".join(FORMS[form].replace("op f(", f"op f{place}(") for place, form in enumerate(FITTING))
    record = compile_file(Source("roles.fuse", text), None)
    with compilers(1) as pool:
        variants = figures.variants([record], pool)
    found = [
        variant for each in variants.values() for variant in each if variant.kernel.endswith(("_roles", "_roles_y"))
    ]
    assert len({variant.kernel for variant in found}) == len(FITTING)
    verdicts = measure([Job("roles", record.text, each, TARGETS["sm_90"]) for each in found], workers=1)
    assert [verdict for verdict in verdicts if verdict.failure or verdict.skipped] == []
    others = [
        Job("roles", record.text, each, TARGETS[name]) for each in found for name in ("sm_80", "sm_100", "sm_120")
    ]
    assert all(verdict.skipped for verdict in measure(others, workers=1))


def test_two_products_in_roles_are_preferred_to_the_library(tmp_path: Path) -> None:
    """Measured on an H200 for 2048 rows: 378 us, where the library took 358 for its products alone."""
    (op,) = compiled(FORMS["gated"], tmp_path)
    for rows, plan in ((16, "swap_ab"), (2048, "roles"), (8192, "roles")):
        x = torch.empty(rows, 4096, dtype=torch.bfloat16, device="meta")
        _, b, _, t = operands(1, 14336, 4096)
        assert taken(runtime(op.module), [x, b, b, t, t])[-1] == plan


def test_groups_in_roles_are_preferred_to_the_library_and_a_kernel(tmp_path: Path) -> None:
    """What stands behind their sum is made with it, where plain tiles took twice as long as the library."""
    (op,) = compiled(FORMS["groups: blocks"], tmp_path)
    own = runtime(op.module)
    for rows, columns, plan in ((2048, 4096, "roles"), (8192, 8192, "roles")):
        a, b, _, _ = operands(rows, columns, 4096)
        s, t = torch.empty(rows, 32, device="meta"), torch.empty(columns // 128, 32, device="meta")
        r = torch.empty(rows, columns, dtype=torch.bfloat16, device="meta")
        assert taken(own, [a, b, s, t, r]) == [plan]
    # Rows that begin anywhere are not for TMA.
    a = torch.empty(2048, 4096 + 8, dtype=F8, device="meta")[:, :4096]
    assert "roles" not in taken(
        own,
        [
            a,
            *operands(1, 4096, 4096)[1:2],
            torch.empty(2048, 32, device="meta"),
            torch.empty(32, 32, device="meta"),
            torch.empty(2048, 4096, dtype=torch.bfloat16, device="meta"),
        ],
    )


def test_scales_of_groups_are_not_copied_for_a_product_that_is_not_large(tmp_path: Path) -> None:
    text = GROUPS["blocks"].replace(", r: bf16[..., P*R]", "").replace("gelu(", "").replace(") + r", "")
    (op,) = compiled(text, tmp_path)
    own = runtime(op.module)
    for size, plan in ((1024, "gemm"), (2048, "roles"), (4096, "library")):
        a, b, _, _ = operands(size, size, size)
        groups = size // 128
        by_rows, t = torch.empty(size, groups, device="meta"), torch.empty(groups, groups, device="meta")
        assert taken(own, [a, b, by_rows, t]) == [plan]
        assert taken(own, [a, b, torch.empty(groups, size, device="meta").T, t]) == ["library"]
