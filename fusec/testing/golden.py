"""Case files: input and expected text in one file, the expected part rewritten with `--update-golden`.

A `.case` file is a line that says what it shows, then sections, each under a line `--- NAME`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Case:
    """A case file: its introduction and its sections by name, in order. Texts end in a newline unless empty."""

    intro: str
    sections: dict[str, str]

    @staticmethod
    def read(path: Path) -> Case:
        """The case that `path` holds."""
        intro, *parts = re.split(r"^--- (.+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        return Case(intro, dict(zip(parts[::2], parts[1::2], strict=True)))

    def __str__(self) -> str:
        return self.intro + "".join(f"--- {name}\n{text}" for name, text in self.sections.items())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the expected part of case files")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str, str], None]:
    """`golden(path, section, text)` holds `text` to that section of the case file, or writes it there."""
    update = request.config.getoption("--update-golden")

    def compare(path: Path, section: str, text: str) -> None:
        case = Case.read(path)
        if update and case.sections.get(section) != text:
            case.sections[section] = text
            path.write_text(str(case), encoding="utf-8")
        assert case.sections.get(section) == text

    return compare
