"""Packages of chosen ops: they run where there is no fusec, and beside one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fusec.cli import application
from fusec.commands.exits import Exit
from fusec.commands.package import homes
from fusec.driver.shipped import shipped_ops
from fusec.driver.vendoring import VENDORED, vendored

ROOT = Path(__file__).resolve().parents[2]

ALONE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "fusec":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
"""

CALL = """
import torch
import {name}
device = "cuda" if torch.cuda.is_available() else "cpu"
x, gain = torch.randn(3, 64, device=device), torch.rand(64, device=device)
y = {name}.rmsnorm(x, gain, 1e-6)
torch.testing.assert_close(y, x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * gain)
weight = torch.randn(8, 64, device=device)
torch.testing.assert_close({name}.linear(x, weight), x @ weight.T, rtol=1e-4, atol=1e-4)
"""


def package(*arguments: str | Path) -> str:
    words = ["package", *map(str, arguments)]
    result = CliRunner().invoke(application(words), words)
    assert result.exit_code == 0, result.output
    return result.stdout


def python(code: str, *folders: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def installed(wheel: Path, target: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run(pip, check=True, capture_output=True)
    return target


@pytest.mark.parametrize("form", ["folder", "wheel"])
def test_it_runs_without_fusec_and_beside_it(form: str, tmp_path: Path) -> None:
    package("rmsnorm", "linear", "--name", "theirs", "--to", form, "--out", tmp_path)
    place = tmp_path if form == "folder" else installed(next(tmp_path.glob("*.whl")), tmp_path / "site")
    python(ALONE + CALL.format(name="theirs"), place)
    beside = "from fusec.ops import rmsnorm as own\n" + CALL.format(name="theirs") + "assert (own(x, gain) == y).all()"
    python(beside, place, ROOT)


def test_two_of_them_keep_their_operators_apart(tmp_path: Path) -> None:
    for name in ("one", "two"):
        package("rmsnorm", "linear", "--name", name, "--to", "folder", "--out", tmp_path)
    compiled = "torch.compile(lambda: {name}.rmsnorm(x, gain), fullgraph=True, backend='eager')()\n"
    calls = [CALL.format(name=name) + compiled.format(name=name) for name in ("one", "two")]
    python(ALONE + "".join(calls) + "assert sum(n.startswith(('one_', 'two_')) for n in dir(torch.ops)) == 2", tmp_path)


def test_a_wheel_is_installed_as_it_says(tmp_path: Path) -> None:
    package("rmsnorm", "--name", "theirs", "--out", tmp_path / "a", "--version", "2.1")
    package("rmsnorm", "--name", "theirs", "--out", tmp_path / "b", "--version", "2.1")
    (one,), (two,) = ((tmp_path / folder).glob("*.whl") for folder in "ab")
    assert one.name == "theirs-2.1-py3-none-any.whl"
    assert one.read_bytes() == two.read_bytes()
    target = installed(one, tmp_path / "site")
    with zipfile.ZipFile(one) as archive:
        listed = archive.read("theirs-2.1.dist-info/RECORD").decode().splitlines()
        assert {line.split(",")[0] for line in listed} == set(archive.namelist())
    assert (target / "theirs" / VENDORED / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_layout_of_kernels(tmp_path: Path) -> None:
    package("rmsnorm", "--name", "their_ops", "--to", "hf-kernels", "--out", tmp_path, "--version", "3")
    for backend in ("cuda", "cpu"):
        build = tmp_path / "their_ops" / "build" / f"torch-{backend}"
        metadata = json.loads((build / "metadata.json").read_text())
        assert (metadata["name"], metadata["version"], metadata["backend"]) == ("their-ops", 3, {"type": backend})
        # As `kernels` loads it: a file, under a name that is no folder's.
        load = (
            "import importlib.util, sys, torch\n"
            f"spec = importlib.util.spec_from_file_location({metadata['id']!r}, {str(build / '__init__.py')!r})\n"
            "module = importlib.util.module_from_spec(spec)\n"
            "sys.modules[spec.name] = module\n"
            "spec.loader.exec_module(module)\n"
            "assert module.rmsnorm.__name__ == 'rmsnorm'\n"
        )
        python(ALONE + load)


def test_no_file_asks_for_fusec() -> None:
    contents = vendored("theirs", ["rmsnorm", "linear"], shipped_ops(), homes(shipped_ops()))
    asking = [
        (place, line)
        for place, text in contents.items()
        for line in text.splitlines()
        if line.strip().startswith(("import fusec", "from fusec"))
    ]
    assert asking == []
    assert {place.split("/")[0] for place in contents} == {
        "__init__.py",
        "_fusec",
        "linear.py",
        "py.typed",
        "rmsnorm.py",
        "tuned",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rmsnrm", "--name", "a"), "no op rmsnrm in"),
        (("rmsnorm", "--name", "a-b"), "Python has to be able to import it"),
        (("rmsnorm", "--name", "a", "--from", "nowhere"), "no package that fusec has built"),
        (("rmsnorm", "--name", "a", "--to", "hf-kernels", "--version", "1.2"), "whole numbers"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    words = ["package", *arguments, "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(application(words), words)
    assert result.exit_code == Exit.USAGE
    assert message in result.stderr
    assert not (tmp_path / "out").exists()
