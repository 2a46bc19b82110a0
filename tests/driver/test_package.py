"""A build leaves the new package or the old one, whatever happens to it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fusec.codegen import package
from fusec.codegen.index import index

OLD = {"alpha": 1, "beta": 1}
NEW = {"alpha": 2, "gamma": 2}


def files(ops: dict[str, int]) -> dict[str, str]:
    """A package whose op NAME returns its number."""
    modules = {f"{name}.py": module_text(name, number) for name, number in ops.items()}
    return {**modules, "__init__.py": index({name: (name,) for name in ops}, "0"), "py.typed": ""}


def module_text(name: str, number: int) -> str:
    return f'# {package.MARK} 0\n__all__ = ["{name}"]\n\n\ndef {name}() -> int:\n    return {number}\n'


def numbers(folder: Path) -> dict[str, int]:
    """What the ops of the package return, asked in a fresh interpreter."""
    code = f"import {folder.name} as p; print({{name: getattr(p, name)() for name in p.__all__}})"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    values = eval(result.stdout, {})
    assert isinstance(values, dict)
    return values


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir()) if path.is_file()}


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.parent.iterdir() if "staging" in path.name]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder that holds the old package."""
    folder = tmp_path / "ops"
    package.write(folder, files(OLD))
    return folder


def test_a_first_build_makes_an_importable_package(tmp_path: Path) -> None:
    changes = package.write(tmp_path / "deep" / "ops", files(OLD))
    assert changes.added == ("__init__.py", "alpha.py", "beta.py", "py.typed")
    assert numbers(tmp_path / "deep" / "ops") == OLD


def test_a_first_build_that_fails_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(os.fsync, 1))
    with pytest.raises(OSError, match="planted") as caught:
        package.write(tmp_path / "ops", files(OLD))
    assert caught.value.filename == "alpha.py"
    assert not (tmp_path / "ops").exists()


def test_the_root_is_no_package() -> None:
    with pytest.raises(package.PackageError, match="/ cannot be a package"):
        package.write(Path("/"), files(OLD))


def test_a_second_build_replaces_adds_and_removes(out: Path) -> None:
    changes = package.write(out, files(NEW))
    assert changes == package.Changes(("gamma.py",), ("__init__.py", "alpha.py"), ("beta.py",))
    assert contents(out) == files(NEW)
    assert numbers(out) == NEW


def test_an_unchanged_file_is_not_touched(out: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert not package.write(out, files(OLD))
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.name in before} == before


def test_files_of_the_user_stay(out: Path) -> None:
    (out / "mine.py").write_text("x = 1\n")
    (out / "notes.txt").write_text("text\n")
    package.write(out, files(NEW))
    assert (out / "mine.py").read_text() == "x = 1\n"
    assert (out / "notes.txt").read_text() == "text\n"


def test_a_file_of_the_user_in_the_way_is_not_overwritten(out: Path) -> None:
    (out / "gamma.py").write_text("x = 1\n")
    before = contents(out)
    with pytest.raises(package.PackageError, match=r"gamma\.py: in the way"):
        package.write(out, files(NEW))
    assert contents(out) == before


