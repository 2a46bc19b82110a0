"""Where the code that is being elaborated stands: in the op itself, or in a function inlined at a call."""

from __future__ import annotations

from dataclasses import dataclass

from fusec.diagnostics import Note, Source, Span
from fusec.lang.syntax import Fn

_NOTES = 3


@dataclass(frozen=True, slots=True)
class Frame:
    """One level of inlining; the op itself has no `function`. `standard` is the source nobody wants errors in."""

    standard: Source
    function: Fn | None = None
    call: Span | None = None
    caller: Frame | None = None

    def enter(self, function: Fn, call: Span) -> Frame:
        return Frame(self.standard, function, call, self)

    def inlines(self, function: Fn) -> bool:
        """Whether `function` is being inlined already, here or further out."""
        return self.function is function or (self.caller is not None and self.caller.inlines(function))

    def place(self, span: Span) -> Span:
        """The place in the user's own files that brought the code at `span` about."""
        frame: Frame | None = self
        while span.source == self.standard and frame is not None and frame.call is not None:
            span, frame = frame.call, frame.caller
        return span

    def notes(self, span: Span) -> tuple[Note, ...]:
        """How a fault at `span` came about: the place in the standard library, then the user's own calls."""
        found = []
        frame: Frame | None = self
        if span.source == self.standard and self.function is not None:
            found.append(Note(f"this happens in `{self.function.name.text}`", span))
        while frame is not None and frame.call is not None and frame.function is not None:
            if frame.function.span.source != self.standard:
                found.append(Note(f"`{frame.function.name.text}` is called here", frame.call))
            frame = frame.caller
        return tuple(found[:_NOTES])
