"""The precision of a dot: every kernel and product of the library has it, and tiles are for whoever multiplies."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from compiled import compiled

from fusec.runtime import H200, Op, Product
from fusec.runtime.select import gemm
from fusec.runtime.select.run import Decision
from fusec.runtime.select.tiles import GemmTile

LINEAR = """
op f(x: T[..., K], gain: T[K], weight w: T[N, K]) -> y: T[..., N]
where T in {{f16, bf16, f32}}:
    y = dot(x * gain, w, over=K, precision=(T, {}))
"""

EACH_ITS_OWN = """
op f(x: T[M, K], weight gate: T[N, K], weight up: T[N, K]) -> y: T[M, N]
where T in {bf16, f32}:
    y = silu(dot(x, gate, over=K)) * dot(x, up, over=K, precision=tf32)
"""


def decided(module: ModuleType, plan: str, *shapes: tuple[int, ...]) -> Decision:
    """What a call with tensors of f32 comes to by a plan."""
    (op,) = (each for each in vars(module).values() if isinstance(each, Op))
    return op.decide(*(torch.empty(shape, device="meta") for shape in shapes), plan=plan)


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
def test_kernels_and_the_library_multiply_as_the_dot_says(precision: str, tmp_path: Path) -> None:
    (op,) = compiled(LINEAR.format(precision), tmp_path)
    text = Path(str(op.module.__file__)).read_text()
    assert set(re.findall(r'tl\.dot\(.*input_precision="(\w+)"', text)) == {precision}
    launches = decided(op.module, "library", (96, 64), (64,), (32, 64)).launches
    assert [step.tf32 for step in launches if isinstance(step, Product)] == [precision == "tf32"]


def test_dots_of_one_kernel_keep_each_its_own(tmp_path: Path) -> None:
    (op,) = compiled(EACH_ITS_OWN, tmp_path)
    text = Path(str(op.module.__file__)).read_text()
    for kernel in text.split("@triton.jit")[1:]:
        assert set(re.findall(r'input_precision="(\w+)"', kernel)) in (set(), {"ieee", "tf32"})
    launches = decided(op.module, "library", (96, 64), (32, 64), (32, 64)).launches
    assert {step.b.name: step.tf32 for step in launches if isinstance(step, Product)} == {"gate": False, "up": True}


@pytest.mark.parametrize(("text", "unit"), [(LINEAR.format("ieee"), 0), (LINEAR.format("tf32"), 1), (EACH_ITS_OWN, 0)])
def test_tiles_are_those_of_the_matrix_unit_where_it_multiplies_alone(text: str, unit: int, tmp_path: Path) -> None:
    (op,) = compiled(text, tmp_path)
    shapes = ((96, 64), (64,), (32, 64)) if "gain" in text else ((96, 64), (32, 64), (32, 64))
    for plan in ("gemm", "swap_ab"):
        tiles = (each for step in decided(op.module, plan, *shapes).steps for each in step.tiled)
        (tile,) = (each for each in tiles if isinstance(each.tile, GemmTile))
        assert tile.facts["tf32"] == unit
        assert tile.tile == getattr(gemm, tile.rule)(gemm.Contraction(**tile.facts), H200)


def test_the_matrix_unit_takes_larger_tiles_of_f32_than_threads_do() -> None:
    for rule in (gemm.gemm_tile, gemm.skinny_tile):
        large = gemm.Contraction(64, 4096, 4096, 4096, itemsize=4)
        threads, unit = (rule(replace(large, tf32=tf32), H200) for tf32 in (False, True))
        assert unit.block_k > threads.block_k
        assert unit.block_m * unit.block_n >= threads.block_m * threads.block_n
        small = replace(large, itemsize=2)
        assert rule(replace(small, tf32=True), H200) == rule(small, H200)
