"""What patching a model does, or would do: which modules are computed by which ops, and which stay as they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A module by its name in the model and its class, and the `ops` that compute it, or why it is `left`."""

    name: str
    kind: str
    ops: str = ""
    left: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All modules that were looked at. `dry` says that nothing was changed."""

    entries: tuple[Entry, ...]
    dry: bool

    @property
    def patched(self) -> tuple[Entry, ...]:
        """Those that ops of ours compute."""
        return tuple(entry for entry in self.entries if entry.ops)

    @property
    def left(self) -> tuple[Entry, ...]:
        """Those that look as if they could be, and stay as they are."""
        return tuple(entry for entry in self.entries if entry.left)

    def __str__(self) -> str:
        lines = ["would be computed by fusec:" if self.dry else "computed by fusec:"]
        lines += _grouped([(entry.kind, entry.ops) for entry in self.patched]) or ["  nothing"]
        if self.left:
            lines += ["left as they are:", *_grouped([(entry.kind, entry.left) for entry in self.left])]
        return "\n".join(lines)


def _grouped(rows: list[tuple[str, str]]) -> list[str]:
    counted = Counter(rows)
    width = max((len(kind) for kind, _ in counted), default=0)
    return [f"  {count:4} {kind:{width}}  {text}" for (kind, text), count in counted.items()]
