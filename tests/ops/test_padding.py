"""Lanes outside of the extents leave every reduction alone, also where one access reads for several of them.

Two neighbours are read at once, so what stands for the one outside of the extents stands for the other as well: each
may be reduced after another operation, and only one of the two may bear what is read there.
"""

from __future__ import annotations

from itertools import product

import pytest
import torch
from catalogue import Op
from compiled import compiled

from fusec.forcing import CHIPS, on_chip
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

FORMS = ("{}", "-{}", "exp({})")
REDUCTIONS = ("amax({}, over=D)", "amin({}, over=D)", "sum(exp({} - amax({}, over=D)), over=D)")


def spec() -> str:
    """An op for every pair of forms, each of a neighbour, and every reduction of both."""
    ops: list[str] = []
    for first, second, reduction in product(FORMS, FORMS, REDUCTIONS):
        one, other = (reduction.replace("{}", form) for form in (first.format("a"), second.format("b")))
        ops.append(
            f"op case{len(ops)}(x: T[M, H*D], heads: dim(H)) -> y: f32[M, H]\n"
            "where T in {f32}, H % 2 == 0:\n"
            "    a, b = pairs(x, over=H)\n"
            f"    y = interleave({one}, {other}, over=H)\n"
        )
    return "\n".join(ops)


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> tuple[Op, ...]:
    return compiled(spec(), tmp_path_factory.mktemp("padding"))


@pytest.mark.parametrize("shape", ["rows", "row_loop"])
def test_neighbours_are_reduced_each_after_its_own_operation(
    ops: tuple[Op, ...], shape: str, device: torch.device
) -> None:
    with on_chip(ops[0].module, CHIPS[shape]):
        for op in ops:
            case = Case(op=op.name, seed=3, extents={"M": 5, "H": 2, "D": 3}, dtypes={"T": "f32"})
            run_and_compare(op.call, op.program.forms, case, device=device)