def test_a_link_is_a_file_of_the_user(out: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.py"
    target.write_text(f"# {package.MARK}\n")
    (out / "gamma.py").symlink_to(target)
    with pytest.raises(package.PackageError, match="in the way"):
        package.write(out, files(NEW))
    assert target.read_text() == f"# {package.MARK}\n"


def test_an_output_folder_may_be_a_link(out: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(out)
    package.write(tmp_path / "link", files(NEW))
    assert (tmp_path / "link").is_symlink()
    assert numbers(out) == NEW


@pytest.mark.parametrize("call", range(4))
def test_a_failing_move_puts_the_old_package_back(out: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    monkeypatch.setattr(os, "replace", failing(os.replace, call))
    if call == 3:
        monkeypatch.setattr(Path, "unlink", failing(Path.unlink, 0))
    with pytest.raises(OSError, match="planted"):
        package.write(out, files(NEW))
    monkeypatch.undo()
    assert contents(out) == files(OLD)
    assert leftovers(out) == []
    assert numbers(out) == OLD


@pytest.mark.parametrize("call", range(3))
def test_a_full_disk_changes_nothing(out: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    monkeypatch.setattr(os, "fsync", failing(os.fsync, call))
    with pytest.raises(OSError, match="planted"):
        package.write(out, files(NEW))
    monkeypatch.undo()
    assert contents(out) == files(OLD)
    assert leftovers(out) == []


def failing(real: Callable[..., object], after: int) -> Callable[..., object]:
    """`real`, but call number `after` finds no space left; the calls that clean up after it work again."""
    calls = iter(range(1000))

    def call(*args: object, **options: object) -> object:
        if next(calls) == after:
            raise OSError(errno.ENOSPC, "planted")
        return real(*args, **options)

    return call


KILLED = """
import os, pathlib, signal, sys
sys.path.insert(0, {tests!r})
from test_package import NEW, files
from fusec.codegen import package
real, left = os.{function}, {after}

def killing(*args):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return real(*args)

os.{function} = killing
package.write(pathlib.Path({out!r}), files(NEW))
"""


@pytest.mark.parametrize(
    ("function", "after", "alpha"),
    [("fsync", 0, 1), ("fsync", 2, 1), ("replace", 0, 1), ("replace", 1, 1), ("replace", 2, 2)],
)
def test_a_killed_build_leaves_whole_modules(out: Path, function: str, after: int, alpha: int) -> None:
    code = KILLED.format(tests=str(Path(__file__).parent), function=function, after=after, out=str(out))
    killed = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert numbers(out) == {"alpha": alpha, "beta": 1}
    package.write(out, files(NEW))
    assert contents(out) == files(NEW)
    assert leftovers(out) == []


def test_builds_at_once_take_turns(out: Path) -> None:
    code = (
        f"import sys, pathlib; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_package import OLD, NEW, files\nfrom fusec.codegen import package\n"
        f"for turn in range(20): package.write(pathlib.Path({str(out)!r}), files(NEW if turn % 2 else OLD))\n"
    )
    builds = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [build.wait(timeout=120) for build in builds] == [0, 0, 0]
    assert contents(out) == files(NEW)


def test_another_build_that_never_ends_is_reported(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "LOCK_TIMEOUT", 0.1)
    with package._locked(out), pytest.raises(package.PackageError, match="another build has held"):
        package.write(out, files(NEW))


def test_an_op_is_loaded_when_it_is_asked_for(out: Path) -> None:
    code = """
import sys
import ops
assert "ops.alpha" not in sys.modules
from ops import alpha
assert alpha() == 1 and "ops.beta" not in sys.modules
assert {"alpha", "beta"} <= set(dir(ops)) and ops.__all__ == ["alpha", "beta"]
import ops.beta
from ops.beta import __all__ as exported
assert ops.beta() == 1 and exported == ["beta"]
import pickle
assert pickle.loads(pickle.dumps(alpha)) is alpha
try:
    ops.alhpa
except AttributeError as error:
    print(error)
try:
    from ops import zzz
except ImportError:
    print("no zzz")
try:
    ops.zzz
except AttributeError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=out.parent, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "module 'ops' has no op 'alhpa'; did you mean 'alpha'?",
        "no zzz",
        "module 'ops' has no op 'zzz'; it has alpha, beta",
    ]


def test_ops_may_have_the_names_of_what_the_package_imports(tmp_path: Path) -> None:
    ops = {"TYPE_CHECKING": 2, "serve": 3}
    package.write(tmp_path / "ops", files(ops))
    assert numbers(tmp_path / "ops") == ops


def test_a_package_without_ops_is_importable(tmp_path: Path) -> None:
    package.write(tmp_path / "ops", files({}))
    assert numbers(tmp_path / "ops") == {}


def test_what_is_written_is_on_the_disk_before_it_is_told(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each new module before it takes its name, and the folder that has the names behind all of them."""
    done: list[str] = []

    def noted(name: str, function: Callable[..., None]) -> Callable[..., None]:
        def run(*given: int | str | Path) -> None:
            function(*given)
            last = given[-1]
            path = os.readlink(f"/proc/self/fd/{last}") if isinstance(last, int) else str(last)
            done.append(f"{name} {Path(path).name}")

        return run

    monkeypatch.setattr(os, "fsync", noted("flush", os.fsync))
    monkeypatch.setattr(os, "replace", noted("name", os.replace))
    changes = package.write(out, files(NEW))
    changed = {*changes.added, *changes.changed}
    assert changed == {"alpha.py", "gamma.py", "__init__.py"}
    for name in changed:
        assert done.index(f"flush {name}") < done.index(f"name {name}")
    assert done[-1] == f"flush {out.name}"
