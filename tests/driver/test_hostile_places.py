"""Paths that are no files, lead nowhere or never end, and characters that no text file holds: told, at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from typer.testing import CliRunner

import fusec
from fusec.cli import application
from fusec.codegen import package
from fusec.codegen.package import PackageError, require_place, write
from fusec.diagnostics import Source, SpecError
from fusec.driver.compile import compile_source
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate

SPEC = "op f(x: f32[N]) -> y: f32[N]:\n    y = 2 * x\n"

STRAY = [*map(chr, (0, 1, 7, 8, 11, 14, 27, 31, 127, 128, 0x85, 0x9F, 0xD800, 0xDC80, 0xDFFF))]


@pytest.mark.parametrize("char", STRAY, ids=lambda char: f"U+{ord(char):04X}")
@pytest.mark.parametrize("form", ['    """doc {}"""\n', "    # comment {}\n", "    z{} = x\n", "{}\n"])
def test_a_stray_character_is_told_by_check_and_by_build(char: str, form: str) -> None:
    head, body = SPEC.split("\n", 1)
    source = Source("f.fuse", f"{head}\n{form.format(char)}{body}")
    told = []
    for front in (lambda: elaborate(load(source, None)), lambda: compile_source(source, None)):
        with pytest.raises(SpecError) as caught:
            front()
        (fault,) = caught.value.diagnostics
        assert fault.span.text == char
        told.append(str(caught.value))
    assert told[0] == told[1]
    told[0].encode()


def told(*arguments: str, codes: tuple[int, ...]) -> None:
    """Hold a command to one of some exit codes and an error in words."""
    result = CliRunner().invoke(application(arguments), arguments)
    assert result.exit_code in codes, result.stderr
    assert "error: " in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `specs/f.fuse`, a pipe, links that lead to themselves, and a name of other bytes than UTF-8."""
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "f.fuse").write_text(SPEC)
    (tmp_path / "pipes").mkdir()
    os.mkfifo(tmp_path / "pipes" / "p.fuse")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "loop.fuse").symlink_to("loop.fuse")
    (tmp_path / "endless.fuse").symlink_to("/dev/zero")
    (tmp_path / "odd").mkdir()
    with open(os.fsencode(tmp_path / "odd") + b"/f\xff\n.fuse", "w") as file:
        file.write(SPEC)
    return tmp_path


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "specs", ["pipes", "pipes/p.fuse", "/dev/zero", "endless.fuse", "loop", "loop.fuse", "/dev/null", "/proc"]
)
def test_specs_that_are_no_files_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch, specs: str) -> None:
    monkeypatch.chdir(folder)
    told("check", specs, codes=(1, 2))


def test_a_name_that_is_no_text_is_told(folder: Path) -> None:
    """In a process of its own: what a terminal takes is what its standard error makes of it."""
    words = [sys.executable, "-m", "fusec", "check", "odd"]
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode in (1, 2), result.stderr
    assert "error: " in result.stderr


@pytest.mark.parametrize("name", [b"pipes/p.fuse", b"endless.fuse", b"loop.fuse", b"odd/f\xff\n.fuse"])
def test_loading_what_is_no_file_is_told(folder: Path, name: bytes) -> None:
    with pytest.raises((OSError, SpecError)) as caught:
        fusec.load(folder / os.fsdecode(name))
    str(caught.value).encode()


def test_a_file_that_never_ends_is_no_file_to_use(folder: Path) -> None:
    (folder / "specs" / "endless.fuse").symlink_to("/dev/zero")
    source = Source("f.fuse", f"use endless\n\n{SPEC}")
    with pytest.raises(SpecError, match=r"endless\.fuse` cannot be read: it is no file of text"):
        elaborate(load(source, folder / "specs"))


@pytest.mark.parametrize("out", ["/proc/x", "/proc/x/y", "/dev/null/x", "loop/x", "loop", "specs/f.fuse/x", "/"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_compiled(
    folder: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(folder)
    told("build", "specs", "--out", out, "--target", "none", codes=(5,))


@pytest.mark.skipif(os.geteuid() == 0, reason="no place is closed to root")
def test_a_place_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PackageError, match="cannot be written"):
        require_place(tmp_path / "ops")


def test_waiting_for_another_build_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "LOCK_SILENCE", 0.05)
    monkeypatch.setattr(package, "LOCK_TIMEOUT", 0.2)
    heard: list[str] = []
    with FileLock(tmp_path / ".ops.fusec-lock"):
        start = time.monotonic()
        with pytest.raises(PackageError, match="another build has held"):
            write(tmp_path / "ops", {"__init__.py": ""}, heard.append)
    assert heard == [f"another build is writing {tmp_path / 'ops'}; waiting for it"]
    assert time.monotonic() - start > 0.2
    write(tmp_path / "ops", {"__init__.py": ""}, heard.append)
    assert len(heard) == 1
