"""Kernels of a chain touch no memory of their neighbours before they have waited for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from catalogue import Op, all_ops

from fusec.ir.expressions import Dot
from fusec.ir.kernel import (
    Branch,
    Enter,
    Fetch,
    Halves,
    Kernel,
    LoadTile,
    Loop,
    Put,
    Statement,
    StoreTile,
)
from fusec.ir.plan import Shape
from fusec.passes.kernel.blocks import OVERLAP

WITH_DOTS = [op for op in all_ops() if any(isinstance(node.expr, Dot) for node in op.program.graph.nodes)]
TOUCHING = (LoadTile, StoreTile, Fetch, Put)


def flat(statements: tuple[Statement, ...]) -> Iterator[Statement]:
    for statement in statements:
        yield statement
        match statement:
            case Loop(body=body) | Halves(body=body):
                yield from flat(body)
            case Branch(cases):
                for _, body in cases:
                    yield from flat(body)


def chained(op: Op) -> dict[str, Kernel]:
    """The kernels that are one of several in a call."""
    kernels = [kernel for chain in op.program.chains for kernel in chain.kernels]
    dealt = [plan for plan in op.program.plans if plan.plan.shape is Shape.DEALT]
    return {kernel.name: kernel for kernel in (*kernels, *(kernel for plan in dealt for kernel in plan.kernels))}


@pytest.mark.parametrize("op", WITH_DOTS, ids=lambda op: op.name)
def test_memory_is_touched_behind_the_wait(op: Op) -> None:
    kernels = chained(op)
    assert kernels
    for kernel in kernels.values():
        assert OVERLAP in kernel.blocks
        kinds = [type(statement) for statement in flat(kernel.body)]
        assert kinds.count(Enter) == 1
        assert Enter in [type(statement) for statement in kernel.body]
        assert not set(kinds[: kinds.index(Enter)]) & set(TOUCHING)


@pytest.mark.parametrize("op", WITH_DOTS, ids=lambda op: op.name)
def test_other_kernels_know_of_no_overlap(op: Op) -> None:
    others = [kernel for kernel in op.program.kernels if kernel.name not in chained(op)]
    assert others
    for kernel in others:
        assert OVERLAP not in kernel.blocks
        assert Enter not in {type(statement) for statement in flat(kernel.body)}
