"""What every file of the repository keeps to."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|home|Users|work|mnt)/\w")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def texts() -> dict[Path, str]:
    found = {}
    for path in tracked():
        try:
            found[path] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


def test_no_file_names_a_path_of_a_machine() -> None:
    lines = [(path.relative_to(ROOT), line) for path, text in texts().items() for line in text.splitlines()]
    assert [(path, line) for path, line in lines if MACHINE_PATH.search(line)] == []


def test_the_pattern_finds_such_paths() -> None:
    assert MACHINE_PATH.search("see /" + "home/me/file")
    assert not MACHINE_PATH.search("a/work/b and ./root/x and https://x.org/home/y")


def test_test_modules_have_names_of_their_own() -> None:
    names = Counter(path.name for path in tracked() if path.name.startswith("test_"))
    assert [name for name, count in names.items() if count > 1] == []


def test_generated_code_needs_no_compiler() -> None:
    """`import generated` and `fusec.runtime` load neither the parser nor the algebra."""
    compiler = {"lark", "jinja2", "typer", "fusec.driver"}
    code = f"import sys, fusec.runtime, generated; print(*(set(sys.modules) & {compiler}))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.stdout.strip() == ""
