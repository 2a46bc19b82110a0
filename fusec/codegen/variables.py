"""Variables: which names a line of a kernel reads, and which it gives a value."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from functools import cache

_FIXED = frozenset({"tl", "device", "roles", "float", "range", "triton", *keyword.kwlist})
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[A-Za-z_]\w*|[\d.]+\w*|\S')
_TARGETS = re.compile(r" *(\w+(?:, \w+)*) (\+?)= ")
LOOP = re.compile(r" *for (\w+) in ")
"""A line that begins a loop."""


def free(lines: Iterable[str]) -> tuple[str, ...]:
    """The variables that lines read and nothing before them in these lines made, in the order they are read."""
    made, found = set[str](), dict[str, None]()
    for line in lines:
        taken = reads(line)
        found |= dict.fromkeys(token for token, _ in tokens(line) if token in taken and token not in made)
        made |= targets(line)
    return tuple(found)


@cache
def tokens(line: str) -> tuple[tuple[str, bool], ...]:
    """The words of a line, and whether each is the name of a variable: no attribute, keyword or function."""
    return tuple((token, is_name) for _, token, is_name in placed_tokens(line))


@cache
def placed_tokens(line: str) -> tuple[tuple[int, str, bool], ...]:
    """The same, with the column at which each begins."""
    found = []
    for match in _TOKEN.finditer(line):
        token, before, after = match[0], line[match.start() - 1 : match.start()], line[match.end() : match.end() + 2]
        is_other = after[:1] == "(" or (after[:1] == "=" and after != "==")
        is_word = token[0].isalpha() or token[0] == "_"
        is_name = is_word and token not in _FIXED and before != "." and not is_other
        found.append((match.start(), token, is_name))
    return tuple(found)


@cache
def targets(line: str) -> frozenset[str]:
    """The variables that a line gives a value."""
    loop, assigned = LOOP.match(line), _TARGETS.match(line)
    return frozenset([loop[1]] if loop else assigned[1].split(", ") if assigned else ())


@cache
def reads(line: str) -> frozenset[str]:
    """The variables that a line reads."""
    assigned = _TARGETS.match(line)
    kept = assigned[1].split(", ") if assigned and assigned[2] else []
    rest = line[assigned.end() :] if assigned else line
    names = {token for token, is_name in tokens(rest) if is_name} | set(kept)
    loop = LOOP.match(line)
    return frozenset(names - {loop[1]} if loop else names)
