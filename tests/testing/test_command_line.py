"""A result tells the command that makes it again, and nothing of the machine it was made on."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from fusec.testing import sweep
from fusec.testing.command_line import command_line

COMMANDS = (
    "--seeds 3:4 --minutes 2.5",
    "--seeds 0:10 --calls 1 --jobs 7 --shrink --out {place}",
    "",
)


@pytest.mark.parametrize("written", COMMANDS)
def test_a_command_says_what_was_asked_for(written: str, tmp_path: Path) -> None:
    options = sweep._options(shlex.split(written.format(place=tmp_path / "sweep.json")))
    told = command_line("fusec.testing.sweep", options)
    again = sweep._options(shlex.split(told.removeprefix("python -m fusec.testing.sweep")))
    options.out = None
    assert again == options


def test_a_result_names_no_place(tmp_path: Path) -> None:
    sweep.main(["--seeds", "0:0", "--jobs", "1", "--out", str(tmp_path / "sweep.json")])
    result = (tmp_path / "sweep.json").read_text()
    assert str(tmp_path) not in result
    assert "--seeds 0:0" in json.loads(result)["command"]
