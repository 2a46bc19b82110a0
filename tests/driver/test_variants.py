"""The gate knows a variant of every kernel: of the shipped ops, and of specs whose sizes or outputs are unusual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shipped import SPECS, compiled_once

from fusec.codegen.gate import compilers
from fusec.codegen.variant import Variant
from fusec.diagnostics import Source
from fusec.driver.compile import compile_file, compile_source
from fusec.driver.figures import variants
from fusec.driver.record import FileRecord
from fusec.driver.specs import read_specs
from fusec.driver.telling import telling_calls

ODD = {
    "rounded": """
op rounded(x: T[M, K], weight w: W[K], weight b: W[K] = 0) -> y: T[M, K]
where T in {f16, bf16}, W in {f16, bf16, f32}:
    y = x * mean(w, over=K) + cast(b, T)
""",
    "equal": """
op equal(x: f32[M, D], z: f32[M, R]) -> y: f32[M, D]
where D == R:
    y = x * rename(z, R -> D) - mean(x, over=D)
""",
    "fixed": "op fixed(x: f32[M, N]) -> y: f32[M]\nwhere N == 8192:\n    y = sum(x, over=N)\n",
    "steps": "op steps(x: f32[M, N]) -> y: f32[M]\nwhere N % 96 == 32:\n    y = sum(x, over=N)\n",
    "long": "op long(x: f32[M, N]) -> y: f32[M]\nwhere N > 100000:\n    y = sum(x, over=N)\n",
    "short": "op short(x: f32[M, N]) -> y: f32[M, N]\nwhere N < 100:\n    y = x - mean(x, over=N)\n",
    "apart": """
op apart(x: f32[M, N], z: f32[M, K]) -> (a: f32[M, N], b: f32[M, K], c: f32[M])
where N % 16 == 0, K == 3 * N:
    a = x - mean(x, over=N)
    b = z * amax(z, over=K)
    c = sum(x, over=N)
""",
    "lacking": """
op lacking(x: T[M, N], z: T[M]) -> (a: T[M, N], b: f32[M])
where T in {f16, bf16}:
    a = x * 2 + z
    b = z * 3
""",
    "attention": """
op attention(q: T[B, H, D], k: T[B, S, H, D], v: T[B, S, H, D], lengths: i32[B]) -> y: T[B, H, D]
where T in {f16, f32}:
    scores = where(index(S) < lengths, dot(q, k, over=D) * 0.1, -inf)
    y = dot(softmax(scores, over=S), v, over=S)
""",
    "paged": """
op paged(x: T[Pages, Page, D], table: i32[B, P], longest: dim(S)) -> y: T[B, D]
where T in {f16, f32}, S == P * Page:
    y = sum(x[table[index(B), index(S) // Page], index(S) % Page], over=S)
""",
    "grouped": """
op grouped(x: T[M, G*L], w: T[N, G*L], scale: f32[N, G]) -> y: T[M, N]
where T in {f16, bf16}, L == 128:
    y = dot(x, w * scale, over=(G, L))
""",
    "product": """
op product(x: T[..., K], weight gain: T[K], weight w: T[N, K], weight bias: T[N] = 0) -> (y: T[..., N], r: T[..., K])
where T in {f16, f32}, N % 64 == 0:
    r = rmsnorm(x, gain, 1e-6, over=K)
    y = silu(dot(r, w, over=K) + bias)
""",
}


def known(files: Sequence[FileRecord]) -> dict[str, tuple[Variant, ...]]:
    """The variants of ops, asked of the process that a build asks, which does not interpret."""
    with compilers(1) as pool:
        return variants(files, pool)


def missing(sources: Mapping[Path, Source]) -> dict[str, list[str]]:
    """By op, the kernels that have no variant."""
    files = [compiled_once(source, path.parent) for path, source in sources.items()]
    found = known(files)
    lacking: dict[str, list[str]] = {}
    for op in (op for record in files for op in record.ops):
        kernels = {kernel for plan in op.plans for kernel in plan.kernels}
        lacking[op.name] = sorted(kernels - {variant.kernel for variant in found[op.name]})
    return lacking


def test_every_kernel_of_the_shipped_specs_has_a_variant() -> None:
    found = missing(read_specs(SPECS))
    assert len(found) > 30
    assert {op: kernels for op, kernels in found.items() if kernels} == {}


def test_kernels_are_compiled_for_every_kind_of_dtype_and_their_products_known(tmp_path: Path) -> None:
    text = "op wide(x: T[M, N]) -> y: T[M]\nwhere T in {f16, f32, f64}:\n    y = sum(x, over=N)\n"
    for name, word in (("exact", ""), ("cut", ", precision=tf32"), ("short", ", precision=T")):
        text += f"op {name}(x: T[M, K], w: f32[N, K]) -> y: T[M, N]\nwhere T in {{f16, f32}}:\n"
        text += f"    y = dot(x, w, over=K{word})\n"
    every = known([compile_file(Source("wide.fuse", text), tmp_path)])
    threads = {
        (name, each.in_f32, dict(each.signature).get("x_ptr"))
        for name in ("exact", "cut", "short")
        for each in every[name]
        if each.multiplies
    }
    assert ("exact", True, "*fp32") in threads
    assert {name for name, in_f32, kind in threads if in_f32 and kind == "*fp32"} == {"exact", "short"}
    assert {in_f32 for _, in_f32, kind in threads if kind == "*fp16"} == {False}
    found = every["wide"]
    for kernel in {variant.kernel for variant in found}:
        kinds = {kind for each in found if each.kernel == kernel for name, kind in each.signature if name == "x_ptr"}
        assert kinds == {"*fp16", "*fp32", "*fp64"} or (kernel.endswith("combine") and not kinds)


def test_every_kernel_of_odd_specs_has_a_variant(tmp_path: Path) -> None:
    found = missing({tmp_path / f"{name}.fuse": Source(f"{name}.fuse", text) for name, text in ODD.items()})
    assert found.keys() == ODD.keys()
    assert {op: kernels for op, kernels in found.items() if kernels} == {}


def test_rows_of_a_known_part_are_no_longer_than_others() -> None:
    """`G*L` with L = 128: as many groups as make the length, and not as many as it has elements."""
    text = (
        "op f(x: T[M, G*L]) -> (y: T[M, G*L], scale: f32[M, G])\nwhere T in {bf16, f32}, L == 128:\n"
        "    n = x / sum(x * x, over=(G, L))\n    scale = amax(n, over=L)\n    y = n\n"
    )
    (op,) = compile_source(Source("spec.fuse", text), None)
    calls = telling_calls(op.program)
    lengths = {kind: {call[0]["shape"][1] for call in calls[kind]} for kind in ("calls", "small")}
    assert max(lengths["calls"]) <= 131072
    assert min(lengths["calls"]) == 128
    assert max(lengths["small"]) <= 1024
