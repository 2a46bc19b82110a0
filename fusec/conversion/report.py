"""What converting a model did, or would do: a line for every linear layer, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf, sqrt

import torch

from fusec.runtime.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer under all its names in the model: `kept` says why it stays, and nothing where it does not.

    `before` and `after` are bytes of its weights; those that other layers of the table own as well count in the first
    of them. `error` is the root mean square of what results differ by, by that of results, where there were samples.
    """

    names: tuple[str, ...]
    kind: str
    shape: tuple[int, int]
    before: int
    after: int
    error: float | None = None
    kept: str = ""


@dataclass(frozen=True)
class Conversion:
    """The layers of a model, which prints as a table."""

    target: str
    layers: tuple[Layer, ...]
    dry_run: bool
    _undo: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    @property
    def converted(self) -> tuple[Layer, ...]:
        """The layers that are, or would be, converted."""
        return tuple(layer for layer in self.layers if not layer.kept)

    @property
    def before(self) -> int:
        """Bytes of the weights of all layers."""
        return sum(layer.before for layer in self.layers)

    @property
    def after(self) -> int:
        """Bytes of what all layers hold afterwards, values that calls keep beside weights among them."""
        return sum(layer.after for layer in self.layers)

    def undo(self) -> None:
        """Put the layers back that were there. Raises `ArgumentError` where they are gone, or nothing was converted."""
        if self._undo is None:
            why = "nothing was converted" if self.dry_run else "the float weights were dropped"
            raise ArgumentError(f"undo: {why}, so there is nothing to put back", None, None, None)
        self._undo()

    def __str__(self) -> str:
        verb = "would become" if self.dry_run else "became"
        head = f"{len(self.converted)} of {len(self.layers)} linear layers {verb} {self.target}"
        head += f": {size(self.before)} -> {size(self.after)}"
        rows = [("layer", "was", "out x in", "before", "after", "error", "kept because"), *map(_row, self.layers)]
        if not any(row[-1] for row in rows[1:]):
            rows = [row[:-1] for row in rows]
        return "\n".join([head, *_aligned(rows)])


def _row(layer: Layer) -> tuple[str, ...]:
    names = " = ".join(name or "(the model)" for name in layer.names)
    error = "" if layer.error is None else f"{layer.error:.2%}"
    shape = f"{layer.shape[0]} x {layer.shape[1]}"
    return names, layer.kind, shape, size(layer.before), size(layer.after), error, layer.kept


def _aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Columns under each other, numbers to the right."""
    listed = list(rows)
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    return ["  ".join(map(_cell, row, widths, range(len(row)))).rstrip() for row in listed]


def _cell(text: str, width: int, place: int) -> str:
    return text.rjust(width) if 2 <= place <= 5 else text.ljust(width)


def size(count: int) -> str:
    """Bytes as text: `33.6 MB`."""
    value, units = float(count), ["B", "kB", "MB", "GB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.3g} {units[0]}"


@dataclass(slots=True)
class Difference:
    """How far results are from others, over several calls."""

    squares: float = 0.0
    wrong: float = 0.0
    calls: int = 0

    def add(self, result: torch.Tensor, right: torch.Tensor) -> None:
        """Count a call."""
        self.calls += 1
        self.squares += right.double().square().sum().item()
        self.wrong += (result.double() - right.double()).square().sum().item()

    @property
    def relative(self) -> float:
        """The root mean square of the differences, by that of the results."""
        if self.squares:
            return sqrt(self.wrong / self.squares)
        return inf if self.wrong else 0.0
