"""Specs with mistakes are refused at the places of the mistakes: for `python -m fusec.testing.mutation` alone.

`test_errors.py` holds the words as well. Here they do not count: what does are the places that are pointed to, and the
names that are told.
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
TOLD = re.compile(r"^\S+:\d+:\d+: \w+:|`[^`\n]*`", re.MULTILINE)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("errors/*.case")), ids=lambda path: path.stem)
def test_a_spec_is_refused_where_it_is_wrong(path: Path, tmp_path: Path) -> None:
    sections = Case.read(path).sections
    for name, text in sections.items():
        if name.endswith(".fuse"):
            (tmp_path / name).write_text(text, encoding="utf-8")
    program = load(Source("spec.fuse", sections["spec.fuse"]), tmp_path)
    with pytest.raises(SpecError) as caught:
        elaborate(program)
    assert TOLD.findall(str(caught.value)) == TOLD.findall(sections["errors"]) != []


@pytest.mark.parametrize("path", sorted(FOLDER.glob("warnings/*.case")), ids=lambda path: path.stem)
def test_a_spec_is_warned_of_where_it_is_odd(path: Path) -> None:
    sections = Case.read(path).sections
    warnings = warnings_of(elaborate(load(Source("spec.fuse", sections["spec.fuse"]), None)))
    assert TOLD.findall(rendered(warnings)) == TOLD.findall(sections["warnings"]) != []
