"""Break lines that are too long: at the commas of their outermost brackets, and sums in them at each `+`; comments
between words."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import wrap

LIMIT = 120
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def wrapped(line: str, depth: int = 0) -> list[str]:
    """`line`, which will be indented by `depth` levels, as lines that fit; as it is where no bracket can be opened."""
    if len(line) + 4 * depth <= LIMIT:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    if line.lstrip().startswith("#"):
        return wrap(line.lstrip(" #"), LIMIT - 4 * depth, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
    opening = _outermost(line)
    if opening is None:
        return [line]
    start, end = opening
    items = split(line[start + 1 : end], ", ")
    together = f"{indent}    {', '.join(items)}"
    if len(items) > 1 and len(together) + 4 * depth <= LIMIT:
        return [line[: start + 1], together, f"{indent}{line[end:]}"]
    inner = [part for item in items for part in _item(f"{indent}    {item},", depth)]
    return [line[: start + 1], *inner, f"{indent}{line[end:]}"]


def filled(parameters: Iterable[str], depth: int = 1) -> list[str]:
    """Lines of parameters, as many on each as fit."""
    lines: list[str] = []
    for parameter in parameters:
        if lines and len(lines[-1]) + len(parameter) + 2 + 4 * depth <= LIMIT:
            lines[-1] += f" {parameter},"
        else:
            lines.append(f"{parameter},")
    return lines


def _item(line: str, depth: int) -> list[str]:
    """An item of a bracket, whose brackets keep its lines together: a sum may be cut."""
    terms = split(line, " + ")
    if len(line) + 4 * depth <= LIMIT or len(terms) == 1 or " = " in terms[0] or "=" in terms[0].partition("(")[0]:
        return wrapped(line, depth)
    indent = line[: len(line) - len(line.lstrip())]
    return [f"{indent}{terms[0]}", *(f"{indent}+ {term}" for term in terms[1:])]


def _outermost(line: str) -> tuple[int, int] | None:
    """The longest argument list, tuple, list or dict of the line that stands in no other one."""
    best: tuple[int, int] | None = None
    stack: list[int] = []
    for place, char in _code(line):
        if char in _CLOSING:
            stack.append(place)
        elif char in _CLOSING.values() and stack:
            start = stack.pop()
            longer = best is None or place - start > best[1] - best[0]
            if not stack and longer and _takes_commas(line, start, place):
                best = (start, place)
    return best


def _takes_commas(line: str, start: int, end: int) -> bool:
    """Whether a comma may follow the last item of a bracket: not in a parenthesised expression, nor in an index."""
    called = start > 0 and (line[start - 1].isalnum() or line[start - 1] in "_)]")
    if line[start] == "(":
        return called or len(split(line[start + 1 : end], ", ")) > 1
    return line[start] == "{" or not called


def split(text: str, separator: str) -> list[str]:
    """The parts of `text` between separators that stand in no bracket and no string."""
    cuts, depth = [], 0
    for place, char in _code(text):
        depth += (char in _CLOSING) - (char in _CLOSING.values())
        if depth == 0 and text.startswith(separator, place):
            cuts.append(place)
    starts = [0, *(cut + len(separator) for cut in cuts)]
    parts = [text[start:end].strip() for start, end in zip(starts, [*cuts, len(text)], strict=True)]
    return [part.removesuffix(",") if separator == ", " else part for part in parts if part]


def _code(text: str) -> list[tuple[int, str]]:
    """The characters outside of string literals."""
    found: list[tuple[int, str]] = []
    quote = ""
    for place, char in enumerate(text):
        if quote:
            quote = "" if char == quote and text[place - 1] != "\\" else quote
        elif char in "\"'":
            quote = char
        else:
            found.append((place, char))
    return found
