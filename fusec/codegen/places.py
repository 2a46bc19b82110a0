"""Places: where a line of a kernel reads a tensor, along which dimension a vector lies, with which hint to the cache.

Lines that differ in nothing else are the same to a function that is given these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from fusec.codegen.variables import placed_tokens, targets, tokens

_TURNED = re.compile(r"\b[A-Za-z_]\w*\[(?:None|:)(?:, (?:None|:))*\]")
"""A vector along one dimension of a tile: `d[None, :]`."""

_HINT = re.compile(r'"evict_\w+"')
_STRIDE = re.compile(r" \* \w+_stride_\w+")
_INDEX = re.compile(r"(?:[^()]|tl\.cast\([^()]*\))*\Z")
"""A sum of indices and extents, with no other call in it."""

_OPERAND = re.compile(r"(?:(?<=[ (])|\A)[A-Za-z_]\w*(?:\[[^\]]*\])?\Z")


@dataclass(frozen=True, slots=True)
class Place:
    """A part of a line that tells a place, and the variables in it."""

    text: str
    names: frozenset[str]

    @property
    def is_name(self) -> bool:
        return self.text.isidentifier()


def pieces(line: str, made: frozenset[str]) -> tuple[Place | tuple[str, bool], ...]:
    """The words of a line as of `tokens`, but for its places. What these lines have `made` is none to a caller."""
    return _pieces(line, frozenset(name for name in made if name in line))


@cache
def _pieces(line: str, made: frozenset[str]) -> tuple[Place | tuple[str, bool], ...]:
    found: list[Place | tuple[str, bool]] = []
    spans = iter(_spans(line, made))
    start, end = next(spans, (len(line), len(line)))
    for at, token, is_name in placed_tokens(line):
        while at >= end and start < len(line):
            start, end = next(spans, (len(line), len(line)))
        if at == start:
            found.append(_place(line[start:end]))
        elif at < start:
            found.append((token, is_name))
    return tuple(found)


def with_names(lines: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Lines whose places, but what is a name already, have names instead, and what these stand for."""
    made = frozenset(name for line in lines for name in targets(line))
    found: dict[str, str] = {}
    named = []
    for line in lines:
        for start, end in reversed(_spans(line, frozenset(name for name in made if name in line))):
            place = _place(line[start:end])
            name = place.text if place.is_name else found.setdefault(place.text, f"place{len(found)}")
            line = f"{line[:start]}{name}{line[end:]}"
        named.append(line)
    return tuple(named), {name: text for text, name in found.items()}


def _place(text: str) -> Place:
    bare = text[1:-1] if text.startswith("(") else text
    return Place(bare, frozenset(token for token, is_name in tokens(bare) if is_name))


@cache
def _spans(line: str, made: frozenset[str]) -> tuple[tuple[int, int], ...]:
    """Where the places of a line begin and end: indices of tensors, and what is beside them."""
    found: list[tuple[int, int]] = []
    every = (*_indices(line), *(match.span() for word in (_TURNED, _HINT) for match in word.finditer(line)))
    for start, end in every:
        inside = any(first <= start and end <= last for first, last in found)
        if not inside and _place(line[start:end]).names.isdisjoint(made):
            found.append((start, end))
    return tuple(sorted(found))


def _indices(line: str) -> Iterator[tuple[int, int]]:
    """What stands before the strides in a line."""
    for match in _STRIDE.finditer(line):
        end = match.start()
        operand = _OPERAND.search(line[:end])
        if line[end - 1] == ")":
            start = _opening(line, end - 1)
            if line[start - 1] in " (" and _INDEX.match(line[start + 1 : end - 1]):
                yield start, end
        elif operand and not line[: operand.start()].endswith(("* ", "/ ", "% ")):
            yield operand.start(), end


def _opening(line: str, closing: int) -> int:
    depth = 0
    for at in range(closing, -1, -1):
        depth += (line[at] == ")") - (line[at] == "(")
        if depth == 0:
            return at
    return 0
