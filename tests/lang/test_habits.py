"""What a help line says to write can be written."""

from __future__ import annotations

import re

import pytest

from fusec.diagnostics import Source, SpecError
from fusec.ir.types import DTYPES
from fusec.lang import habits
from fusec.lang.load import load, standard_library
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.elaborate.constants import CONSTANTS
from fusec.passes.graph.elaborate.primitives import PRIMITIVES

_HEADER = """op probe(
    x: {0}[N, D], a: {0}[N, K], b: {0}[K], w: {0}[M, K], s: {0}[N], value: {0}[N], bias: {0}[N], table: {0}[P, K],
    q: {0}[S, D], k: {0}[U, D], v: {0}[U, D], i: i32[N], n: i32[N], mask: bool[N], condition: bool[N],
    mut t: {0}[P, U, D],
) -> y: f32[M, N, D, K, S, U]
where D % 2 == 0:
"""
_WORDS = {*PRIMITIVES, *DTYPES, *CONSTANTS, "where", "and", "not", "fn"}
_WORDS |= {function.name.text for function in standard_library().fns}
_TABLES = {"function": habits.FUNCTIONS, "name": habits.NAMES, "word": habits.WORDS, "character": habits.CHARACTERS}
ADVICE = {f"{table} {word}": text for table, entries in _TABLES.items() for word, text in entries.items()}


@pytest.mark.parametrize("habit", ADVICE)
def test_what_help_says_is_the_language(habit: str) -> None:
    """Single words exist; statements and values can stand in a spec. Types and parts of a header are left out."""
    pieces = [p for p in re.findall(r"`([^`]+)`", ADVICE[habit]) if not re.search(r": |^mut |^use |^over=|^\W+$", p)]
    assert [piece for piece in pieces if re.fullmatch(r"\w+", piece) and piece not in _WORDS] == []
    lines = [piece for piece in pieces if not re.fullmatch(r"\w+", piece)]
    mistakes = [mistakes_of(lines, dtype) for dtype in ("f32", "i32", "bool")]
    assert "" in mistakes, mistakes[0]


def mistakes_of(lines: list[str], dtype: str) -> str:
    """What is wrong with `lines` as statements and values of a spec over tensors of `dtype`; nothing if all is well."""
    body = [line if " = " in line else f"y{place} = {line}" for place, line in enumerate(lines)]
    body += ["y = where(condition, 1, 0)"]
    body += [] if any("t[i] =" in line for line in body) else ["t[i] = v"]
    text = _HEADER.format(dtype) + "".join(f"    {line}\n" for line in body)
    try:
        elaborate(load(Source("spec.fuse", text), None))
    except SpecError as error:
        return str(error)
    return ""
