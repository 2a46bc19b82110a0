"""Where a spec is wrong and what to do about it.

A `Source` is a text with a name, a `Span` a range of it, a `Diagnostic` one message for the user. Everything
wrong with a file is collected and raised as one `SpecError`; a fault of the compiler itself is an `InternalError`.
A warning is a `Diagnostic` too: the spec is right, and what it says is probably not what was meant.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, slots=True)
class Source:
    """A spec text and the name the user knows it by."""

    name: str
    text: str = field(repr=False)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of a character offset."""
        starts = self._line_starts()
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its line end."""
        lines = self.text.split("\n")
        return lines[number - 1].rstrip("\r") if number <= len(lines) else ""

    def _line_starts(self) -> list[int]:
        return [0, *(i + 1 for i, char in enumerate(self.text) if char == "\n")]


@dataclass(frozen=True, slots=True)
class Span:
    """The characters `start` to `end` (exclusive) of a source."""

    source: Source = field(repr=False)
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of `other`."""
        return Span(self.source, self.start, other.end)

    def __str__(self) -> str:
        line, column = self.source.position(self.start)
        name = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in self.source.name)
        return f"{name}:{line}:{column}"


@dataclass(frozen=True, slots=True)
class Note:
    """A further place or fact that explains a diagnostic."""

    text: str
    span: Span | None = None


class Severity(Enum):
    """Whether a spec with the mistake is built."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake: what is wrong, where, which other places matter, and what to do (`help`)."""

    message: str
    span: Span
    notes: tuple[Note, ...] = ()
    help: str | None = None
    severity: Severity = Severity.ERROR

    def render(self) -> str:
        """The message as `file:line:column: error: ...`, the source line, a caret, the notes and the help."""
        parts = [f"{self.span}: {self.severity.value}: {self.message}", _excerpt(self.span)]
        for note in self.notes:
            parts.append(f"{note.span}: note: {note.text}" if note.span else f"note: {note.text}")
            if note.span:
                parts.append(_excerpt(note.span))
        if self.help:
            parts.append(f"help: {self.help}")
        return "\n".join(parts)


class SpecError(Exception):
    """Every mistake found in the specs of one run, in source order; warnings may be among them."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__(diagnostics)
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        return rendered(self.diagnostics)


class SpecWarning(UserWarning):
    """What `fusec.load` warns of in a spec that it loads."""


class InternalError(Exception):
    """A fault of the compiler: which step failed and the representation it was given."""

    def __init__(self, step: str, message: str, dump: str = "") -> None:
        super().__init__(step, message)
        self.step = step
        self.message = message
        self.dump = dump

    def __str__(self) -> str:
        text = f"internal error in {self.step}: {self.message}"
        return f"{text}\n{self.dump}" if self.dump else text


def rendered(diagnostics: Iterable[Diagnostic]) -> str:
    """Diagnostics one below the other."""
    return "\n\n".join(diagnostic.render() for diagnostic in diagnostics)


def _excerpt(span: Span) -> str:
    line, column = span.source.position(span.start)
    text = span.source.line(line)
    width = max(1, min(span.end - span.start, len(text) - column + 1))
    text = "".join(char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text)
    indent = "".join("\t" if char == "\t" else " " for char in text[: column - 1])
    margin = " " * len(str(line))
    return f" {line} | {text}\n {margin} | {indent}{'^' * width}"
