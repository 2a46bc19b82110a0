"""The tour of the README shows what the compiler really says and writes."""

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
from fusec.testing.random_run import imported

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")

BLOCKS = [text for _, text in re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)]

SPEC = next(block for block in BLOCKS if block.startswith("op scaled_rmsnorm("))


def block(start: str) -> str:
    """The one block of the README that begins so."""
    (found,) = (text for text in BLOCKS if text.lstrip().startswith(start))
    return found


def test_the_mistake_is_told_as_shown() -> None:
    with pytest.raises(SpecError) as caught:
        compile_source(Source("my_specs/scaled_rmsnorm.fuse", SPEC), None)
    assert block("$ fusec check") == f"$ fusec check my_specs\n{caught.value}\n"


def test_the_kernel_and_the_plans_are_those_of_the_corrected_spec() -> None:
    corrected = re.sub(r"\bscal\b", "scale", SPEC)
    (compiled,) = compile_source(Source("scaled_rmsnorm.fuse", corrected), None)
    assert block('"""One program') in compiled.text
    table = block("$ fusec build my_specs").splitlines()
    shown = [
        line.split()[:2] for line in table if line.startswith("  ") and line.split()[0].replace("_", "").isalpha()
    ][1:]
    plans = [plan for group in compiled.program.groups for plan in group.all_plans()]
    assert shown == [[plan.name, str(len(plan.stages))] for plan in plans]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the README shows what the interpreter computes")
def test_the_errors_are_those_that_come_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # the README has the whole table
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fusec.commands.build.default_folder", lambda: tmp_path / "store")
    folder = tmp_path / "my_specs"
    folder.mkdir()
    (folder / "scaled_rmsnorm.fuse").write_text(re.sub(r"\bscal\b", "scale", SPEC))
    command, *wanted = block("$ fusec build my_specs").splitlines()
    words = [*command.split()[2:], "--target", "none"]
    *table, verified, changes = CliRunner().invoke(application(words), words).stdout.splitlines()
    assert [verified, changes] == wanted[-2:]
    assert list(map(without_the_gate, table)) == list(map(without_the_gate, wanted[:-3]))


def without_the_gate(line: str) -> str:
    """A line of the table without registers, spills and memory, which are of a chip and a version of Triton."""
    return " ".join(re.sub(r"(\s+(\d+|-)){3}(?=\s+[\d.]+$)", "", line).split())


def test_the_reference_is_where_the_readme_says() -> None:
    (compiled,) = compile_source(Source("scaled_rmsnorm.fuse", re.sub(r"\bscal\b", "scale", SPEC)), None)
    assert "from my_ops.scaled_rmsnorm import reference_scaled_rmsnorm" in README
    assert "\ndef reference_scaled_rmsnorm(" in compiled.text


def test_the_plan_of_a_call_is_told_as_shown(tmp_path: Path) -> None:
    (compiled,) = compile_source(Source("scaled_rmsnorm.fuse", re.sub(r"\bscal\b", "scale", SPEC)), None)
    module = imported(compiled.text, tmp_path)
    made: dict[str, Any] = {"torch": torch, "scaled_rmsnorm": module.scaled_rmsnorm}
    exec(block("x, weight, scale = ").replace("print(", "shown = repr("), made)
    assert without_times(made["shown"] + "\n") == without_times(block("scaled_rmsnorm on "))


def without_times(text: str) -> str:
    """A text whose predicted times are left out: they change with the time model."""
    return re.sub(r"[\d.]+ us", "# us", text)
