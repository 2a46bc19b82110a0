"""Every planted fault is caught, wherever in the handwritten ops it is planted."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from specimens import GRAPHS

from fusec.interpreter import interpreting
from fusec.testing.buffers import reserved, reserved_allocations
from fusec.testing.cases import Case
from fusec.testing.compare import ResultError, run_and_compare
from fusec.testing.memory import MemoryFaultError
from fusec.testing.mutate import MUTATIONS, Mutant, mutants
from fusec.testing.strategies import Budget, cases
from fusec.testing.watching import watched

SOURCE = Path(__file__).with_name("handwritten_ops.py").read_text()

HARMLESS = {
    ("wrong filler behind the end", "softened"): "what is behind the end becomes -inf later",
    ("NaN lost in a reduction", "softened"): "a NaN reaches the sum, and so every element, anyway",
}
"""Faults that do not change what the kernel means."""

UNSEEN = () if interpreting() else ("mask dropped from a load",)
"""Faults that only the interpreter sees: on a GPU nobody notices what is read and not used."""

search = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def load(source: str, folder: Path) -> ModuleType:
    """The module `source`, from a file: Triton reads the text of its kernels again."""
    path = folder / "planted.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def op_at(line: int) -> str:
    """The op whose kernel the line is in."""
    ends = [number for number, text in enumerate(SOURCE.splitlines(), 1) if text.startswith("def softened_kernel")]
    return "softened" if line > ends[0] else "turned_norm"


def caught(module: ModuleType, name: str, device: torch.device) -> bool:
    @search
    @given(cases(GRAPHS[name], Budget(rows=4)))
    def passes(case: Case) -> None:
        run_and_compare(getattr(module, name), (GRAPHS[name],), case, device=device)

    try:
        passes()
    except ResultError:
        return True
    return False


def planted(name: str) -> list[Mutant]:
    found = list(mutants(SOURCE, (name,)))
    assert found, f"no place for {name!r}: the handwritten ops must offer one"
    harmful = [mutant for mutant in found if (name, op_at(mutant.line)) not in HARMLESS]
    assert harmful, f"{name!r} is harmless wherever the handwritten ops offer a place for it"
    return harmful


@pytest.mark.parametrize(
    "name", [mutation.name for mutation in MUTATIONS if mutation.name not in ("offset in 32 bits", *UNSEEN)]
)
def test_planted_faults_are_caught(name: str, tmp_path: Path, device: torch.device) -> None:
    for mutant in planted(name):
        where = f"{name}, line {mutant.line}: {SOURCE.splitlines()[mutant.line - 1].strip()}"
        assert caught(load(mutant.source, tmp_path), op_at(mutant.line), device), where


@pytest.mark.skipif(not interpreting(), reason="needs tensors larger than the memory")
@pytest.mark.parametrize("faulty", [False, True])
def test_offsets_in_32_bits_are_caught(faulty: bool, tmp_path: Path) -> None:
    for mutant in planted("offset in 32 bits"):
        module = load(mutant.source if faulty else SOURCE, tmp_path)
        name = op_at(mutant.line)
        x = reserved((5, 4), (2**29, 1), torch.float32)
        arguments = {"x": x} if name == "softened" else {"x": x, **tables()}
        try:
            with reserved_allocations(), watched(arguments):
                getattr(module, name)(**arguments)
        except MemoryFaultError:
            assert faulty
        else:
            assert not faulty


def tables() -> dict[str, torch.Tensor]:
    return {"gain": torch.ones(4), "cos": torch.ones(5, 2), "sin": torch.ones(5, 2)}


def test_a_mutant_differs_in_one_place_and_says_where() -> None:
    source = "import triton\n\n\n@triton.jit\ndef kernel(x, eps):\n    return x / (x + eps) - eps\n"
    wrong_epsilon = list(mutants(source, ("wrong epsilon",)))
    assert [mutant.line for mutant in wrong_epsilon] == [6, 6]
    assert "x / (x + (eps * 4)) - eps\n" in wrong_epsilon[0].source
    assert "x / (x + eps) - (eps * 4)\n" in wrong_epsilon[1].source


def test_only_kernels_are_mutated() -> None:
    assert list(mutants("def launcher(x, eps):\n    return x < eps\n")) == []


def test_there_are_faults_enough() -> None:
    names = [mutation.name for mutation in MUTATIONS]
    assert len(set(names)) == len(names) >= 12
