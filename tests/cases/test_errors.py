"""Every mistake a user can make is pinned: the place, the words, the notes and the advice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fusec.diagnostics import Source, SpecError
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.testing.golden import Case

CASES = sorted(Path(__file__).with_name("errors").glob("*.case"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_error(path: Path, tmp_path: Path, golden: Callable[[Path, str, str], None]) -> None:
    sections = Case.read(path).sections
    for name, text in sections.items():
        if name.endswith(".fuse"):
            (tmp_path / name).write_text(text, encoding="utf-8")
    program = load(Source("spec.fuse", sections["spec.fuse"]), tmp_path)
    with pytest.raises(SpecError) as caught:
        elaborate(program)
    golden(path, "errors", f"{caught.value}\n")
