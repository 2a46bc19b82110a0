"""The axes of a random spec: which there are, how they are stored, what makes their extents known."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from random import Random

LEAD = "..."

PACKED = {"i4": "i8", "u4": "u8", "f4e2m1": "f8e4m3"}
"""Numbers of four bits, and what holds the same ones in a byte each."""


@dataclass(slots=True)
class Axes:
    """`kept` axes and `inner` ones as the op begins, and those that its statements add.

    `composed` inner axes, two of them, make one stored dimension wherever a tensor has both.
    """

    kept: tuple[str, ...]
    inner: tuple[str, ...]
    composed: bool = False
    solving: tuple[str, ...] = ()
    """Parameters without which an extent would not be known."""
    conditions: list[str] = field(default_factory=list)
    unsaid: list[str] = field(default_factory=list)
    """Equal extents that a `rename` says."""
    order: list[str] = field(default_factory=list)
    """All axes, in the order of the signature."""
    apart: dict[str, set[str]] = field(default_factory=dict)
    """How a named axis is taken apart: in "halves", in "pairs"."""
    multiples: dict[str, int] = field(default_factory=dict)
    """What the extent of a named axis has to be a multiple of."""
    wholes: dict[str, str] = field(default_factory=dict)
    """Of a part of an axis, the axis."""

    def __post_init__(self) -> None:
        self.order = [*self.kept, *self.inner]

    def ordered(self, axes: Collection[str]) -> tuple[str, ...]:
        """`axes` in the order of the signature."""
        return tuple(axis for axis in self.order if axis in axes)

    def dims(self, axes: Collection[str], random: Random) -> str:
        """The dimensions of a tensor with these axes, as a signature writes them; at times in another order."""
        listed = list(self.ordered(axes))
        lead = [axis for axis in listed if axis == LEAD]
        dims = listed[len(lead) :]
        if self.composed and set(self.inner) <= set(dims):
            place = dims.index(self.inner[0])
            dims = [axis for axis in dims if axis not in self.inner]
            dims.insert(place, "*".join(self.inner))
        if random.random() < 0.12:
            random.shuffle(dims)
        if random.random() < 0.05:
            # One position, which no value has an axis for.
            dims.insert(random.randint(0, len(dims)), "1")
        return ", ".join((*lead, *dims))

    def stored(self, element: str, axes: Collection[str], random: Random) -> tuple[str, str]:
        """An element and the dimensions of a tensor of it; numbers of four bits are stored in pairs, if they can be."""
        dims = self.dims(axes, random)
        if element in PACKED and self.half(dims.split(", ")[-1].split("*")[-1], "pairs") is None:
            element = PACKED[element]
        return element, dims

    def add(self, stem: str, behind: str | None = None) -> str:
        """A new axis called `stem` and a number, last in the order or behind another one."""
        name = f"{stem}{sum(axis.startswith(stem) for axis in self.order)}"
        self.place(name, behind)
        return name

    def place(self, axis: str, behind: str | None = None) -> None:
        """Give an axis its place in the order, unless it has one."""
        if axis not in self.order:
            self.order.insert(len(self.order) if behind is None else self.order.index(behind) + 1, axis)

    def equal(self, one: str, other: str, random: Random) -> None:
        """Note that two extents are equal, which the signature may leave to the `rename` that says so."""
        (self.conditions if random.random() < 0.6 else self.unsaid).append(f"{one} == {other}")

    def free(self, axis: str) -> bool:
        """Whether another axis may have the extent of `axis` beside it: it has a name, and may be short."""
        return axis.isalnum() and axis[0].isalpha() and not any(f"{axis} ==" in each for each in self.conditions)

    def half(self, axis: str, how: str) -> str | None:
        """The axis of the halves or pairs of `axis`; None where it has none."""
        base, _, by = axis.partition("/")
        if base.isdigit():
            part = str(int(base) // 2) if int(base) % 4 == 0 else None
        elif not base.isalnum() or by not in ("", "2"):
            return None
        else:
            self.apart.setdefault(axis, set()).add(how)
            # Halves and pairs of one axis together need quarters of it, and of a half eighths of the whole.
            ways = len(self.apart.get(base, ())) * (
                2 * len(self.apart[f"{base}/2"]) if f"{base}/2" in self.apart else 1
            )
            self.multiples[base] = max(2 * ways, self.multiples.get(base, 1))
            part = f"{base}/{int(by or 1) * 2}"
        if part is not None:
            self.place(part, axis)
            self.wholes[part] = axis
        return part

    def meet(self, axes: Collection[str]) -> bool:
        """Whether a value may have all of these axes: not too many, and none of them beside a part of it."""
        return len(axes) <= 4 and not any(self._whole(axis) & set(axes) for axis in axes)

    def _whole(self, axis: str) -> set[str]:
        found = set()
        while axis in self.wholes:
            axis = self.wholes[axis]
            found.add(axis)
        return found

    def all_known(self, params: Collection[str]) -> set[str]:
        """The axes that a given parameter tells."""
        given = " ".join(param for param in params if "=" not in param)
        return {axis for axis in self.order if axis == LEAD or re.search(rf"[\[(, *]{re.escape(axis)}[\]), *]", given)}

    @property
    def declared(self) -> list[str]:
        """The conditions of the signature."""
        return [*self.conditions, *(f"{axis} % {number} == 0" for axis, number in self.multiples.items())]


def random_axes(random: Random) -> Axes:
    """Axes of one of the shapes that ops have."""
    kept = random.choice(((LEAD,), (LEAD,), ("M",), ("M",), ("B", "S"), (LEAD, "M"), ()))
    shapes = (_single, _single, _single, _separate, _heads, _heads, _groups, _sum, _literal, _fixed, _gated)
    axes = random.choice(shapes)(kept, random)
    if random.random() < 0.1:
        named = [axis for axis in axes.order if axis.isalpha()]
        axes.conditions += [random.choice(_HARMLESS).format(random.choice(named))] if named else []
    return axes


_HARMLESS = ("{0} >= 0", "{0} != 5", "{0} <= 4096", "{0} * 2 < 9000", "{0} // 3 <= 2000", "{0} - 1 < 4096")
"""Conditions that most extents meet."""


def _single(kept: tuple[str, ...], random: Random) -> Axes:
    return Axes(kept, ("N",))


def _separate(kept: tuple[str, ...], random: Random) -> Axes:
    return Axes(kept, ("H", "D"))


def _heads(kept: tuple[str, ...], random: Random) -> Axes:
    axis = random.choice("HD")
    return Axes(kept, ("H", "D"), composed=True, solving=(f"size: dim({axis})",))


def _groups(kept: tuple[str, ...], random: Random) -> Axes:
    return Axes(kept, ("G", "L"), composed=True, conditions=["L == 16"])


def _sum(kept: tuple[str, ...], random: Random) -> Axes:
    """One axis in two parts, of which the first may be a single position, which no value has an axis for."""
    if random.random() < 0.3:
        return _parted(Axes(kept, ("1 + N",)))
    return _parted(Axes(kept, ("P + Q",), solving=(f"size: dim({random.choice('PQ')})",)))


def _parted(axes: Axes) -> Axes:
    (whole,) = axes.inner
    for part in reversed(whole.split(" + ")):
        if part.isalpha():
            axes.place(part, whole)
            axes.wholes[part] = whole
    return axes


def _literal(kept: tuple[str, ...], random: Random) -> Axes:
    extent = str(random.choice((4, 8, 12, 16)))
    return Axes(kept, random.choice(((extent,), (extent, "N"), ("N", extent))))


def _fixed(kept: tuple[str, ...], random: Random) -> Axes:
    return Axes(kept, ("N",), conditions=[f"N == {random.choice((8, 24, 40, 64))}"])


def _gated(kept: tuple[str, ...], random: Random) -> Axes:
    return Axes(kept, random.choice((("2", "N"), ("N", "2"))), composed=True)
