"""Every warning of a spec that is right is pinned, as mistakes are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fusec.diagnostics import Source, rendered
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.warnings import warnings_of
from fusec.testing.golden import Case

CASES = sorted(Path(__file__).with_name("warnings").glob("*.case"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_warning(path: Path, golden: Callable[[Path, str, str], None]) -> None:
    graphs = elaborate(load(Source("spec.fuse", Case.read(path).sections["spec.fuse"]), None))
    warnings = warnings_of(graphs)
    assert warnings
    golden(path, "warnings", f"{rendered(warnings)}\n")
