"""What an install brings and leaves, tried as a user would: fresh environments, an empty folder, no repository."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fusec import __version__
from fusec.extra import PACKAGES

ROOT = Path(__file__).resolve().parents[2]

CONSTRAINTS = os.environ.get("FUSEC_TEST_INSTALL", "")

pytestmark = [
    pytest.mark.skipif(not CONSTRAINTS, reason="downloads torch several times: make test-install"),
    pytest.mark.timeout(1200),
]

CALL = """
import torch
from fusec.ops import rmsnorm
x, weight = torch.randn(3, 40), torch.rand(40)
expected = x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weight
torch.testing.assert_close(rmsnorm(x, weight, 1e-6), expected)
"""

SPEC = """op doubled(x: T[..., N]) -> y: T[..., N]
where T in {f16, f32}:
    \"\"\"Twice x.\"\"\"
    y = x * 2
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment and an empty folder to run its commands in."""

    folder: Path
    here: Path

    def run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        variables |= {"TRITON_INTERPRET": "1", "XDG_CACHE_HOME": str(self.here.parent / "cache")}
        command = [str(self.folder / "bin" / program), *map(str, arguments)]
        return subprocess.run(command, cwd=self.here, env=variables, capture_output=True, text=True, check=False)

    def python(self, code: str) -> str:
        result = self.run("python", "-c", code)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def pip(self, *arguments: str | Path) -> None:
        result = self.run("python", "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)
        assert result.returncode == 0, result.stderr

    @property
    def packages(self) -> Path:
        return next((self.folder / "lib").glob("python3*")) / "site-packages"


def environment(folder: Path, install: Sequence[str | Path]) -> Environment:
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    (folder / "empty").mkdir()
    fresh = Environment(folder / "venv", folder / "empty")
    fresh.pip("install", "--constraint", CONSTRAINTS, *install)
    return fresh


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the sdist: what is not in the sdist cannot be in it."""
    folder = tmp_path_factory.mktemp("built")
    tools = environment(folder, ["build"])
    result = tools.run("python", "-m", "build", "--outdir", folder / "dist", ROOT)
    assert result.returncode == 0, result.stderr
    assert [path.name for path in (folder / "dist").glob("*.tar.gz")] == [f"fusec-{__version__}.tar.gz"]
    (path,) = (folder / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def ops_alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """`pip install fusec`, and at the end its removal, which leaves nothing."""
    fresh = environment(tmp_path_factory.mktemp("ops"), [wheel])
    yield fresh
    fresh.pip("uninstall", "--yes", "fusec")
    assert [path.name for path in fresh.packages.iterdir() if "fusec" in path.name] == []
    assert not (fresh.folder / "bin" / "fusec").exists()


@pytest.fixture(scope="module")
def with_compiler(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """`pip install fusec[build]`."""
    return environment(tmp_path_factory.mktemp("build"), [f"{wheel}[build]"])


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """`pip install -e .`"""
    return environment(tmp_path_factory.mktemp("editable"), ["--editable", ROOT])


def test_a_wheel_brings_ops_that_run(ops_alone: Environment) -> None:
    ops_alone.python(CALL)


def test_every_op_is_there_with_its_tuned_table(ops_alone: Environment) -> None:
    listed = ops_alone.python("import fusec.ops; print(*[n for n in fusec.ops.__all__ if getattr(fusec.ops, n)])")
    assert set(listed.split()) == set(_exports())
    tables = {path.name for path in (ROOT / "generated" / "tuned").iterdir() if path.suffix == ".toml"}
    assert tables
    assert {path.name for path in (ops_alone.packages / "fusec" / "ops" / "tuned").iterdir()} >= tables


def test_a_wheel_is_one_package_and_needs_no_compiler(ops_alone: Environment) -> None:
    installed = {path.name.lower() for path in ops_alone.packages.iterdir()}
    assert not installed & {"generated", "tests", "benchmarks", "specs", "hatch_build.py"}
    assert not installed & (PACKAGES - {"jinja2", "sympy", "filelock"})  # torch needs these three
    assert not (ops_alone.packages / "fusec" / "ops.py").exists()


@pytest.mark.parametrize("command", [("build", "specs"), ("--help",), ("cache",)])
def test_the_command_says_how_to_get_the_compiler(ops_alone: Environment, command: tuple[str, ...]) -> None:
    result = ops_alone.run("fusec", *command)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "pip install 'fusec[build]'" in line


def test_so_does_loading_a_spec(ops_alone: Environment) -> None:
    result = ops_alone.run("python", "-c", "import fusec; fusec.load('a.fuse')")
    assert result.returncode == 1
    assert "pip install 'fusec[build]'" in result.stderr.splitlines()[-1]


def test_the_compiler_builds_and_verifies(with_compiler: Environment) -> None:
    (with_compiler.here / "doubled.fuse").write_text(SPEC)
    built = with_compiler.run("fusec", "build", "doubled.fuse", "--out", "mine", "--verify", "--target", "none")
    assert built.returncode == 0, built.stderr
    with_compiler.python("import torch; from mine import doubled; assert doubled(torch.ones(3, 4)).sum() == 24")
    with_compiler.python(CALL)
    for command in (("cache",), ("cache", "--clear")):
        assert with_compiler.run("fusec", *command).returncode == 0
    assert "removed" not in with_compiler.run("fusec", "cache").stdout


def test_an_editable_install_exposes_two_packages(editable: Environment) -> None:
    editable.python(CALL)
    assert editable.python("import fusec.ops, generated; print(fusec.ops is generated)") == "True"
    for name in ("tests", "benchmarks", "specs", "docs", "hatch_build"):
        assert editable.python(f"import importlib.util; print(importlib.util.find_spec('{name}'))") == "None"


def _exports() -> list[str]:
    code = "import generated; print(*generated.__all__)"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
