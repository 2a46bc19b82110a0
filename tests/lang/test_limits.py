"""The limits that docs/language.md states: what is just within them is a spec, and what is beyond is refused there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fusec.diagnostics import Source, SpecError
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate

SENTENCE = next(
    line
    for line in (Path(__file__).resolve().parents[2] / "docs" / "language.md").read_text().splitlines()
    if line.startswith("A spec has at most ")
)


def stated(words: str) -> int:
    """The number before, or behind, words of the sentence."""
    (found,) = re.findall(rf"(\d+) {words}" if not words.startswith("names") else rf"{words} (\d+)", SENTENCE)
    return int(found)


def characters(count: int) -> str:
    text = "op f(x: f32[N]) -> y: f32[N]:\n    y = x\n"
    return text + "#" * (count - len(text))


def nesting(count: int) -> str:
    """Of a name with signs in front of it, in a statement of an op."""
    return f"op f(x: f32[N]) -> y: f32[N]:\n    y = {'-' * (count - 3)}x\n"


def axes_of_an_op(count: int) -> str:
    packs = [f"t{place}: f32[{', '.join(f'A{axis}' for axis in range(place, min(place + 8, count)))}]"
             for place in range(0, count, 8)]  # fmt: skip
    used = " + ".join(f"sum({each.partition(':')[0]}, over=({each.partition('[')[2][:-1]},))" for each in packs)
    return f"op f({', '.join(packs)}) -> y: f32[]:\n    y = {used}\n"


def a_name(count: int) -> str:
    return f"op f({'x' * count}: f32[N]) -> y: f32[N]:\n    y = {'x' * count}\n"


def a_number(count: int) -> str:
    return f"op f(x: f32[N]) -> y: f32[N]:\n    y = x * 1.{'5' * (count - 2)}\n"


def parameters(count: int) -> str:
    names = [f"x{place}" for place in range(count)]
    given = ", ".join(f"{name}: f32[N]" for name in names)
    return f"op f({given}) -> y: f32[N]:\n    y = {' + '.join(names)}\n"


LIMITS: dict[str, tuple[Callable[[int], str], int]] = {
    "characters": (characters, stated("characters,")),
    "nesting": (nesting, stated("levels of nesting")),
    "axes": (axes_of_an_op, stated("axes in an op")),
    "a name": (a_name, stated("names of")),
    "a number": (a_number, stated("characters\\.")),
    "parameters": (parameters, 64),  # PyTorch has no operator of more
}


def elaborated(text: str) -> None:
    elaborate(load(Source("f.fuse", text), None))


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_within_a_limit_is_a_spec(name: str) -> None:
    make, limit = LIMITS[name]
    elaborated(make(limit))


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_beyond_is_refused_at_its_place(name: str) -> None:
    make, limit = LIMITS[name]
    with pytest.raises(SpecError) as fault:
        elaborated(make(limit + 1))
    (first, *_) = fault.value.diagnostics
    assert first.span.start >= 0
    assert str(limit) in first.message or name == "nesting", first.message
