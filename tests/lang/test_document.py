"""The language document: its examples elaborate, and its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fusec.diagnostics import Source
from fusec.ir.types import DTYPES
from fusec.ir.verify import verify_graph
from fusec.lang.load import load, standard_library
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.elaborate.constants import CONSTANTS
from fusec.passes.graph.elaborate.primitives import PRIMITIVES

DOCUMENT = Path(__file__).parents[2].joinpath("docs", "language.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```fuse\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("text", EXAMPLES)
def test_example(text: str) -> None:
    for graph in elaborate(load(Source("spec.fuse", text), None)):
        verify_graph(graph)


def test_everything_is_documented() -> None:
    words = set(re.findall(r"\w+", "".join(re.findall(r"`[^`\n]+`", DOCUMENT))))
    there_is = {*PRIMITIVES, *DTYPES, *CONSTANTS, *(fn.name.text for fn in standard_library().fns)}
    assert there_is - words == set()
