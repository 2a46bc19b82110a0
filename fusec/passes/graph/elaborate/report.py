"""The mistakes of a file, collected on the way."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from fusec.diagnostics import Diagnostic, Note, Source, Span
from fusec.ir.types import DTYPES
from fusec.lang import habits


class Fault(Exception):
    """A mistake, told to whoever knows what depends on it, and reports it."""

    def __init__(self, message: str, span: Span, help: str | None = None, notes: tuple[Note, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.help = help
        self.notes = notes


class Report:
    """Collects diagnostics; the same message at the same place counts once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Source, int, int, str], Diagnostic] = {}

    def add(self, message: str, span: Span, *notes: Note, help: str | None = None) -> None:
        key = (span.source, span.start, span.end, message)
        self._found.setdefault(key, Diagnostic(message, span, notes, help))

    def __len__(self) -> int:
        return len(self._found)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return tuple(self._found.values())


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A help text that offers the known name nearest to `name`, if any is near."""
    names = sorted(set(known))
    lowered = {n.lower(): n for n in names}
    near = get_close_matches(name, names, n=1, cutoff=0.6) or [
        lowered[n] for n in get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.7)
    ]
    return f"did you mean `{near[0]}`?" if near else None


def near_function(name: str, known: Iterable[str]) -> str | None:
    """A help text that offers the function that `name` may mean."""
    return habits.FUNCTIONS.get(name) or did_you_mean(name, known)


def near_dtype(name: str) -> str | None:
    """A help text that offers the dtype that `name` may mean."""
    return f"did you mean `{habits.DTYPES[name]}`?" if name in habits.DTYPES else did_you_mean(name, DTYPES)


def listing(names: Iterable[object], last: str = "and") -> str:
    """`a`, `b` and `c`."""
    quoted = [f"`{name}`" for name in names]
    return f" {last} ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted) or "none"
