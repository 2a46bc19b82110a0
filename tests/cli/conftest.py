"""Running commands inside the test process: importing the compiler once is most of their time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from typer.testing import CliRunner

from fusec.cli import application

Fusec: TypeAlias = Callable[..., Any]


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
