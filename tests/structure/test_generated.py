"""`generated/` is the result of building `specs/`, down to the last byte, whoever builds it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from shipped import compiled_once

from fusec.codegen import package
from fusec.driver.build import package_files
from fusec.driver.specs import compile_all, read_specs
from fusec.driver.store import Store

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent


@cache
def fresh(specs: Path) -> dict[str, str]:
    """The package that the specs of a folder make, nothing reused that another process has made."""
    files = compile_all(read_specs(specs), compiled_once, Store(None), 1, lambda _done, _total: None)
    return package_files(files)


def test_the_committed_package_is_a_fresh_build() -> None:
    assert package.compare(ROOT / "generated", fresh(ROOT / "specs")) == package.Changes(), "run `make build`, commit"


def test_a_build_does_not_depend_on_where_or_when(tmp_path: Path) -> None:
    """Another folder, another process, another order of every set than here."""
    (tmp_path / "elsewhere").symlink_to(ROOT / "specs")
    code = (
        "import sys, json; from pathlib import Path; from test_generated import fresh;"
        "json.dump([hash('any'), fresh(Path('elsewhere'))], sys.stdout)"
    )
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {
        **os.environ,
        "PYTHONHASHSEED": seed,
        "PYTHONPATH": os.pathsep.join(map(str, (TESTS / "structure", TESTS / "driver"))),
    }
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    order, files = json.loads(result.stdout)
    assert order != hash("any")
    assert files == fresh(ROOT / "specs")
