"""An axis that is taken apart in halves and in pairs needs quarters, which some condition of a spec has to promise."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from fusec.diagnostics import Source, SpecError
from fusec.driver.compile import compile_source

TEXT = """op f(x: f32[M, {axis}]{more}) -> y: f32[M, {axis}]{where}:
    a, b = halves(x, over={axis})
    c, d = pairs(join(a * 2, b, over={axis}), over={axis})
    y = interleave(d, c, over={axis})
"""

CONDITIONS = {
    ("D", "D == 8", ""): True,
    ("D", "D == 6", ""): False,
    ("D", "D % 4 == 0", ""): True,
    ("D", "D % 8 == 0", ""): True,
    ("D", "D % 6 == 0", ""): False,
    ("D", "D % 2 == 0", ""): False,
    ("D", "D % 2 == 0, E == D, E % 4 == 0", ", e: f32[E]"): True,
    ("D", "D % 2 == 0, E == D, E == 12", ", e: f32[E]"): True,
    ("D", "D % 2 == 0, E % 4 == 0", ", e: f32[E]"): False,
    ("12", "M > 0", ""): True,
    ("6", "M > 0", ""): False,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("axis", "where", "more"), CONDITIONS)
def test_quarters_are_taken_where_they_are_promised(axis: str, where: str, more: str) -> None:
    text = TEXT.format(axis=axis, where=f"\nwhere {where}", more=more)
    refused = pytest.raises(SpecError, match="in two ways, halves and pairs, which needs quarters")
    with nullcontext() if CONDITIONS[axis, where, more] else refused:
        compile_source(Source("f.fuse", text), None)
