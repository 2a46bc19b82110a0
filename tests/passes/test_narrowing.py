"""What is meant in f32 is not computed in 16 bits: seen in the PTX of kernels, which is made here without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

import pytest

Seen: TypeAlias = dict[tuple[str, int, bool], dict[str, list[str]]]
"""For operands and result, a chip, and whether values are kept apart: what each form computes in 16 bits."""

FORMS = (
    *("a * b", "a + b", "a - b", "b - a", "a / b", "minimum(a, b)", "a * b + a", "a * b * a", "b * 2.0", "b + 0.5"),
    *("abs(a * b)", "-(a * b)", "(a * b) * 1.0", "maximum(a * b, 0)", "cast(a * b, f32)", "abs(-b) - a"),
    *("maximum(b, 0) * a", "where(a > b, a * b, b + 2.0)", "where(a > b, a, b) * a", "cast(a, bf16) * a"),
)
"""Arithmetic of `a` and `b`: as it stands, with literals, and before and after what conversions are moved through."""

KEPT_APART = ("f16 bf16 f16", "bf16 bf16 f16", "f8e5m2 bf16 f16")
OF_ONE_TYPE = "f16 f16 f16"

CHIPS = ((80, KEPT_APART[0]), *((90, types) for types in KEPT_APART))


def spec(types: str) -> str:
    """An op for every form."""
    a, b, y = types.split()
    header = f"(a: {a}[N], b: {b}[N]) -> y: {y}[N]"
    return "".join(f"op form{place}{header}:\n    y = {form}\n" for place, form in enumerate(FORMS))


@pytest.fixture(scope="module")
def seen() -> Seen:
    wanted = [(types, chip, True) for chip, types in CHIPS]
    wanted += [(OF_ONE_TYPE, 90, True), (KEPT_APART[0], 90, False)]
    jobs = [{"spec": spec(types), "capability": chip, "apart": apart} for types, chip, apart in wanted]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    worker = [sys.executable, str(Path(__file__).with_name("ptx_worker.py"))]
    answer = subprocess.run(
        worker, input=json.dumps(jobs), stdout=subprocess.PIPE, text=True, env=environment, check=True
    )
    found = json.loads(answer.stdout)
    return {key: dict(zip(FORMS, each, strict=True)) for key, each in zip(wanted, found, strict=True)}


@pytest.mark.parametrize(("chip", "types"), CHIPS)
def test_what_is_of_two_types_is_computed_in_f32(seen: Seen, types: str, chip: int) -> None:
    found = seen[types, chip, True]
    if types.split()[0] == types.split()[1]:
        # One of two operands of one type is chosen in that type.
        assert all(each.startswith("min.") for each in found.pop("minimum(a, b)"))
    assert {form: each for form, each in found.items() if each} == {}


def test_what_is_of_one_type_may_be_computed_in_it(seen: Seen) -> None:
    """Rounded once from f32 it is the same number, so that is left to LLVM."""
    found = seen[OF_ONE_TYPE, 90, True]
    assert found["a * b"]
    assert not found["a * b * a"]


@pytest.mark.parametrize("form", ["a * b", "a + b", "a - b", "b * 2.0", "abs(a * b)", "cast(a, bf16) * a"])
def test_llvm_computes_in_f16_what_is_not_kept_apart(seen: Seen, form: str) -> None:
    assert seen[KEPT_APART[0], 90, False][form], "nothing is narrowed any more: is `kept_apart` still needed?"
