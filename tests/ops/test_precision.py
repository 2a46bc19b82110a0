"""The precision of a dot: every kernel and product of the library has it, and tiles are for whoever multiplies."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
import torch
from compiled import compiled

from fusec.runtime import Launch, Op, Product, dots
from fusec.runtime.tuned import Way
from fusec.runtime.ways import Trial, forced

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


def launched(module: ModuleType, way: str, *shapes: tuple[int, ...]) -> tuple[list[Launch | Product], Trial]:
    """What a plan for tensors of f32 launches that goes this way, and what is seen of it."""
    made: list[Launch | Product] = []
    (op,) = (each for each in vars(module).values() if isinstance(each, Op))
    noted = mock.patch.object(module, "Plan", lambda *_, launches, **__: made.extend(launches))
    with noted, forced(op, Way(way)) as trial:
        op.plan(*(torch.empty(shape, device="meta") for shape in shapes))
    return made, trial


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
def test_kernels_and_the_library_multiply_as_the_dot_says(precision: str, tmp_path: Path) -> None:
    (op,) = compiled(LINEAR.format(precision), tmp_path)
    text = Path(str(op.module.__file__)).read_text()
    assert set(re.findall(r'tl\.dot\(.*input_precision="(\w+)"', text)) == {precision}
    launches, _ = launched(op.module, "library", (96, 64), (64,), (32, 64))
    assert [step.tf32 for step in launches if isinstance(step, Product)] == [precision == "tf32"]


def test_dots_of_one_kernel_keep_each_its_own(tmp_path: Path) -> None:
    (op,) = compiled(EACH_ITS_OWN, tmp_path)
    text = Path(str(op.module.__file__)).read_text()
    for kernel in text.split("@triton.jit")[1:]:
        assert set(re.findall(r'input_precision="(\w+)"', kernel)) in (set(), {"ieee", "tf32"})
    launches, _ = launched(op.module, "library", (96, 64), (32, 64), (32, 64))
    assert {step.b.name: step.tf32 for step in launches if isinstance(step, Product)} == {"gate": False, "up": True}


@pytest.mark.parametrize(("text", "unit"), [(LINEAR.format("ieee"), 0), (LINEAR.format("tf32"), 1), (EACH_ITS_OWN, 0)])
def test_tiles_are_those_of_the_matrix_unit_where_it_multiplies_alone(text: str, unit: int, tmp_path: Path) -> None:
    (op,) = compiled(text, tmp_path)
    shapes = ((96, 64), (64,), (32, 64)) if "gain" in text else ((96, 64), (32, 64), (32, 64))
    for way in ("product", "swapped"):
        _, trial = launched(op.module, way, *shapes)
        (tile,) = trial.tiles
        assert tile.facts.get("tf32", 0) == unit
        assert tile.tile == getattr(dots, tile.rule)(**tile.facts)


def test_the_matrix_unit_takes_larger_tiles_of_f32_than_threads_do() -> None:
    for rule in (dots.product_tile, dots.few_tile):
        threads, unit = (rule(64, 4096, 4096, 4096, 4, 1, tf32) for tf32 in (False, True))
        assert unit.step > threads.step
        assert unit.side * unit.block >= threads.side * threads.block
        assert rule(64, 4096, 4096, 4096, 2, 1, True) == rule(64, 4096, 4096, 4096, 2, 1, False)
