"""Kernels of a chain touch no memory of their neighbours before they have waited for them."""

from __future__ import annotations

import re

import pytest
from catalogue import Op, all_ops

from fusec.codegen.skeletons import kernel_lines
from fusec.ir.expressions import Dot
from fusec.ir.kernel import Kernel
from fusec.passes.kernel.blocks import OVERLAP

WITH_DOTS = [op for op in all_ops() if any(isinstance(node.expr, Dot) for node in op.program.graph.nodes)]
WAIT = f"device.enter({OVERLAP})"
TOUCHING = re.compile(r"\.(load|store)(_\w+)?\(")


def chained(op: Op) -> dict[str, Kernel]:
    """The kernels that are one of several in a call."""
    cut = op.program.cut
    plans = [plan for partition in cut for plan in partition.plans if partition.is_chained or plan.is_chained]
    return {kernel.name: kernel for plan in plans for kernel in op.program.kernels_of(plan)}


@pytest.mark.parametrize("op", WITH_DOTS, ids=lambda op: op.name)
def test_memory_is_touched_behind_the_wait(op: Op) -> None:
    kernels = chained(op)
    assert kernels
    for kernel in kernels.values():
        assert OVERLAP in kernel.blocks
        lines = kernel_lines(kernel, "tl.float32")
        assert lines.count(WAIT) == 1
        assert not any(map(TOUCHING.search, lines[: lines.index(WAIT)]))
        assert any(map(TOUCHING.search, lines))


def others(op: Op) -> list[Kernel]:
    """The kernels that are all of a call."""
    return [kernel for kernel in op.program.kernels if kernel.name not in chained(op)]


@pytest.mark.parametrize("op", [*filter(others, WITH_DOTS)], ids=lambda op: op.name)
def test_other_kernels_know_of_no_overlap(op: Op) -> None:
    for kernel in others(op):
        assert OVERLAP not in kernel.blocks
        assert WAIT not in "\n".join(kernel_lines(kernel, "tl.float32"))


def test_a_vector_is_multiplied_in_one_kernel() -> None:
    names = [kernel.name for op in WITH_DOTS for kernel in others(op)]
    assert {"_linear_gemv", "_rmsnorm_linear_gemv", "_rmsnorm_gated_mlp_gemv"} <= {*names}
