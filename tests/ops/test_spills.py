"""Kernels of specs that are not ours keep what they hold in registers."""

from __future__ import annotations

from pathlib import Path

from formulas import TABLE

from fusec.codegen.gate import TARGETS, Job, measure
from fusec.commands.build import COMPILER
from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from fusec.driver.figures import variants
from fusec.driver.store import Store

SPILLED = {
    "softmax_backward": "_softmax_backward_resident",  # more live values than inputs
    "softmax_of_the_middle": "_softmax_of_the_middle_rows",  # many rows side by side
    "norm_and_group_peaks": "_norm_and_group_peaks_finish",  # many partial results of many rows
    "first_positive": "_first_positive_partial0",  # accumulators of 64 bits
    "causal_softmax": "_causal_softmax_streamed",  # the compiler gets by with 64 registers though it may have more
}
"""A kernel of each that once spilled, and why."""


def test_nothing_spills(tmp_path: Path) -> None:
    sources = {tmp_path / name: Source(f"{name}.fuse", TABLE[name].text) for name in SPILLED}
    texts = {name: compile_source(source, None)[0].text for name, source in zip(SPILLED, sources.values(), strict=True)}
    found = variants(sources, COMPILER, Store(None), workers=1)
    jobs = [
        Job(name, texts[name], variant, TARGETS[target])
        for name, kernel in SPILLED.items()
        for variant in found[name]
        for target in ("sm_80", "sm_90")
        if variant.kernel == kernel
    ]
    assert {job.module for job in jobs} == set(SPILLED)
    assert [verdict for verdict in measure(jobs, workers=1) if verdict.failure or verdict.skipped] == []
