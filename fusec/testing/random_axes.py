"""The axes of a random spec: which there are, how they are stored, what makes their extents known."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from random import Random

LEAD = "..."


@dataclass(slots=True)
class Axes:
    """`kept` axes and `inner` ones, along which there are reductions.

    `composed` inner axes, two of them, make one stored dimension wherever a tensor has both.
    """

    kept: tuple[str, ...]
    inner: tuple[str, ...]
    composed: bool = False
    solving: tuple[str, ...] = ()
    """Parameters without which an extent would not be known."""
    fixed: dict[str, int] = field(default_factory=dict)
    apart: dict[str, set[str]] = field(default_factory=dict)

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.kept, *self.inner)

    def ordered(self, axes: Collection[str]) -> tuple[str, ...]:
        """`axes` in the order of the signature."""
        return tuple(axis for axis in self.all if axis in axes)

    def dims(self, axes: Collection[str], random: Random) -> str:
        """The dimensions of a tensor with these axes, as a signature writes them; at times in another order."""
        kept = [axis for axis in self.kept if axis in axes]
        inner = [axis for axis in self.inner if axis in axes]
        if self.composed and len(inner) == 2:
            inner = ["*".join(inner)]
        if LEAD not in kept and kept and inner and random.random() < 0.1:
            return ", ".join((*inner, *kept))
        return ", ".join((*kept, *inner))

    def take_apart(self, axis: str, how: str) -> bool:
        """Note that `axis` is taken in "halves" or "pairs"; false if it cannot be."""
        if axis.isalnum():
            self.apart.setdefault(axis, set()).add(how)
        return axis.isalnum()

    @property
    def conditions(self) -> list[str]:
        """What must hold of the extents: halves and pairs of one axis together need quarters of it."""
        open_axes = {axis: how for axis, how in self.apart.items() if axis not in self.fixed}
        return [
            *(f"{axis} == {extent}" for axis, extent in self.fixed.items()),
            *(f"{axis} % {2 * len(how)} == 0" for axis, how in open_axes.items()),
        ]


def random_axes(random: Random) -> Axes:
    """Axes of one of the shapes that row ops have."""
    kept = random.choice(((LEAD,), (LEAD,), ("M",), ("B", "S"), ()))
    return random.choice((_single, _single, _separate, _heads, _heads, _groups, _sum))(kept)


def _single(kept: tuple[str, ...]) -> Axes:
    return Axes(kept, ("N",))


def _separate(kept: tuple[str, ...]) -> Axes:
    return Axes(kept, ("H", "D"))


def _heads(kept: tuple[str, ...]) -> Axes:
    return Axes(kept, ("H", "D"), composed=True, solving=("heads: dim(H)",))


def _groups(kept: tuple[str, ...]) -> Axes:
    return Axes(kept, ("G", "L"), composed=True, fixed={"L": 16})


def _sum(kept: tuple[str, ...]) -> Axes:
    return Axes(kept, ("P + Q",), solving=("front: f32[P]",))
