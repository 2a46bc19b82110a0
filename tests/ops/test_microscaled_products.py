"""Products of MXFP8, MXFP4 and NVFP4: right in every plan, multiplied as they are packed, with scales if a chip has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch
from catalogue import Op
from compiled import compiled

from fusec.codegen.gate import Job, compilers, measure, targets_of
from fusec.diagnostics import Source
from fusec.driver import figures
from fusec.driver.compile import compile_file
from fusec.ir.multiply import multiplied_as
from fusec.ir.schedule import Gemm
from fusec.ir.types import DTYPES
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.pipeline import compile_graph
from fusec.runtime import H200, Chip, PlanError
from fusec.runtime import Op as RuntimeOp
from fusec.runtime.select.chip import CHIPS, TARGETS
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

FORM = """
op f(a: {a}[M, G*L], sa: {scale}[M, G], b: {b}[N, G*L], sb: {scale}[N, G]{more}) -> y: {y}[M, N]
where L == {group}:
    y = {made}
"""


def form(
    a: str, b: str, group: int = 32, made: str = "{}", y: str = "f32", more: str = "", times: str = "{dot} * sa * sb"
) -> str:
    scale = "f8e8m0" if group >= 32 else "f8e4m3"
    total = f"sum({times.format(dot='dot(a, b, over=L)')}, over=G)"
    return FORM.format(a=a, b=b, scale=scale, group=group, y=y, more=more, made=made.format(total))


DEQUANTISED = """
op f(a: {a}[M, G*L], sa: {scale}[M, G], b: {b}[N, G*L], sb: {scale}[N, G], t: f32[]) -> y: f32[M, N]
where L == {group}:
    y = silu(dot(dequantize(a, {s}), dequantize(b, {t}), over=(G, L)) * t)
