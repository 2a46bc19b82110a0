"""Kernels of specs that are not ours keep what they hold in registers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from formulas import TABLE

from fusec.codegen.gate import Job, compilers, measure
from fusec.diagnostics import Source
from fusec.driver.compile import compile_file
from fusec.driver.figures import variants
from fusec.driver.record import FileRecord
from fusec.driver.specs import read_spec
from fusec.passes.kernel.blocks import SWAP_AB
from fusec.runtime.explain.occupancy import occupancy
from fusec.runtime.launch import Resources
from fusec.runtime.select.chip import CHIPS, TARGETS
from fusec.runtime.select.gemm import steps

SPECS = Path(__file__).resolve().parents[2] / "specs"

SPILLED = {
    "softmax_backward": "_softmax_backward_resident",  # more live values than inputs
    "softmax_of_the_middle": "_softmax_of_the_middle_rows",  # many rows side by side
    "norm_and_group_peaks": "_norm_and_group_peaks_combine",  # many partial results of many rows
    "first_positive": "_first_positive_partial_smallest",  # accumulators of 64 bits
    "causal_softmax": "_causal_softmax_row_loop",  # the compiler gets by with 64 registers though it may have more
    "batched": "_batched_gemm",  # operands whose rows begin anywhere, loaded into registers first
}
"""A kernel of each that once spilled, and why."""


FEW_ROWS = {"rmsnorm_linear": 2, "gated_mlp": 2}
"""Products, and how many kernels each has for a few rows."""


WIDEST = "gelu"
"""The choice of an activation that stands for all: they differ behind the loop, and it holds most there."""


def jobs(names: Iterable[str], kernels: re.Pattern[str]) -> list[Job]:
    """What the gate compiles of some specs: the kernels whose names match."""
    return jobs_of([compile_file(Source(f"{name}.fuse", TABLE[name].text), None) for name in names], kernels)


def jobs_of(files: Sequence[FileRecord], kernels: re.Pattern[str]) -> list[Job]:
    """What the gate compiles of some files: the kernels whose names match."""
    with compilers(1) as pool:
        found = variants(files, pool)
    return [
        Job(record.module, record.text, variant, TARGETS[target])
        for record in files
        for variant in found[record.ops[0].name]
        for target in ("sm_80", "sm_90")
        if kernels.fullmatch(variant.kernel) and dict(variant.constexprs).get("ACTIVATION", WIDEST) == WIDEST
    ]


def test_nothing_spills() -> None:
    compiled = jobs(SPILLED, re.compile("|".join(SPILLED.values())))
    assert {job.module for job in compiled} == set(SPILLED)
    assert [verdict for verdict in measure(compiled, workers=1) if verdict.failure or verdict.skipped] == []


def test_nothing_spills_that_multiplies_a_few_rows() -> None:
    found = jobs(FEW_ROWS, re.compile(r"_\w+_(gemm|combine)(_y)?"))
    compiled = [job for job in found if dict(job.variant.constexprs).get(SWAP_AB, True)]
    kernels = {(job.module, job.variant.kernel) for job in compiled}
    assert Counter(module for module, _ in kernels) == FEW_ROWS
    assert [verdict for verdict in measure(compiled, workers=1) if verdict.failure or verdict.skipped] == []


def test_nothing_spills_where_a_residual_is_read_behind_a_product() -> None:
    """Rows may begin anywhere, so that operands are loaded into registers, and offsets have 64 bits."""
    source = read_spec(SPECS / "linear_add_rmsnorm.fuse")
    found = jobs_of([compile_file(source, None)], re.compile(r"_linear_add_rmsnorm_(gemm|tma)_total"))
    # Without a bias there is less to hold.
    compiled = [job for job in found if "bias_ptr" not in dict(job.variant.constexprs)]
    assert {dict(job.variant.constexprs)["INDEX"] for job in compiled} == {"tl.int32", "tl.int64"}
    assert [verdict for verdict in measure(compiled, workers=1) if verdict.failure] == []


NORM_IN_BYTES = """op f(x: T[..., N], r: T[..., N], weight w: T[N], s: f32[]) -> (total: T[..., N], q: f8e4m3[..., N])
where T in {f16, bf16}:
    total = cast(x + r, T)
    q = cast(rmsnorm(total, w, 1e-6, over=N) / s, f8e4m3)
"""


def test_nothing_spills_where_bytes_are_stored_beside_a_wider_output() -> None:
    """They change their layout for it: the longest row that registers hold of two such outputs is shorter."""
    found = jobs_of([compile_file(Source("f.fuse", NORM_IN_BYTES), None)], re.compile("_f_resident"))
    assert {job.target.name for job in found} == {"sm_80", "sm_90"}
    assert [verdict for verdict in measure(found, workers=1) if verdict.failure] == []


def looped(job: Job, inner: int, few: bool) -> Job:
    """The kernel of a gemm as it is compiled to contract so many positions."""
    step = dict(job.variant.constexprs)["BLOCK_K"]
    assert isinstance(step, int)
    loop: dict[str, int] = dict(zip(("FULL_STEPS", "TAIL_STEPS"), steps(inner * step // 16, step, few), strict=True))
    constexprs = tuple((name, loop.get(name, value)) for name, value in job.variant.constexprs)
    return replace(job, variant=replace(job.variant, constexprs=constexprs))


def programs(job: Job, resources: Resources | None) -> int:
    """How many programs of a kernel an SM of its chip holds."""
    chip = next(chip for chip in CHIPS.values() if chip.capability == job.target.capability)
    return occupancy(chip, dict(job.variant.options[0])["num_warps"], resources).programs


def test_a_tail_leaves_an_sm_as_many_programs() -> None:
    """A gemm of a few rows whose last step is not whole takes no more of an SM than one of as many whole steps."""
    found = [
        job
        for job in jobs({"gated_mlp"}, re.compile(r"_\w+_gemm(_y)?"))
        if dict(job.variant.constexprs)[SWAP_AB] and ("x_ptr", "*bf16") in job.variant.signature
    ]
    assert {job.target.name for job in found} == {"sm_80", "sm_90"}
    for count in (2, 30):
        whole, tailed = ([looped(job, 16 * count - rest, True) for job in found] for rest in (0, 1))
        for job, one, other in zip(found, *(measure(each, 1, every=True) for each in (whole, tailed)), strict=True):
            assert one.resources is not None
            assert other.resources is not None
            assert other.resources.spills == 0, one.label
            assert programs(job, other.resources) >= programs(job, one.resources), one.label
