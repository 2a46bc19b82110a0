"""`fusec verify`, as a user runs it: the function is called in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import Fusec

from fusec.commands import verify, verify_worker
from fusec.commands.exits import Exit

KERNELS = """
import os
import torch

def twice(x):
    return x + x

def wrong(x):
    return x + x + 1e-6

def dies(x):
    os._exit(9)
"""

SPEC = """op twice(x: f32[N]) -> y: f32[N]:
    \"\"\"Twice x.\"\"\"
    y = x * 2
"""


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    (tmp_path / "twice.fuse").write_text(SPEC)
    path = tmp_path / "kernels.py"
    path.write_text(KERNELS)
    return path


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker does is done in this process: most of its time would go into loading PyTorch again."""
    monkeypatch.setattr(verify, "run_jobs", lambda _, jobs, *__: [verify_worker.do(job, Path()) for job in jobs])
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("kernels", "broken", "other"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))


def asked(kernels: Path) -> tuple[str | Path, ...]:
    return "--as", "twice", "--spec", kernels.parent / "twice.fuse", "--calls", "3"


def test_right_and_dead(fusec: Fusec, kernels: Path) -> None:
    right = fusec("verify", f"{kernels}::twice", *asked(kernels))
    assert (right.exit_code, right.stderr) == (0, "")
    assert "twice as twice, on " in right.stdout
    dead = fusec("verify", f"{kernels}::dies", *asked(kernels))
    assert dead.exit_code == Exit.FAILED
    assert "died with exit code 9" in dead.stdout


@pytest.mark.usefixtures("here")
def test_wrong(fusec: Fusec, kernels: Path) -> None:
    wrong = fusec("verify", f"{kernels}::wrong", *asked(kernels), "--json")
    assert wrong.exit_code == Exit.FAILED
    assert json.loads(wrong.stdout)["report"]["findings"][0]["wrong"] == 3


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("kernels.py::twise", ("--as", "twice"), "has no function twise; did you mean twice?"),
        ("kernels.py", ("--as", "twice"), "name a function as FILE.py::NAME"),
        ("other.py::twice", ("--as", "twice"), "no file"),
        ("kernels.py::twice", ("--as", "twise"), "did you mean twice?"),
        ("broken.py::twice", ("--as", "twice"), "broken.py cannot be imported: ModuleNotFoundError"),
        ("kernels.py::twice", ("--as", "twice", "--dtype", "T"), "write VARIABLE=DTYPE"),
    ],
)
def test_wrong_usage(fusec: Fusec, kernels: Path, function: str, arguments: tuple[str, ...], message: str) -> None:
    (kernels.parent / "broken.py").write_text("import nothing_of_that_name\n")
    result = fusec("verify", kernels.parent / function, *arguments, "--spec", kernels.parent / "twice.fuse")
    assert result.exit_code == Exit.USAGE
    assert message in result.stderr
