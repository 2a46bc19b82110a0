"""Specs with mistakes are refused at the places of the mistakes: for `python -m fusec.testing.mutation` alone.

`test_errors.py` holds the words as well. Here the words do not count: a spec that is refused elsewhere, or is not.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fusec.diagnostics import Source, SpecError, rendered
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.warnings import warnings_of
from fusec.testing.golden import Case

FOLDER = Path(__file__).parent
PLACE = re.compile(r"^(\S+:\d+:\d+: \w+):", re.MULTILINE)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("errors/*.case")), ids=lambda path: path.stem)
def test_a_spec_is_refused_where_it_is_wrong(path: Path, tmp_path: Path) -> None:
    sections = Case.read(path).sections
    for name, text in sections.items():
        if name.endswith(".fuse"):
            (tmp_path / name).write_text(text, encoding="utf-8")
    program = load(Source("spec.fuse", sections["spec.fuse"]), tmp_path)
    with pytest.raises(SpecError) as caught:
        elaborate(program)
    assert PLACE.findall(str(caught.value)) == PLACE.findall(sections["errors"]) != []


@pytest.mark.parametrize("path", sorted(FOLDER.glob("warnings/*.case")), ids=lambda path: path.stem)
def test_a_spec_is_warned_of_where_it_is_odd(path: Path) -> None:
    sections = Case.read(path).sections
    warnings = warnings_of(elaborate(load(Source("spec.fuse", sections["spec.fuse"]), None)))
    assert PLACE.findall(rendered(warnings)) == PLACE.findall(sections["warnings"]) != []