"""

FORMS = {
    "mxfp8": form("f8e4m3", "f8e4m3", y="bf16"),
    "mxfp8 of two kinds": form("f8e5m2", "f8e4m3", more=", bias: f32[N] = 0", made="silu({}) + bias"),
    "mxfp8 by mxfp4": form("f8e4m3", "f4e2m1", times="sa * ({dot} * sb)"),
    "mxfp4": form("f4e2m1", "f4e2m1", y="bf16", more=", r: bf16[M, N]", made="{} + r"),
    "mxfp4 of large groups": form("f4e2m1", "f8e5m2", 64),
    "nvfp4": form("f4e2m1", "f4e2m1", 16, more=", t: f32[]", made="{} * t", times="{dot} * abs(sa) * abs(sb)"),
    "mxfp8 dequantised": DEQUANTISED.format(a="f8e4m3", b="f8e5m2", scale="f8e8m0", group=32, s="sa", t="sb"),
    "nvfp4 dequantised": DEQUANTISED.format(a="f4e2m1", b="f4e2m1", scale="f8e4m3", group=16, s="sa * t", t="sb"),
    "nvfp4 of any sign": form("f4e2m1", "f4e2m1", 16, times="{dot} * abs(sb) * sa"),
}
FORMATS = {
    "mxfp8": "e4m3 e4m3 e8m0",
    "mxfp8 of two kinds": "e5m2 e4m3 e8m0",
    "mxfp8 by mxfp4": "e4m3 e2m1 e8m0",
    "mxfp4": "e2m1 e2m1 e8m0",
    "mxfp4 of large groups": "e2m1 e5m2 e8m0",
    "nvfp4": "e2m1 e2m1 e4m3",
    "mxfp8 dequantised": "e4m3 e5m2 e8m0",
    "nvfp4 dequantised": "e2m1 e2m1 e4m3",
    "nvfp4 of any sign": "e2m1 e2m1 e4m3",
}
GROUP = {name: 16 if "nvfp4" in name else 64 if "large" in name else 32 for name in FORMS}
SIZES = ({"M": 3, "N": 5, "G": 1}, {"M": 17, "N": 34, "G": 9}, {"M": 2, "N": 16, "G": 0})


def runtime(module: object) -> RuntimeOp:
    return next(value for value in vars(module).values() if isinstance(value, RuntimeOp))


@cache
def written(name: str) -> Op:
    (op,) = compiled(FORMS[name], Path(mkdtemp()))
    return op


@pytest.mark.parametrize("name", FORMS)
def test_every_plan_makes_what_the_spec_says(name: str, device: torch.device) -> None:
    op = written(name)
    own = runtime(op.module)
    optional = tuple(param.name for param in op.program.graph.tensors if param.optional)
    for seed, sizes in enumerate(SIZES):
        case = Case(op=op.name, seed=seed, extents=sizes | {"L": GROUP[name]}, omitted=optional if seed == 1 else ())
        plans = ("scaled", "gemm", *(("gemv", "split_k") if seed == 1 else ()))
        for plan in (each for each in plans if each in own.reaching_names):
            if plan == "scaled" and device.type != "cpu":
                continue
            with own.forced(plan):
                run_and_compare(op.call, op.program.forms, case, device=device)


SHAPES = {
    "leading axes": (
        "op f(a: f8e4m3[..., G*L], sa: f8e8m0[..., G], weight b: f8e4m3[N, G*L], weight sb: f8e8m0[N, G])\n"
        "-> y: bf16[..., N]\nwhere L == 32:\n    y = sum(dot(a, b, over=L) * sa * sb, over=G)\n"
    ),
    "two products": (
        "op f(a: f4e2m1[M, G*L], sa: f8e8m0[M, G], g: f4e2m1[N, G*L], sg: f8e8m0[N, G],\n"
        "  u: f8e4m3[N, G*L], su: f8e8m0[N, G]) -> y: bf16[M, N]\nwhere L == 32:\n"
        "    y = silu(sum(dot(a, g, over=L) * sa * sg, over=G)) * sum(dot(a, u, over=L) * su * sa, over=G)\n"
    ),
    "batches": (
        "op f(a: f8e4m3[B, M, H, G*L], sa: f8e8m0[B, M, H, G], b: f8e5m2[B, H, N, G*L], sb: f8e8m0[B, H, N, G])\n"
        "-> (y: bf16[B, M, H, N], z: f32[B, H, M, N])\nwhere L == 32:\n"
        "    y = sum(dot(a, b, over=L) * sa * sb, over=G)\n    z = y + 1\n"
    ),
    "one scale": (
        "op f(a: f8e4m3[M, G*L], s: f32[M], b: f4e2m1[N, G*L], sb: f8e8m0[N, G]) -> y: bf16[M, N]\nwhere L == 32:\n"
        "    y = s * sum(dot(a, b, over=L) * sb, over=G)\n"
    ),
    "scales of rows alone": (
        "op f(a: f8e5m2[M, G*L], sa: f8e8m0[M, G], b: f8e4m3[N, G*L]) -> y: f32[M, N]\nwhere L == 128:\n"
        "    y = sum(dot(a, b, over=L) * sa, over=G)\n"
    ),
    "turned": (
        "op f(a: f8e4m3[M, G*L], sa: f8e8m0[G, M], b: f4e2m1[N, G*L], sb: f8e8m0[N, G], r: f32[M]) -> y: f32[N, M]\n"
        "where L == 32:\n    y = sum(dot(a, b, over=L) * sa * sb, over=G) * r\n"
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_axes_of_all_kinds(name: str, tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(SHAPES[name], tmp_path)
    known = {solve.name for solve in op.program.graph.solves}
    for seed, sizes in enumerate(
        ({"M": 17, "N": 34, "G": 5, "B": 2, "H": 3}, {"M": 3, "N": 5, "G": 1, "B": 3, "H": 1})
    ):
        extents = {
            axis: size for axis, size in {**sizes, "L": 128 if "128" in SHAPES[name] else 32}.items() if axis in known
        }
        case = Case(op=op.name, seed=seed, extents=extents, lead=(2, sizes["M"]))
        with runtime(op.module).forced("scaled" if device.type == "cpu" else "gemm"):
            run_and_compare(op.call, op.program.forms, case, device=device)


@pytest.mark.parametrize("name", FORMS)
def test_digits_are_decoded_where_they_are_multiplied(name: str) -> None:
    """No operand is stored in more bits first, and tensor cores multiply."""
    op = written(name)
    assert op.program.held == ()
    gemm = next(plan for plan in op.program.plans if isinstance(plan, Gemm))
    (dot,) = gemm.tile.dots.values()
    types = multiplied_as(gemm.tile.flow.nodes, dot)
    assert types is not None
    assert all(storage in (DTYPES["f8e4m3"], DTYPES["f8e5m2"], DTYPES["bf16"]) for storage in types)


def operands(name: str, rows: int) -> Iterator[torch.Tensor]:
    """Arguments of a form, of which there are no data."""
    kinds = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2, "e8m0": torch.uint8, "e2m1": torch.uint8}
    a, b, scale = FORMATS[name].split()
    for size, kind in ((rows, a), (256, b)):
        bytes = 1024 // (2 if kind == "e2m1" else 1)
        yield torch.empty(size, bytes, dtype=kinds[kind], device="meta")
        yield torch.empty(size, 1024 // GROUP[name], dtype=kinds[scale], device="meta")
    if "bias" in FORMS[name]:
        yield torch.empty(256, device="meta")
    if "r: bf16" in FORMS[name]:
        yield torch.empty(rows, 256, dtype=torch.bfloat16, device="meta")
    if "t: f32" in FORMS[name]:
        yield torch.empty((), device="meta")


@pytest.mark.parametrize("name", FORMS)
def test_rules_take_scales_where_the_tensor_core_does(name: str) -> None:
    op = written(name)
    own, given = runtime(op.module), list(operands(name, 300))
    for chip in CHIPS.values():
        has = FORMATS[name] in TARGETS[chip.target].scaled
        assert has == (
            chip.capability == 100 or (chip.capability == 120 and "mxfp4 of large" not in name and "by" not in name)
        )
        (step,) = own.decide(*given, chip=chip).steps
        assert (step.plan == "scaled") == has
        if not has:
            with pytest.raises(PlanError, match="scaled"):
                own.decide(*given, plan="scaled", chip=chip)


REFUSED = {
    "groups of 16 with powers of two": form("f8e4m3", "f8e4m3").replace("L == 32", "L == 16"),
    "groups of 96": form("f8e4m3", "f8e4m3", 96),
    "groups of any size": form("f8e4m3", "f8e4m3").replace("\nwhere L == 32", ""),
    "numbers of 8 bits with scales of e4m3": form("f8e4m3", "f8e4m3", 16),
    "scales in f32": form("f8e4m3", "f8e4m3").replace("f8e8m0", "f32"),
    "scales of two formats": form("f4e2m1", "f4e2m1").replace("sb: f8e8m0", "sb: f8e4m3"),
    "no scale": form("f8e4m3", "f8e4m3", times="{dot}")
    .replace(" sa: f8e8m0[M, G],", "")
    .replace(", sb: f8e8m0[N, G]", ""),
    "one scale of e4m3": form("f4e2m1", "f4e2m1", 16, times="{dot} * sa"),
    "two scales of one operand": form("f8e4m3", "f8e4m3", more=", t: f8e8m0[M, G]", times="{dot} * sa * t"),
    "a third factor": form("f8e4m3", "f8e4m3", more=", t: f32[G]", times="{dot} * sa * sb * t"),
    "a sum of two": form("f8e4m3", "f8e4m3", times="({dot} + 1) * sa * sb"),
    "twice the scale": form("f8e4m3", "f8e4m3", times="{dot} * sa * (sb + sb)"),
    "half the number": form("f4e2m1", "f4e2m1").replace("dot(a,", "dot(a * 0.5,"),
    "digits the other way round": form("i4", "i4", times="{dot} * 1.0 * sa * sb"),
    "bf16": form("bf16", "bf16"),
    "groups apart": form("f8e4m3", "f8e4m3").replace("f8e4m3[M, G*L]", "f8e4m3[G, M, L]"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_tensor_core_scales_is_left_to_others(name: str) -> None:
    (graph,) = elaborate(load(Source("f.fuse", REFUSED[name]), None))
    assert "scaled" not in {plan.name for plan in compile_graph(graph, kernels=False).plans}


def test_kernels_multiply_with_scales() -> None:
    """What the resource gate says of them, without a GPU: on each chip that has such products PTX has them.

    Tensor memory has 128 rows. Triton decodes what has fewer, and multiplies it in 16 bits.
    """
    kept = ("mxfp8 by mxfp4", "nvfp4 of any sign")
    text = "\n".join(FORMS[name].replace("op f(", f"op f{place}(") for place, name in enumerate(kept))
    record = compile_file(Source("scaled.fuse", text), None)
    with compilers(1) as pool:
        found = figures.variants([record], pool)
    largest = [next(each for each in variants if each.scaled) for variants in found.values()]
    assert [each.scaled for each in largest] == [(FORMATS[name],) for name in kept]
    sizes = tuple((name, 64 if name == "BLOCK_M" else size) for name, size in largest[0].constexprs)
    jobs = [(variant, target) for variant in largest for target in targets_of(variant, (TARGETS["sm_90"],))]
    jobs.append((replace(largest[0], constexprs=sizes), TARGETS["sm_100"]))
    # What decodes both operands: columns that are made by turns had no layout in shared memory.
    decoding = next(each for each in found["f1"] if each.kernel == "_f1_gemm")
    sizes = {"BLOCK_M": 64, "BLOCK_N": 128, "SWAP_AB": True}
    wide = tuple((name, sizes.get(name, size)) for name, size in decoding.constexprs)
    jobs.append((replace(decoding, constexprs=wide), TARGETS["sm_90"]))
    *verdicts, low, decoded = measure([Job("scaled", record.text, *job) for job in jobs], workers=1, every=True)
    assert [each.target for each in verdicts if each.skipped] == ["sm_90"] * len(kept)
    there = [each for each in verdicts if not each.skipped]
    assert [each.target for each in there] == ["sm_100", "sm_100", "sm_120"]
    assert [each.failure for each in there] == [None] * len(there)
    assert all(each.resources is not None and each.resources.scaled for each in there)
    assert decoded.failure is None
    assert low.failure == "Triton decodes the operands of a product that the tensor core has scales for"


def test_a_chip_that_nobody_knows_has_no_such_products() -> None:
    assert Chip(capability=75).scaled == H200.scaled == frozenset()
