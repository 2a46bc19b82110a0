"""Break lines that are too long, as many items of a bracket on each line as fit: aligned with the bracket, or indented.

Sums in it are cut before a `+`, comments between words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from textwrap import wrap

LIMIT = 120
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_MARKS = re.compile(r"""[()\[\]{}]|, | \+ |"(?:[^"\\]|\\.)*(?:"|$)|'(?:[^'\\]|\\.)*(?:'|$)""")


def wrapped(line: str, depth: int = 0) -> list[str]:
    """`line`, which will be indented by `depth` levels, as lines that fit; as it is where no bracket can be opened."""
    room = LIMIT - 4 * depth
    if len(line) <= room:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    if line.lstrip().startswith("#"):
        return wrap(line.lstrip(" #"), room, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
    opening = _outermost(line)
    if opening is None:
        return _sum(line, room)
    start, end = opening
    items = split(line[start + 1 : end], ", ")
    alone = "," if line[end - 1] == "," and len(items) == 1 else ""
    items = [*(f"{item}," for item in items[:-1]), f"{items[-1]}{alone}"]
    under = aligned(line[: start + 1], items, line[end:], room)
    indented = [line[: start + 1], *_rows(f"{indent}    ", [*items[:-1], f"{items[-1].rstrip(',')},"], room)]
    indented.append(f"{indent}{line[end:]}")
    # Behind a bracket that stands far to the right there is no room, and below it is.
    below = [line[: start + 1], *_rows(f"{indent}    ", [*items[:-1], f"{items[-1]}{line[end:]}"], room)]
    fitting = [lines for lines in (under, below) if all(len(each) <= room for each in lines)]
    return min((*fitting, indented), key=len)


def filled(parameters: Iterable[str], depth: int = 1) -> list[str]:
    """Lines of parameters, as many on each as fit."""
    return _rows("", [f"{parameter}," for parameter in parameters], LIMIT - 4 * depth)


def aligned(head: str, items: list[str], tail: str, room: int) -> list[str]:
    """The items of a bracket behind `head`, and under each other where they are many; `tail` closes it."""
    first, *rows = _rows(" " * len(head), [*items[:-1], f"{items[-1]}{tail}"], room)
    return [f"{head}{first[len(head) :]}", *rows]


def _sum(line: str, room: int) -> list[str]:
    """A sum that gets a name, in brackets; as it is if it is none."""
    name, equals, value = line.partition(" = ")
    terms = split(value, " + ")
    if not equals or len(terms) == 1:
        return [line]
    return aligned(f"{name} = (", [terms[0], *(f"+ {term}" for term in terms[1:])], ")", room)


def _rows(indent: str, items: list[str], room: int) -> list[str]:
    """Lines of items, each on the line of the one before it if there is room."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + 1 + len(item) <= room:
            lines[-1] += f" {item}"
        else:
            lines += _item(f"{indent}{item}", room)
    return lines


def _item(line: str, room: int) -> list[str]:
    """An item of a bracket, whose brackets keep its lines together: a sum may be cut."""
    terms = split(line, " + ")
    if len(line) <= room or len(terms) == 1 or " = " in terms[0] or "=" in terms[0].partition("(")[0]:
        return wrapped(line, (LIMIT - room) // 4)
    indent = line[: len(line) - len(line.lstrip())]
    return _rows(indent, [terms[0], *(f"+ {term}" for term in terms[1:])], room)


def _outermost(line: str) -> tuple[int, int] | None:
    """The longest argument list, tuple, list or dict of the line that stands in no other one."""
    best: tuple[int, int] | None = None
    stack: list[int] = []
    for place, mark in _marks(line):
        if mark in _CLOSING:
            stack.append(place)
        elif mark in _CLOSING.values() and stack:
            start = stack.pop()
            longer = best is None or place - start > best[1] - best[0]
            if not stack and longer and _takes_commas(line, start, place):
                best = (start, place)
    return best


def _takes_commas(line: str, start: int, end: int) -> bool:
    """Whether a comma may follow the last item of a bracket: not in a parenthesised expression, nor in an index.

    An empty bracket has no last item.
    """
    if not split(line[start + 1 : end], ", "):
        return False
    called = start > 0 and (line[start - 1].isalnum() or line[start - 1] in "_)]")
    if line[start] == "(":
        return called or len(split(line[start + 1 : end], ", ")) > 1
    return line[start] == "{" or not called


def split(text: str, separator: str) -> list[str]:
    """The parts of `text` between separators (", " or " + ") that stand in no bracket and no string."""
    cuts, depth = [], 0
    for place, mark in _marks(text):
        depth += (mark in _CLOSING) - (mark in _CLOSING.values())
        if depth == 0 and mark == separator:
            cuts.append(place)
    starts = [0, *(cut + len(separator) for cut in cuts)]
    parts = [text[start:end].strip() for start, end in zip(starts, [*cuts, len(text)], strict=True)]
    return [part.removesuffix(",") if separator == ", " else part for part in parts if part]


def _marks(text: str) -> Iterator[tuple[int, str]]:
    """The brackets and separators outside of string literals, and where they stand."""
    return ((found.start(), found.group()) for found in _MARKS.finditer(text) if found.group()[0] not in "\"'")
