"""Faults planted in generated kernels are noticed: whatever an op of each family can have wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from catalogue import Op, all_ops
from compiled import imported
from hypothesis import HealthCheck, Phase, given, settings

from fusec.forcing import CHIPS, on_chip
from fusec.interpreter import interpreting
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare
from fusec.testing.mutate import MUTATIONS, Mutant, mutants
from fusec.testing.strategies import Budget, cases

OPS = {op.name: op for op in all_ops()}

FAMILIES = ("rmsnorm", "softmax", "fused_rmsnorm_rope", "rmsnorm_quantize", "quantize_fp8")
"""Ops whose kernels hold everything that kernels of specs/ hold."""

HARMLESS = {
    ("softmax", "NaN lost in a reduction"): "a NaN reaches the sum, and so every element, anyway",
    ("rmsnorm_quantize", "NaN lost in a reduction"): "the norm of a row with a NaN is NaN everywhere",
}
"""Kinds of faults that change nothing in an op, and why."""

ELSEWHERE = {"offset in 32 bits": "test_wide_offsets.py"}
"""Kinds that need tensors larger than these tests have."""

pytestmark = pytest.mark.skipif(not interpreting(), reason="a fault that leaves all memory takes a GPU's context down")

search = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def source_of(op: Op) -> str:
    assert op.module.__file__ is not None
    return Path(op.module.__file__).read_text()


def planted(op: Op, *kinds: str) -> Iterator[tuple[str, Mutant]]:
    """The faults of some kinds, or all, in the kernels of an op, each with the shape of plan its kernel belongs to."""
    kernels = [(found.start(), found[1]) for found in re.finditer(r"^def (_\w+)\(", source_of(op), re.MULTILINE)]
    lines = [(source_of(op)[:start].count("\n") + 1, name) for start, name in kernels]
    own = {kernel.name for kernel in op.program.kernels}
    for mutant in mutants(source_of(op), kinds):
        name = [name for line, name in lines if line <= mutant.line][-1]
        if name in own:
            part = re.match(rf"_{op.name}_(rows|resident|row_loop)", name)
            yield part[1] if part else "split_rows", mutant


def is_caught(op: Op, shape: str, source: str, folder: Path, device: torch.device) -> bool:
    module = imported(source, folder)

    @search
    @given(cases(op.program.graph, Budget(elements=2048)))
    def passes(case: Case) -> None:
        with on_chip(module, CHIPS[shape]):
            run_and_compare(getattr(module, op.name), op.program.forms, case, device=device)

    try:
        passes()
    except AssertionError:
        return True
    return False


KINDS = [mutation.name for mutation in MUTATIONS if mutation.name not in ELSEWHERE]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_planted_fault_is_caught(name: str, kind: str, tmp_path: Path, device: torch.device) -> None:
    """Not every place of a fault matters (nobody may use a filler behind the end), but some place of each kind does."""
    op = OPS[name]
    places = list(planted(op, kind))
    if not places or (name, kind) in HARMLESS:
        pytest.skip(HARMLESS.get((name, kind), "no kernel of this op has a place for it"))
    assert any(is_caught(op, shape, mutant.source, tmp_path, device) for shape, mutant in places)


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_is_caught_where_nothing_is_planted(name: str, tmp_path: Path, device: torch.device) -> None:
    assert not is_caught(OPS[name], "rows", source_of(OPS[name]), tmp_path, device)


@pytest.mark.parametrize("name", FAMILIES)
def test_there_are_places_for_ten_kinds(name: str) -> None:
    assert len({mutant.mutation for _, mutant in planted(OPS[name])}) >= 10
