"""The smallest spec that still shows a fault: parts of one op are taken out for as long as the fault stays."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from fusec.diagnostics import Source, Span
from fusec.lang import syntax
from fusec.lang.parse import parse

Shows: TypeAlias = Callable[[str], bool]
"""Whether a spec shows the fault; false for one that is wrong."""


def shrunk(text: str, shows: Shows, tries: int = 400) -> str:
    """A spec of one op, made of `text`, that shows the fault and has no part that it shows the fault without."""
    pending = list(_smaller(text))
    for _ in range(tries):
        if not pending:
            break
        candidate = pending.pop(0)
        if shows(candidate):
            text, pending = candidate, list(_smaller(candidate))
    return text


@dataclass(frozen=True, slots=True)
class _Parts:
    """The text of an op in parts."""

    before: str
    name: str
    params: tuple[str, ...]
    results: tuple[str, ...]
    conditions: tuple[str, ...]
    lines: tuple[str, ...]

    def __str__(self) -> str:
        results = ", ".join(self.results)
        arrow = f"\n  -> {f'({results})' if len(self.results) > 1 else results}" if results else ""
        where = f"\nwhere {', '.join(self.conditions)}" if self.conditions else ""
        body = "".join(f"    {line}\n" for line in self.lines)
        return f"{self.before}op {self.name}({', '.join(self.params)}){arrow}{where}:\n{body}"


def _smaller(text: str) -> Iterator[str]:
    """Every spec with one part less, the largest parts first. Not all of them are right."""
    parts = _parts_of(text)
    found = [*_without_results(parts), *_without_lines(parts), *_with_less_in_a_line(parts), *_without_signature(parts)]
    yield from dict.fromkeys(str(each) for each in found if str(each) != text)


def _parts_of(text: str) -> _Parts:
    source = Source("shrunk.fuse", text)
    (op,) = parse(source).ops
    return _Parts(
        text[: op.span.start],
        op.name.text,
        _texts(param.span for param in op.params),
        _texts(result.span for result in op.results),
        _texts(condition.span for condition in op.conditions),
        _texts(statement.span for statement in op.body),
    )


def _texts(spans: Iterator[Span]) -> tuple[str, ...]:
    return tuple(" ".join(span.text.split()) for span in spans)


def _without(items: Sequence[str], place: int) -> tuple[str, ...]:
    return (*items[:place], *items[place + 1 :])


def _without_results(parts: _Parts) -> Iterator[_Parts]:
    for place, result in enumerate(parts.results):
        name = result.partition(":")[0]
        lines = tuple(line for line in parts.lines if not re.match(rf"{name} = ", line))
        yield replace(parts, results=_without(parts.results, place), lines=lines)
        for line in parts.lines:
            target, _, value = line.partition(" = ")
            if target in parts.params or "[" in target or target == name:
                continue
            others = tuple(each for each in lines if each != line)
            if target.isalnum() and value:
                yield replace(
                    parts, lines=(*lines[: lines.index(line)], *others[lines.index(line) :], f"{name} = {value}")
                )


def _without_lines(parts: _Parts) -> Iterator[_Parts]:
    for place in reversed(range(len(parts.lines))):
        others = _without(parts.lines, place)
        yield replace(parts, lines=others)
        name, _, other = parts.lines[place].partition(" = ")
        if name.isalnum() and re.fullmatch(r"[\w.]+", other):
            yield replace(parts, lines=tuple(re.sub(rf"\b{name}\b", other, line) for line in others))


def _with_less_in_a_line(parts: _Parts) -> Iterator[_Parts]:
    for place, line in enumerate(parts.lines):
        source = Source("line.fuse", f"op f() -> y: f32[]:\n    {line}\n")
        ops = parse(source).ops
        statement = ops[0].body[0] if ops and ops[0].body else None
        if isinstance(statement, syntax.Assign):
            value = statement.value
            head = source.text[statement.span.start : value.span.start]
            whole = source.text[value.span.start : value.span.end]
            for inner in syntax.walk(value):
                for child in syntax.children(inner):
                    start, end = inner.span.start - value.span.start, inner.span.end - value.span.start
                    shorter = f"{whole[:start]}{child.span.text}{whole[end:]}"
                    yield replace(parts, lines=(*parts.lines[:place], head + shorter, *parts.lines[place + 1 :]))
            for word in re.findall(r", (?:accum|precision)=\w+", whole):
                lines = (*parts.lines[:place], head + whole.replace(word, ""), *parts.lines[place + 1 :])
                yield replace(parts, lines=lines)


def _without_signature(parts: _Parts) -> Iterator[_Parts]:
    if parts.before:
        yield replace(parts, before="")
    for place in range(len(parts.params)):
        yield replace(parts, params=_without(parts.params, place))
    for place, condition in enumerate(parts.conditions):
        yield replace(parts, conditions=_without(parts.conditions, place))
        variable, _, options = condition.partition(" in ")
        listed = re.findall(r"\w+", options)
        for option in listed if len(listed) > 1 else ():
            conditions = (*parts.conditions[:place], f"{variable} in {{{option}}}", *parts.conditions[place + 1 :])
            yield replace(parts, conditions=conditions)
    for place, param in enumerate(parts.params):
        for shorter in (param.removeprefix("weight "), param.partition(" = ")[0], re.sub(r": \w+\[", ": f32[", param)):
            yield replace(parts, params=(*parts.params[:place], shorter, *parts.params[place + 1 :]))
