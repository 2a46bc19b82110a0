"""The shipped products of quantised matrices, in every plan, against the accuracy of an ideal quantiser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from compiled import compiled
from torch import Tensor

from fusec.forcing import SMALL
from fusec.runtime import Op as RuntimeOp
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

SPECS = Path(__file__).parents[2] / "specs"

STEPS = replace(SMALL, few_tiles=1 << 10, skinny_block_k=32)
"""A chip of small tiles, several of which share a sum."""

EXTENTS = {"M": 5, "N": 32, "K": 96, "G": 2, "L": 128, "P": 1, "R": 128}


@pytest.mark.parametrize("file", ["scaled_mm", "fp8_gemm", "fp8_linear", "block_scaled_mm"])
def test_every_plan_of_every_op(file: str, tmp_path: Path, device: torch.device) -> None:
    """Ops of one file may share kernels, and some of their tensors are there in some plans alone."""
    for op in compiled((SPECS / f"{file}.fuse").read_text(), tmp_path):
        graph = op.program.graph
        own = next(v for v in vars(op.module).values() if isinstance(v, RuntimeOp) and v.name == op.name)
        names = {solve.name for solve in graph.solves}
        case = Case(
            op=op.name,
            seed=1,
            extents={name: size for name, size in EXTENTS.items() if name in names},
            lead=(20,),
            dtypes={each.name: each.options[-2 if len(each.options) > 1 else 0].name for each in graph.variables},
            picks={"activation": "silu"} if op.name.startswith("fp8_gated_mlp") else {},
            scalars={"eps": 1e-6} if op.name == "rmsnorm_fp8_linear" else {},
        )
        for plan in own.reaching_names:
            with own.forced(plan, STEPS):
                run_and_compare(op.call, op.program.forms, case, device=device)


def quantised(x: Tensor) -> Tensor:
    """x as the nearest numbers that f8 and one scale for each row make."""
    scale = x.abs().amax(-1, keepdim=True) / 448
    return (x / scale).to(torch.float8_e4m3fn).double() * scale


def error(result: Tensor, exact: Tensor) -> float:
    return float((result.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
def test_fp8_linear_is_as_accurate_as_an_ideal_quantiser(scale: float, tmp_path: Path, device: torch.device) -> None:
    op = next(op for op in compiled((SPECS / "fp8_linear.fuse").read_text(), tmp_path) if op.name == "fp8_linear")
    generator = torch.Generator().manual_seed(4)
    x, w = (torch.randn(size, 512, generator=generator).bfloat16() for size in (24, 48))
    x = x * scale
    exact = x.double() @ w.double().T
    ideal = error(quantised(x.double()) @ quantised(w.double()).T, exact)
    assert error(op.call(x.to(device), w.to(device)).cpu(), exact) == pytest.approx(ideal, rel=0.02)


def test_a_weight_that_changes_is_quantised_again(tmp_path: Path, device: torch.device) -> None:
    op = next(op for op in compiled((SPECS / "fp8_linear.fuse").read_text(), tmp_path) if op.name == "fp8_linear")
    layer = op.module.FP8Linear(256, 48, device=device, dtype=torch.bfloat16)
    x = torch.randn(24, 256, generator=torch.Generator().manual_seed(1)).bfloat16().to(device)
    for factor in (1.0, -3.0):
        with torch.no_grad():
            layer.weight.mul_(factor)
            layer.bias.zero_()
            assert error(layer(x), x.double() @ layer.weight.double().T) < 0.06
