"""The epilogue of a contraction is one function, whichever kernel calls it."""

from __future__ import annotations

from types import ModuleType

import pytest
from catalogue import Op, all_ops

from fusec.codegen.functions import function_views
from fusec.ir.expressions import Dot
from fusec.ir.kernel import Elementwise, Gemm, GemmTma, Kernel, RowLoop
from fusec.ir.statements import Call, StoreTile, every
from fusec.ir.tile_values import Name

WITH_DOTS = [op for op in all_ops() if any(isinstance(node.expr, Dot) for node in op.program.graph.nodes)]


def calling(op: Op) -> list[Kernel]:
    return [kernel for kernel in op.program.kernels if kernel.calls]


FILES = [*dict.fromkeys(op.module for op in WITH_DOTS)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.__name__.rpartition(".")[2])
def test_kernels_that_store_the_same_of_the_same_sums_share_a_function(file: ModuleType) -> None:
    """A kernel of several ops calls the functions of all of them, so callers are those in the whole file."""
    callers: dict[str, set[str]] = {}
    seen: set[str] = set()
    for program in (op.program for op in all_ops() if op.module is file):
        seen |= set(function_views((program,)))
        for kernel in program.kernels:
            for call in kernel.calls:
                callers.setdefault(call.called, set()).add(kernel.name)
    assert all(len(kernels) > 1 for kernels in callers.values()), callers
    assert seen == callers.keys()


@pytest.mark.parametrize("op", WITH_DOTS, ids=lambda op: op.name)
def test_functions_store_nothing_and_kernels_store_what_they_return(op: Op) -> None:
    for kernel in calling(op):
        stored = {node.text for node in every(kernel.skeleton.results.stores) if isinstance(node, Name)}
        for call in kernel.calls:
            assert not any(isinstance(node, StoreTile | Call) for node in every(call.function.body))
            assert {name.text for name in call.names} <= stored


def test_every_family_of_contractions_calls_one() -> None:
    (linear,) = (op for op in WITH_DOTS if op.name == "linear_residual")
    families = {type(kernel.skeleton) for kernel in calling(linear)}
    assert {RowLoop, Gemm, GemmTma, Elementwise} <= families
