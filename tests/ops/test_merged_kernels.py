"""Kernels of several ops of a file that differ in a few statements are one, and each op launches its own part of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.codegen.gate import compilers
from fusec.diagnostics import Source
from fusec.driver.compile import compile_file, compile_source
from fusec.driver.figures import variants
from fusec.runtime.launch import Launcher
from fusec.testing.random_run import hold_text

PLAIN = """op plain(x: T[..., K], w: T[N, K], b: T[N] = 0) -> y: T[..., N]
where T in {f16, bf16, f32}:
    y = dot(x, w, over=K) + b
"""
ADDED = """op added(x: T[..., K], w: T[N, K], r: T[..., N], b: T[N] = 0) -> y: T[..., N]
where T in {f16, bf16, f32}:
    y = dot(x, w, over=K) + b + r
"""
CHOSEN = """op chosen(x: T[..., K], w: T[N, K], b: T[N] = 0,
          activation: {silu, gelu, gelu_tanh, relu} = relu) -> y: T[..., N]
where T in {f16, bf16, f32}:
    y = activation(dot(x, w, over=K) + b)
"""
BY_ROW = """op by_row(x: T[..., K], w: T[N, K], r: T[...], b: T[N] = 0) -> y: T[..., N]
where T in {f16, bf16, f32}:
    y = (dot(x, w, over=K) + b) * r
"""
SCALED = """op scaled(x: T[..., K], w: T[N, K], b: T[N] = 0, scale: f32 = 2.0) -> y: T[..., N]
where T in {f16, bf16, f32}:
    y = (dot(x, w, over=K) + b) * scale
"""
MIXED = """op mixed(x: T[..., K], weight w: W[N, K], weight b: W[N] = 0) -> y: T[..., N]
where T in {f16, bf16, f32}, W in {f16, bf16, f32}:
    y = dot(x, cast(w, T), over=K) + b
"""
NORM = """op {name}(x: T[..., N], weight: T[N], eps: f32 = 1e-6) -> y: T[..., N]
where T in {{f16, bf16, f32}}:
    y = x * rsqrt(mean(x * x, over=N) + eps) * {gain}
"""

NAMED = """op named(x: T[..., K], w: T[N, K], OP: T[..., N], b: T[N] = 0, op: {silu, relu} = relu) -> y: T[..., N]
where T in {f16, bf16, f32}:
    y = op(dot(x, w, over=K) + b) + OP
"""
AXES = """op axes(x: T[..., OP], w: T[N, OP], b: T[N] = 0) -> y: T[..., N]
where T in {f16, bf16, f32}:
    y = dot(x, w, over=OP) + b
"""

EIGHT_BITS = """op {name}(a: f8e4m3[..., K], b: f8e4m3[N, K], scale: {scale}) -> y: f32[..., N]:
    y = dot(a, b, over=K{sums}) * scale
"""
QUANTIZED = """op {name}(x: T[..., N]) -> (q: {dtype}[..., N], scale: f32[...])
where T in {{f16, bf16, f32}}:
    q, scale = quantize(x, {dtype}, over=N)
"""
ROTATED = """op {name}(x: T[B, S, D], cos: f32[{rows}, D], sin: f32[{rows}, D], ids: i64[B, S]) -> y: T[B, S, D]
where T in {{f16, bf16, f32}}:
    c, s = cos[{before}ids], sin[{before}ids]
    y = sin(x) * c + cos(x * s) * s
