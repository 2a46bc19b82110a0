"""What patching a model does, or would do: which modules are computed by which ops, and which stay as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from fusec.conversion.report import Conversion, size


@dataclass(frozen=True, slots=True)
class Entry:
    """A module by its name in the model and its class, and the `ops` that compute it, or why it is `left`.

    `before` and `after` count its launches for one token, of PyTorch's operators and of ours.
    """

    name: str
    kind: str
    ops: str = ""
    left: str = ""
    before: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """All modules that were looked at. `dry` says that nothing was changed.

    `errors` has a line for every linear layer that is multiplied in FP8, where that was asked for.
    """

    entries: tuple[Entry, ...]
    dry: bool
    errors: Conversion | None = None

    @property
    def patched(self) -> tuple[Entry, ...]:
        """Those that ops of ours compute."""
        return tuple(entry for entry in self.entries if entry.ops)

    @property
    def left(self) -> tuple[Entry, ...]:
        """Those that look as if they could be, and stay as they are."""
        return tuple(entry for entry in self.entries if entry.left)

    @property
    def before(self) -> int:
        """Launches for one token of what is patched, before."""
        return sum(entry.before for entry in self.patched)

    @property
    def after(self) -> int:
        """Launches for one token of what is patched, afterwards."""
        return sum(entry.after for entry in self.patched)

    def __str__(self) -> str:
        head = "would be computed by fusec" if self.dry else "computed by fusec"
        if not self.patched:
            lines = [f"nothing {head}"]
        else:
            lines = [f"{head}, {self.before} launches for a token before and {self.after} now:"]
            lines += _grouped((each.kind, f"{each.before} -> {each.after}", each.ops) for each in self.patched)
        if self.errors is not None:
            lines += _errors(self.errors)
        if self.left:
            lines += ["left as they are:", *_grouped((each.kind, each.left) for each in self.left)]
        return "\n".join(lines)


def _errors(found: Conversion) -> list[str]:
    """The linear layers of FP8 in two lines; those that stay for another reason than that nobody asked in one each."""
    known = [layer for layer in found.converted if layer.error is not None]
    if not known:
        return ["no linear layer is of FP8"]
    worst = max(known, key=lambda layer: layer.error or 0.0)
    added = sum(layer.after for layer in known) - sum(layer.before for layer in known)
    middle = median(layer.error or 0.0 for layer in known)
    return [
        f"{len(known)} linear layers in FP8, which take {size(added)} more (print .errors for all):",
        f"  error {middle:.2%} in the middle, {worst.error:.2%} at most, of {worst.names[0]}",
    ]


def _grouped(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Rows that are alike as one, with how many there are in front; columns under each other."""
    counted = Counter(rows)
    widths = [max(map(len, column)) for column in zip(*counted, strict=True)]
    lines = []
    for row, count in counted.items():
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(f"  {count:4} {'  '.join(cells)}".rstrip())
    return lines
