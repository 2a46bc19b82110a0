"""The tutorial shows what the compiler really says and writes, and its Python prints what it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from fusec.cli import application
from fusec.diagnostics import Source, SpecError
from fusec.driver.compile import compile_source

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")

BLOCKS = [text for _, text in re.findall(r"```(\w*)\n(.*?)```", TUTORIAL, re.DOTALL)]

SPEC = next(block for block in BLOCKS if block.startswith("op scaled_rmsnorm("))
CORRECTED = re.sub(r"\bscal\b", "scale", SPEC)
FP8 = next(block for block in BLOCKS if block.startswith("op scaled_rmsnorm_fp8("))


def block(start: str) -> str:
    """The one block of the tutorial that begins so."""
    (found,) = (text for text in BLOCKS if text.lstrip().startswith(start))
    return found


def test_the_mistake_is_told_as_shown() -> None:
    with pytest.raises(SpecError) as caught:
        compile_source(Source("my_specs/scaled_rmsnorm.fuse", SPEC), None)
    assert block("$ fusec check") == f"$ fusec check my_specs\n{caught.value}\n"


def test_the_kernel_and_the_plans_are_those_of_the_corrected_spec() -> None:
    corrected = CORRECTED
    (compiled,) = compile_source(Source("scaled_rmsnorm.fuse", corrected), None)
    assert block('"""One program') in compiled.text
    table = block("$ fusec build my_specs").splitlines()
    shown = [
        line.split()[:2] for line in table if line.startswith("  ") and line.split()[0].replace("_", "").isalpha()
    ][1:]
    plans = [plan for group in compiled.program.groups for plan in group.all_plans()]
    assert shown == [[plan.name, str(len(plan.stages))] for plan in plans]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the tutorial shows what the interpreter computes")
def test_what_is_built_and_packed_is_told_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # the tutorial has the whole table
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fusec.commands.build.default_folder", lambda: tmp_path / "store")
    folder = tmp_path / "my_specs"
    folder.mkdir()
    (folder / "scaled_rmsnorm.fuse").write_text(CORRECTED)
    command, *wanted = block("$ fusec build my_specs").splitlines()
    words = [*command.split()[2:], "--target", "none"]
    *table, verified, changes = CliRunner().invoke(application(words), words).stdout.splitlines()
    assert [verified, changes] == wanted[-2:]
    assert list(map(without_the_gate, table)) == list(map(without_the_gate, wanted[:-3]))
    command, said = block("$ fusec package").splitlines()
    words = command.split()[2:]
    assert CliRunner().invoke(application(words), words).stdout == f"{said}\n"
    assert (tmp_path / said.partition(":")[0]).is_file()


def without_the_gate(line: str) -> str:
    """A line of the table without registers, spills and memory, which are of a chip and a version of Triton."""
    return " ".join(re.sub(r"(\s+(\d+|-)){3}(?=\s+[\d.]+$)", "", line).split())


def test_reductions_are_explained_as_shown(tmp_path: Path) -> None:
    (tmp_path / "scaled_rmsnorm_fp8.fuse").write_text(FP8)
    command, *wanted = block("$ fusec explain").splitlines()
    words = [*command.split()[2:-1], str(tmp_path)]
    told = CliRunner().invoke(application(words), words).stdout.splitlines()
    assert told[: len(wanted)] == wanted


@pytest.mark.skipif(torch.cuda.is_available(), reason="the tutorial has no GPU")
def test_python_prints_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (compiled,) = compile_source(Source("scaled_rmsnorm.fuse", CORRECTED), None)
    folder = tmp_path / "my_ops"
    folder.mkdir()
    (folder / "scaled_rmsnorm.py").write_text(compiled.text)
    (folder / "__init__.py").write_text("from my_ops.scaled_rmsnorm import scaled_rmsnorm\n")
    monkeypatch.syspath_prepend(tmp_path)
    said: list[str] = []
    names: dict[str, Any] = {"print": lambda *values: said.append(" ".join(map(str, values)))}
    for code, _, shown in re.findall(r"```python\n(\S.*?)```\n\n```(text)?\n(.*?)```", TUTORIAL, re.DOTALL):
        said.clear()
        exec(code, names)
        assert without_times("\n".join(said) + "\n") == without_times(shown)


def without_times(text: str) -> str:
    """A text whose predicted times are left out: they change with the time model."""
    return re.sub(r"[\d.]+ us", "# us", text)
