"""Running commands inside the test process: importing the compiler once is most of their time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from typer.testing import CliRunner

from fusec.cli import application
from fusec.commands import peers

Fusec: TypeAlias = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_libraries_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `fusec bench` times does not depend on what is installed where the tests run."""
    monkeypatch.setattr(peers, "LIBRARIES", {})


@pytest.fixture
def fusec(monkeypatch: pytest.MonkeyPatch) -> Fusec:
    """`fusec("check", folder)` runs a command; the result has `exit_code`, `stdout` and `stderr`.

    Tables are as wide as in a file, whatever terminal the tests are run in.
    """
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: str | Path) -> Any:
        words = list(map(str, arguments))
        return CliRunner().invoke(application(words), words)

    return run
