"""What the steps of a gemm load little of: the cache is asked for all of it before, and for nothing else."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from compiled import compiled

from fusec.forcing import SMALL
from fusec.interpreter import interpreting
from fusec.interpreter.exact import alone
from fusec.ir.graph import TensorParam
from fusec.reference.rounding import torch_dtype
from fusec.runtime import Op as RuntimeOp
from fusec.runtime import device as device_functions
from fusec.testing.cases import Case, shape, storage

pytestmark = pytest.mark.skipif(not interpreting(), reason="notes addresses in the interpreter")

T = "\nwhere T in {f16, bf16}, L == 32"
FORMS = {
    "scales": f"op f(x: T[M, G*L], w: i4[N, G*L], s: T[G, N]) -> y: T[M, N]{T}:\n"
    "    y = sum(dot(x, w, over=L) * s, over=G)",
    "scales across": f"op f(x: T[M, G*L], w: i4[N, G*L], s: f32[N, G]) -> y: T[M, N]{T}:\n"
    "    y = sum(dot(x, w, over=L) * s, over=G)",
    "zero points": f"op f(x: T[M, G*L], w: u4[N, G*L], s: T[G, N], z: u8[G, N] = 8) -> y: T[M, N]{T}:\n"
    "    y = sum(dot(x, w - minimum(z, 15), over=L) * s, over=G)",
}


def _zeros(case: Case, of: TensorParam) -> torch.Tensor:
    return torch.zeros(shape(case, of.dims)).to(torch_dtype(storage(case, of.element)))


def _addresses(tensor: torch.Tensor | None) -> set[int]:
    if tensor is None:
        return set()
    start, size = tensor.data_ptr(), tensor.element_size()
    return {start + number * size for number in range(tensor.numel())}


@pytest.mark.parametrize("form", FORMS)
def test_all_of_what_groups_have_is_asked_for(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its end, and of a tensor that was left out, nothing is."""
    (op,) = compiled(FORMS[form], tmp_path)
    own = next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))
    asked: set[int] = set()

    def touch(pointers: Any, mask: Any) -> None:
        at, inside = torch.broadcast_tensors(
            *(torch.from_numpy(each.handle.data.astype("int64")) for each in (pointers, mask))
        )
        asked.update(at[inside != 0].tolist())

    monkeypatch.setattr(device_functions, "touch", touch)
    chip = replace(SMALL, few_tiles=1 << 10, unpacked_programs=1 << 10, unpacked_step=32)
    for seed, sizes in enumerate(({"M": 1, "N": 40, "G": 37}, {"M": 17, "N": 24, "G": 3})):
        names = ("split_k", "swap_ab", "gemm")
        for plan, omitted in product([name for name in own.reaching_names if name in names], (False, True)):
            dtypes = {each.name: each.options[-1].name for each in op.program.graph.variables}
            case = Case(op=op.name, seed=seed, extents=sizes | {"L": 32}, lead=(), dtypes=dtypes)
            tensors = {
                each: None if omitted and each.optional else _zeros(case, each) for each in op.program.graph.tensors
            }
            asked.clear()
            with own.forced(plan, chip), alone():
                op.call(*tensors.values())
            assert asked == set[int]().union(*(_addresses(t) for of, t in tensors.items() if of.name in "sz")), plan
