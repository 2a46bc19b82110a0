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
    conditions: list[str] = field(default_factory=list)

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

    def make_even(self, axis: str) -> bool:
        """Require an even extent of `axis`; false if it has no halves."""
        if not axis.isalnum():
            return False
        if f"{axis} % 2 == 0" not in self.conditions and not any(c.startswith(f"{axis} ==") for c in self.conditions):
            self.conditions.append(f"{axis} % 2 == 0")
        return True


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
    return Axes(kept, ("G", "L"), composed=True, conditions=["L == 16"])


def _sum(kept: tuple[str, ...]) -> Axes:
    return Axes(kept, ("P + Q",), solving=("front: f32[P]",))
