"""Sums of thousands of products: every plan is within the bound, and none with fewer digits or products is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import torch
from catalogue import Op
from compiled import compiled, imported
from torch import Tensor

from fusec.forcing import CHIPS, on_chip
from fusec.interpreter import interpreting
from fusec.runtime import multiplier
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare
from fusec.testing.exercise import Effort, Record, exercise, kernels

SPEC = """
op f(x: T[M, K], w: T[N, K]) -> y: T[M, N]
where T in {f16, bf16, f32}:
    y = dot(x, w, over=K)
"""

PLANS: dict[str, tuple[str, int, str]] = {
    "resident": ("resident", 1, "gemv"),
    "streamed": ("row_loop", 1, "gemv"),
    "product": ("rows", 8, "gemm"),
    "swapped": ("swap_ab", 8, "gemm"),
    "dealt": ("swap_ab", 8, "combine"),
    "library": ("library", 8, ""),
    "persistent": ("tma", 8, "tma"),
}
"""For each plan the chip whose rules take it, how many rows it is for, and one of its kernels."""


AT_4096 = ("resident", "library", "persistent", "swapped")
"""Plans in which poor sums of so many products take no seconds."""


RESULTS = 64
"""Of a call: of 8, sums in f16 of which threads have few to add may all be the nearest numbers of f16."""


@pytest.fixture(scope="module")
def op(tmp_path_factory: pytest.TempPathFactory) -> Op:
    (only,) = compiled(SPEC, tmp_path_factory.mktemp("long"))
    return only


@dataclass(frozen=True)
class Fault:
    """What a kernel does with the operands and with each sum so far, in Triton and in PyTorch, and for which dtypes."""

    operand: str
    total: str
    torch_operand: Callable[[Tensor], Tensor]
    torch_total: Callable[[Tensor], Tensor]
    dtypes: tuple[str, ...]


def same(value: Tensor) -> Tensor:
    return value


def in_tf32(value: Tensor) -> Tensor:
    return ((value.float().view(torch.int32) + 2**12) & -(2**13)).view(torch.float32)


def cut_off(value: Tensor) -> Tensor:
    return (value.float().view(torch.int32) & -(2**13)).view(torch.float32)


BITS = "({}).to(tl.int32, bitcast=True)"
FAULTS = {
    "operands rounded to tf32": Fault(
        f"(({BITS} + 4096) & -8192).to(tl.float32, bitcast=True)", "{}", in_tf32, same, ("f32",)
    ),
    "operands cut off to tf32": Fault(f"({BITS} & -8192).to(tl.float32, bitcast=True)", "{}", cut_off, same, ("f32",)),
    "sums in bf16": Fault(
        "{}", "({}).to(tl.bfloat16).to(tl.float32)", same, lambda total: total.bfloat16().to(total.dtype), ("bf16",)
    ),
    "sums in f16": Fault(
        "{}", "({}).to(tl.float16).to(tl.float32)", same, lambda total: total.half().to(total.dtype), ("f16",)
    ),
}


def planted(text: str, fault: Fault) -> str:
    """The generated file, with a fault wherever a dot multiplies and adds up."""

    def tile(found: re.Match[str]) -> str:
        total, a, b, rest = found.groups()
        dot = f"tl.dot({fault.operand.format(a)}, {fault.operand.format(b)}, {total}, {rest})"
        return f"{total} = {fault.total.format(dot)}"

    def threads(found: re.Match[str]) -> str:
        total, a, b = found.groups()
        return f"{total} = {fault.total.format(f'{total} + {fault.operand.format(a)} * {fault.operand.format(b)}')}"

    def row(found: re.Match[str]) -> str:
        terms = re.sub(r"(\w+) \* (\w+)", lambda f: " * ".join(map(fault.operand.format, f.groups())), found[1])
        return f"tl.reduce({terms}, 0, _add)"

    for pattern, change in (
        (r"(\w+) = tl\.dot\((\S+), (\S+), \1, (.*)\)", tile),
        (r"(\w+) \+= (\w+) \* (\w+)", threads),
        (r"tl\.sum\((\w+ \* \w+|\w+), 0\)", row),
    ):
        text, count = re.subn(pattern, change, text)
        assert count
    adding = f"@triton.jit\ndef _add(a, b):\n    return {fault.total.format('a + b')}\n\n\n"
    return text.replace("@triton.jit", f"{adding}@triton.jit", 1)


def without_rest(text: str) -> str:
    """The generated file, in which the last products are left out that fill no 16."""
    text, masks = re.subn(r"k_mask = (.*)$", r"k_mask = (\1) & (k < K // 16 * 16)", text, flags=re.MULTILINE)
    text, loops = re.subn(r"in range\(0, K, BLOCK_K\)", "in range(0, K - BLOCK_K + 1, BLOCK_K)", text)
    assert masks
    assert loops
    return text


def in_library(fault: Fault | None, multiply: Callable[..., Tensor], a: Tensor, b: Tensor, out: Tensor) -> None:
    """The product as the library would make it with a fault; if it is none, without the last products."""
    if fault is None:
        rest = a.shape[-1] // 16 * 16
        a, b = a[..., :rest], b[..., :rest, :]
        fault = Fault("", "", same, same, ())
    total = torch.zeros(out.shape, dtype=torch.float64)
    for first in range(0, a.shape[-1], 64):
        part = (slice(None), slice(first, first + 64))
        terms = multiply(fault.torch_operand(a[part]).double(), fault.torch_operand(b.mT[part]).double().mT)
        total = fault.torch_total(total + terms)
    out.copy_(total)


def calls(plan: str, length: int, dtypes: tuple[str, ...]) -> list[Case]:
    _, rows, _ = PLANS[plan]
    return [
        Case(
            op="f",
            seed=7,
            extents={"M": rows, "N": RESULTS // rows, "K": length + (24 if plan == "persistent" else 3)},
            dtypes={"T": dtype},
            values={"x": "positive", "w": "positive"} if positive else {},
        )
        for dtype in dtypes
        for positive in (True, False)
    ]


def run(op: Op, plan: str, case: Case, device: torch.device) -> float:
    chip, _, kernel = PLANS[plan]
    # What is shared by several programs otherwise has a program of its own; large steps are fewer.
    own = replace(CHIPS[chip], **({"few_tiles": 0} if plan == "swapped" else {"chunk": 256}))
    with on_chip(op.module, own):
        found = run_and_compare(op.call, op.program.forms, case, device=device)
        ran = kernels(next(each for each in vars(op.module).values() if getattr(each, "name", "") == "f"))
    assert any(kernel in name for name in ran) or not (kernel or ran)
    return found.ratio


@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_is_within_the_bound_at_4096(op: Op, plan: str, device: torch.device) -> None:
    for case in calls(plan, 4096, ("f32",) if plan != "persistent" else ("bf16",)):
        assert run(op, plan, case, device) <= 1


def caught(op: Op, plan: str, dtypes: tuple[str, ...], length: int, device: torch.device) -> list[bool]:
    """For every call of a plan, whether what it gives back is outside of the bound."""
    found = []
    for case in calls(plan, length, dtypes):
        try:
            run(op, plan, case, device)
        except AssertionError as error:
            found.append("outside of" in str(error))
        else:
            found.append(False)
    return found


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", FAULTS)
def test_fewer_digits_are_outside(op: Op, name: str, plan: str, tmp_path: Path, device: torch.device) -> None:
    """In every plan, for positive numbers and for such that cancel; at 4096, where that does not take seconds."""
    fault = FAULTS[name]
    if plan == "persistent" and "f32" in fault.dtypes:
        pytest.skip("TMA loads operands of 16 bits alone")
    length = 4096 if plan in AT_4096 else 1024
    if plan == "library":
        if not interpreting():
            pytest.skip("the library is PyTorch's")
        with mock.patch.object(multiplier, "_multiply_exactly", partial(in_library, fault)):
            found = caught(op, plan, fault.dtypes, length, device)
    else:
        assert op.module.__file__ is not None
        module = imported(planted(Path(op.module.__file__).read_text(), fault), tmp_path)
        found = caught(Op(op.program, module), plan, fault.dtypes, length, device)
    assert all(found)


@pytest.mark.parametrize("plan", PLANS)
def test_a_rest_that_is_left_out_is_missed(op: Op, plan: str, tmp_path: Path, device: torch.device) -> None:
    if plan == "library":
        if not interpreting():
            pytest.skip("the library is PyTorch's")
        with mock.patch.object(multiplier, "_multiply_exactly", partial(in_library, None)):
            found = caught(op, plan, ("f16" if plan == "persistent" else "f32",), 1024, device)
    else:
        assert op.module.__file__ is not None
        module = imported(without_rest(Path(op.module.__file__).read_text()), tmp_path)
        found = caught(Op(op.program, module), plan, ("f16", "f32")[plan != "persistent" :], 1024, device)
    assert all(found)


def test_verification_runs_every_kernel_with_long_sums(op: Op, device: torch.device) -> None:
    record = Record()
    exercise(op.module, op.program, Effort(own=0, each=0, long=(1024,)), device, record)
    assert record.calls.keys() == {kernel.name for kernel in op.program.kernels}
    assert max(record.worst.values()) <= 1


@pytest.mark.parametrize("name", FAULTS)
def test_verification_sees_fewer_digits(op: Op, name: str, tmp_path: Path, device: torch.device) -> None:
    assert op.module.__file__ is not None
    module = imported(planted(Path(op.module.__file__).read_text(), FAULTS[name]), tmp_path)
    with pytest.raises(AssertionError, match="outside of"):
        exercise(module, op.program, Effort(own=0, each=0, long=(1024,)), device, Record())