"""
EXACT = EIGHT_BITS.format(name="exact", scale="f32[...]", sums="")

MERGED: Mapping[str, tuple[str, ...]] = {
    "a tensor more": (PLAIN, ADDED),
    "a choice more": (CHOSEN, PLAIN),
    "a tensor of one name and of other axes": (ADDED, BY_ROW),
    "three of a kind": (PLAIN, ADDED, CHOSEN),
    "one beside others that is another's under other names": (PLAIN, MIXED, CHOSEN),
    "a number more": (PLAIN, SCALED),
    "a choice and a tensor called as the flag": (PLAIN, NAMED),
    "an axis called as the flag": (AXES, PLAIN, ADDED),
    "products that are added in other ways": (
        EXACT,
        EIGHT_BITS.format(name="rough", scale="f32[...]", sums=", accum=fast"),
    ),
    "a tensor of one name without axes": (EXACT, EIGHT_BITS.format(name="whole", scale="f32[]", sums="")),
    "rows in other types": tuple(QUANTIZED.format(name=f"to_{dtype}", dtype=dtype) for dtype in ("f8e4m3", "i8")),
    "rows of a table with an extent and statements apart": (
        ROTATED.format(name="of_all", rows="P", before=""),
        ROTATED.format(name="of_each", rows="B, S", before="index(B), "),
    ),
    "rows": (NORM.format(name="norm", gain="weight"), NORM.format(name="offset", gain="(1 + weight)")),
}


CASES = [
    (form, shape)
    for form in MERGED
    for shape in (("rows", "row_loop") if form.startswith("rows") else ("row_loop", "library", "swap_ab", "tma"))
]


@pytest.mark.parametrize(("form", "shape"), CASES)
def test_each_op_does_its_own(form: str, shape: str, tmp_path: Path, device: torch.device) -> None:
    ops = MERGED[form]
    assert hold_text("\n".join(ops), 1, tmp_path, device, calls=2, shape=shape) == len(ops)


@pytest.mark.parametrize(("form", "count"), [("a tensor more", 2), ("a choice more", 2), ("three of a kind", 3)])
def test_kernels_are_merged(form: str, count: int) -> None:
    text = compile_source(Source("f.fuse", "\n".join(MERGED[form])), None)[0].text
    gemms = re.findall(r"^def (\w+_gemm)\($", text, re.MULTILINE)
    assert len(gemms) == 1
    assert len(set(re.findall(r'\bop="(\w+)"', text))) == count
    calls = Counter(re.findall(r"= _(\w+)_epilogue\(", text))
    assert len(calls) == count
    # Behind the library's product no kernel adds what the library has added itself.
    assert max(calls.values()) - min(calls.values()) <= 1


def test_kernels_are_merged_where_several_places_differ() -> None:
    text = compile_source(
        Source("f.fuse", "\n".join(MERGED["rows of a table with an extent and statements apart"])), None
    )
    assert len(re.findall(r"^def \w+elementwise\w*\($", text[0].text, re.MULTILINE)) == 1
    assert text[0].text.count('if OP == "of_each":') == 2


def test_a_product_is_added_as_its_op_says() -> None:
    text = compile_source(Source("f.fuse", "\n".join(MERGED["products that are added in other ways"])), None)[0].text
    assert len(re.findall(r"^def \w+_gemm\($", text, re.MULTILINE)) == 1
    assert 'if OP == "rough" else device.dot_in_parts(' in text


def test_the_gate_sees_the_types_of_an_op_alone() -> None:
    """Numbers of f8 are for the chips that have them, those of i8 in the same kernel are for all."""
    record = compile_file(Source("f.fuse", "\n".join(MERGED["rows in other types"])), None)
    assert len(re.findall(r"^def \w+_rows\($", record.text, re.MULTILINE)) == 1
    with compilers(1) as pool:
        found = variants([record], pool)
    casts = {op: {cast for variant in own for cast in variant.casts} for op, own in found.items()}
    assert casts == {"to_f8e4m3": {"fp8e4nv"}, "to_i8": set()}


@pytest.mark.parametrize(("x", "w"), [((3, 8), (5, 8)), ((1, 8), (5, 8))])
def test_a_warm_call_has_a_value_for_every_place(
    x: tuple[int, ...], w: tuple[int, ...], tmp_path: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = compiled(PLAIN + ADDED, tmp_path)
    tensors = (torch.randn(x, device=device), torch.randn(w, device=device), None)
    plan = plain.module.plain.plan(*tensors)
    picked: list[tuple[object, ...]] = []
    for step in plan._steps:
        assert isinstance(step, Launcher)
        monkeypatch.setattr(plan, "_launches", [lambda stream, values, step=step: picked.append(step._pick(values))])
    monkeypatch.setattr(plan, "_compiled", True)
    monkeypatch.setattr("fusec.runtime.plan._current_stream", lambda device: 0)
    plan(tensors)
    assert len(picked) == 1  # and picking a place beyond the end raises
