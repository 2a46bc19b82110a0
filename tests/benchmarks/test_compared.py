"""The benchmarks that wait for a GPU run on any device: the seeds' cases, their checkouts, CUDA C++ tile by tile."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.compared import about, run
from benchmarks.cuda import kernels
from benchmarks.cuda.__main__ import best, with_tiles
from benchmarks.seeds import products, rows
from benchmarks.seeds.__main__ import cases, chosen
from benchmarks.seeds.checkouts import CheckoutError
from fusec.commands.timing import Timing
from fusec.report.results import OWN, Measured

Call = Callable[[], Any]


def clock(calls: Mapping[str, Call]) -> dict[str, Timing]:
    """Runs what it times; the n-th candidate takes 10 n microseconds."""
    for call in calls.values():
        call()
    return {who: Timing((10.0 * n,), 1.0, True) for n, who in enumerate(calls, 1)}


def figures(found: Any) -> tuple[Measured, ...]:
    return list(run(found, clock, {}, compile=False))[-1].cases


def test_the_sizes_are_those_of_the_tables() -> None:
    names = {f"{case.op} {case.size}" for case in cases()}
    assert {
        "rmsnorm 2048x896",
        "rope 1x32x8192x128",
        "swiglu 2048x18944",
        "rmsnorm_linear to 18944 512x3584x18944",
    } <= names
    assert {"rmsnorm_rope 2x128x4096 D=64", "gated_mlp 2x128x4096x11008", "matmul f8, groups 4096^3"} <= names


def test_every_seed_case_runs(device: torch.device) -> None:
    on = str(device)
    small = chain(
        rows.rmsnorms((64,), 3, on),
        rows.ropes((3,), 2, on),
        rows.gates((64,), 3, on),
        products.rmsnorm_linears((2,), 64, (32,), on),
        (products.norm_and_rope(3, 128, 64, on), products.gated_mlp(2, 64, 32, on), products.fp8_gemm(32, 64, 32, on)),
        products.squares((128,), on),
    )
    for case in figures(small):
        assert OWN in case.device, (case.op, case.failed)
        # PyTorch multiplies some types, and some scales, on GPUs alone.
        assert "eager" in case.device or "matmul" in case.op or "fp8" in case.op, (case.op, case.failed)


CHECKOUT = """
import torch

def {name}({parameters}):
    {body}
"""


def test_a_checkout_takes_part_and_its_faults_are_told(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = tmp_path / "kernels"
    folder.mkdir()
    texts = {
        "rmsnorm": CHECKOUT.format(name="rms_norm_triton", parameters="x, w, eps=1e-6",
                                   body="return torch.nn.functional.rms_norm(x, w.shape, w, eps)"),
        "swiglu": CHECKOUT.format(name="swiglu_triton", parameters="gate, up", body="return gate * up"),
        "rope": "import nothing_of_that_name",
    }  # fmt: skip
    for name, text in texts.items():
        monkeypatch.delitem(sys.modules, name, raising=False)
        (folder / f"{name}.py").write_text(text)
    on = str(device)
    small = chain(rows.rmsnorms((64,), 3, on), rows.gates((64,), 3, on), rows.ropes((3,), 2, on))
    norm, gate, rope = figures(chosen(small, [""], [tmp_path]))
    assert norm.device["seed, Triton"] == 30
    assert "another result" in gate.failed["seed, Triton"]
    assert "nothing_of_that_name" in rope.failed["seed, Triton"]
    assert "rmsnorm_cuda_ext" in norm.failed["seed, CUDA C++"]
    with pytest.raises(CheckoutError, match="it is no checkout"):
        list(chosen(iter(()), [""], [folder]))


def lying_at(pointer: ctypes.c_void_p, numbers: int) -> torch.Tensor:
    """The numbers of f16 behind a pointer of the host."""
    assert pointer.value is not None
    return torch.frombuffer((ctypes.c_char * (2 * numbers)).from_address(pointer.value), dtype=torch.float16)


class Library:
    """What the kernels in CUDA C++ do, on the host: tiles 1 and 2 take every call, tile 3 is wrong."""

    @staticmethod
    def bench_swiglu(tile: int, wide: int, gate: Any, up: Any, y: Any, numbers: Any, stream: Any) -> int:
        if tile not in (1, 2, 3):
            return -1
        left, right = (lying_at(each, numbers.value) for each in (gate, up))
        lying_at(y, numbers.value).copy_(torch.nn.functional.silu(left) * right * (1 + (tile == 3)))
        return wide

    bench_rmsnorm = bench_rope = None


def test_of_all_tiles_the_fastest_that_is_right_counts(device: torch.device) -> None:
    if device.type != "cpu":
        pytest.skip("the library of this test works on the host")
    (found,) = run(with_tiles(Library, rows.gates((64,), 3, "cpu")), clock, {}, compile=False)
    (case,) = best(found).cases
    assert case.device == {OWN: 10, "eager": 20, "CUDA C++": 30, "copy": 50}
    assert case.errors["CUDA C++"] < 2.0**-10
    assert case.failed == {}
    assert best(found).about["fastest tiles"] == "swiglu 3x64: 1"
    assert "another result" in found.cases[0].failed["CUDA C++, 3"]


@pytest.mark.skipif(not os.environ.get("FUSEC_TEST_NVCC"), reason="takes half a minute: set FUSEC_TEST_NVCC")
@pytest.mark.parametrize("source", kernels.SOURCES)
def test_nvcc_takes_it_and_nothing_spills(source: str, tmp_path: Path) -> None:
    command = ["nvcc", "-arch=sm_90", "-Xptxas", "-v", "-Werror", "all-warnings", *kernels.FLAGS, "-c"]
    made = subprocess.run(
        [*command, str(kernels.HERE / source), "-o", str(tmp_path / "out.o")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    lines = [line for line in made.stderr.splitlines() if "spill" in line]
    assert lines
    assert all(" 0 bytes spill stores, 0 bytes spill loads" in line for line in lines)


def test_what_kernels_rely_on_is_asked() -> None:
    function = kernels.functions(Library)["swiglu"](1)
    uneven, single = torch.zeros(3, 12, dtype=torch.float16), torch.zeros(8)
    with pytest.raises(kernels.UnfitError, match="whole vectors"):
        function(uneven, uneven)
    with pytest.raises(kernels.UnfitError, match="f16 or bf16"):
        function(single, single)


def test_a_run_is_told_with_its_command_and_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["?", "--checkout", "/somebody/kernels", "--out", "/somewhere/x.json"])
    assert about("benchmarks.seeds")["command"] == "python -m benchmarks.seeds --checkout kernels --out OUT"
