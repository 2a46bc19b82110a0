"""Specs with mistakes of every kind in them end in a result or in a mistake at its place, soon, and in nothing else."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fusec.diagnostics import Diagnostic, Source, SpecError
from fusec.driver.compile import compile_source
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.warnings import warnings_of

SPECS = sorted((Path(__file__).parents[2] / "specs").glob("*.fuse"))

TOKENS = (
    *(
        "0",
        "1",
        "-1",
        "2 ** 100000",
        "9223372036854775807",
        "1e308",
        "1e-320",
        "0.5",
        "inf",
        "pi",
        "N",
        "T",
        "x",
        "f32",
    ),
    *("(", ")", "[", "]", "{", "}", ",", ":", "=", "->", "where", "op", "fn", "use", "module", "mut", "weight", "..."),
    *("+", "-", "*", "/", "//", "%", "**", "<", "and", "not", "# ", '"""', "\n", "\n    ", "\t", "\\", "'", "\x00"),
    *(
        "\x1b",
        "\ud800",
        "\ufeff",
        "\u2028",
        "é",
        "sum(x, over=N)",
        "dot(x, x, over=N)",
        "cast(x, i4)",
        "rename(x, N -> M)",
    ),
)

LIMIT = 20.0
"""Seconds that one spec may take on a busy machine; the slowest takes one."""


def replaced(text: str, draw: random.Random) -> str:
    start = draw.randrange(len(text))
    return text[:start] + draw.choice(TOKENS) + text[start + draw.choice((0, 1, 3)) :]


def cut(text: str, draw: random.Random) -> str:
    start = draw.randrange(len(text))
    return text[:start] + text[start + draw.randint(1, 40) :]


def doubled(text: str, draw: random.Random) -> str:
    start = draw.randrange(len(text))
    return text[:start] + text[start : start + draw.randint(1, 200)] * draw.choice((2, 2, 30)) + text[start:]


def nested(text: str, draw: random.Random) -> str:
    start, depth = draw.randrange(len(text)), draw.choice((5, 60, 2000))
    opening, closing = draw.choice((("(", ")"), ("exp(", ")"), ("[", "]"), ("-", ""), ("not ", "")))
    return text[:start] + opening * depth + "x" + closing * depth + text[start:]


def swapped(text: str, draw: random.Random) -> str:
    words = text.split(" ")
    one, other = draw.randrange(len(words)), draw.randrange(len(words))
    words[one], words[other] = words[other], words[one]
    return " ".join(words)


def chained(text: str, draw: random.Random) -> str:
    head, _, last = text.rstrip().rpartition("\n")
    lines = [f"    q{i + 1} = q{i} {draw.choice('+-*/')} q{i}" for i in range(draw.choice((5, 80)))]
    return "\n".join([head, f"    q0 = {draw.choice(('x', '3', 'index(N)', '2.5'))}", *lines, last]) + "\n"


def crowded(text: str, draw: random.Random) -> str:
    count = draw.choice((10, 64, 300))
    params = ", ".join(f"p{i}: f32[{draw.choice(('N', f'A{i}'))}]" for i in range(count))
    return text.replace("(", f"({params}, ", 1)


MUTATIONS: tuple[Callable[[str, random.Random], str], ...] = (
    *(replaced, replaced, cut, doubled, nested, swapped, chained, crowded),
)


def mutant(seed: int) -> str:
    draw = random.Random(seed)
    text = draw.choice(SPECS).read_text(encoding="utf-8")
    for _ in range(draw.choice((1, 1, 2, 4))):
        text = draw.choice(MUTATIONS)(text, draw)
    return text


def ends(seed: int, build: bool) -> bool:
    """Whether the mutant is right; anything but a result or a `SpecError` that can be printed goes through."""
    faults: tuple[Diagnostic, ...]
    source, start = Source("spec.fuse", mutant(seed)), time.monotonic()
    try:
        if build:
            compile_source(source, None)
        else:
            warnings_of(elaborate(load(source, None)))
        right = True
        faults = ()
    except SpecError as error:
        str(error).encode()
        right, faults = False, error.diagnostics
    assert all(0 <= fault.span.start <= fault.span.end for fault in faults), seed
    assert time.monotonic() - start < LIMIT, seed
    return right


@pytest.mark.timeout(120)
@pytest.mark.parametrize("part", range(4))
def test_checking_ends(part: int) -> None:
    right = [ends(seed, build=False) for seed in range(100 * part, 100 * part + 50)]
    assert 0 < sum(right) < len(right)


@pytest.mark.timeout(120)
def test_building_ends() -> None:
    right = [ends(seed, build=True) for seed in range(1000, 1040)]
    assert 0 < sum(right) < len(right)
