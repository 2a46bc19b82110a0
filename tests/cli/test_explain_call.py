"""`fusec explain OP --size ...`: the plan of one call, without a GPU; what is wrong with a call is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fusec.commands.exits import Exit

SPECS = Path(__file__).parents[2] / "specs"

SPEC = """op halved(x: T[..., N], z: T[K], weight w: T[N] = 1, mode: {silu, relu} = silu) -> y: T[..., N]
where T in {bf16, f32}, N == 2*K, K >= 16:
    y = mode(x) * w + sum(z, over=K)
"""


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    (tmp_path / "halved.fuse").write_text(SPEC)
    return tmp_path


def test_the_plan_of_a_call_is_told(fusec: Callable[..., Any]) -> None:
    result = fusec("explain", "linear", "--size", "M=16", "K=4096", "N=1024", "--specs", SPECS)
    assert result.exit_code == 0, result.stderr
    title, step, launch, reads, *_ = result.stdout.splitlines()
    assert title == "linear on NVIDIA H200: x bfloat16[16, 4096], weight bfloat16[1024, 4096]"
    assert step.startswith("├─ y: split_k, by rule: few rows (... = 16)")
    assert "64 programs of 4 warps, 4 stages" in launch
    assert reads.split("reads ")[1].startswith("x 2.1 MB (16 times), weight 8.39 MB; writes")


def test_sizes_stand_together_or_apart(fusec: Callable[..., Any]) -> None:
    words = (["--size", "...=2x8 K=4096 N=1024"], ["--size", "...=2x8", "--size", "K=4096", "N=1024"])
    texts = {fusec("explain", "linear", *each, "--specs", SPECS).stdout for each in words}
    (text,) = texts
    assert text.startswith("linear on NVIDIA H200: x bfloat16[2, 8, 4096]")


def test_plan_layout_dtype_and_chip_are_those_asked_for(fusec: Callable[..., Any]) -> None:
    words = ("--size", "M=16", "K=64", "N=48", "--dtype", "f32", "--layout", "weight=transposed", "--plan", "gemm")
    result = fusec("explain", "linear", *words, "--device", "rows", "--specs", SPECS, "--json")
    told = json.loads(result.stdout)
    assert told["arguments"] == {"x": "float32[16, 64]", "weight": "float32[48, 64] strides [1, 48]"}
    (step,) = told["steps"]
    assert (step["schedule"], step["reason"].split(":")[0]) == ("gemm", "forced")
    assert step["launches"][0]["traffic"]["flops"] == 2 * 16 * 64 * 64  # tiles have 32 columns


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--size M=16", "halved needs the size of K too: add K=4096"),
        (
            "--size K=64",
            "halved needs the size of ... too: add M=16; M stands for all of `...`, which ...=8x2048 g",
        ),
        (f"--size M={10**11} K={10**11}", "halved: a tensor of these sizes has more than 2**60 elements"),
        ("--size M=1 K=64 Q=3", "halved has no axis Q; it has "),
        ("--size M=1 K=64 N=3", "halved: N follows from other sizes and is 128 then, not 3"),
        ("--size M=1 K=8", "K >= 16"),
        ("--size M=1,2", "--size M=1,2: write AXIS=EXTENT, for instance N=4096 or ...=8x2048"),
        ("--size M=1 K=64 --dtype f16", "--dtype f16: T is one of bf16, f32"),
        ("--size M=1 K=64 --dtype U=f32", "--dtype U=f32: T is one of bf16, f32"),
        ("--size M=1 K=64 --layout v=sliced", "--layout v: there is no tensor v; there are x, z, w"),
        ("--size M=1 K=64 --layout x", "--layout x: write TENSOR=LAYOUT, for instance x=transposed or x=8192x1"),
        ("--size M=1 K=64 --layout x=1", "--layout x=1: x is [1, 128], so it has 2 strides"),
        ("--size M=1 K=64 --layout x=odd", "--layout x=odd: it is one of contiguous, sliced, transposed, or stri"),
        ("--size M=1 K=64 --with x", "--with x: there is no optional tensor x; there are w"),
        ("--size M=1 K=64 --choose mode=gelu", "--choose mode=gelu: it is one of silu, relu"),
        ("--size M=1 K=64 --choose mod=relu", "--choose mod: there is no choice mod; there are mode"),
        ("--size M=1 K=64 --device v100", "--device v100: there are h200, "),
        ("--size M=1 K=64 --plan gemm", "halved: there is no plan `gemm`; its plans are "),
    ],
)
def test_a_call_that_is_none_is_told(fusec: Callable[..., Any], specs: Path, words: str, message: str) -> None:
    result = fusec("explain", "halved", *words.split(), "--specs", specs)
    assert result.exit_code == Exit.USAGE, result.stdout
    assert message in result.stderr


def test_registers_are_those_of_the_compiled_kernels(specs: Path) -> None:
    words = ["explain", "halved", "--size", "M=8", "K=64", "--registers", "--specs", str(specs), "--json", "--device"]
    code = (
        "import sys; from fusec.cli import application\n"
        "for chip in ('h200', 'a100'):\n"
        "    words = [*sys.argv[1:], chip]\n"
        "    application(words)(words, standalone_mode=False)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", code, *words]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    told, left = [], result.stdout.strip()
    while left:
        plan, end = json.JSONDecoder().raw_decode(left)
        told.append(plan)
        left = left[end:].strip()
    assert len(told) == 2
    for plan in told:
        for launch in (launch for step in plan["steps"] for launch in step["launches"]):
            assert 8 < launch["resources"]["registers"] < 128
            assert launch["occupancy"]["programs"] >= 1
