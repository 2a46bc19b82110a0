"""Symbolic tiles: their shapes, of indices how they follow from the lanes, and of masks which lanes they let through.

An index is a number plus so many times the lane along each dimension; only that is needed to count. A value in memory
is not known, nor is what is made of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch

from fusec.runtime.traffic.points import Number, aligned

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """`base` and for every dimension how much an index grows from lane to lane."""

    base: Number
    steps: tuple[int, ...]

    @property
    def is_flat(self) -> bool:
        """Whether all lanes have the same index."""
        return not any(self.steps)


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A tile of indices along a `line`, or of values that are not known."""

    shape: Shape = ()
    line: Line | None = None

    dtype = None

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Pointer):
            return other + self
        return _linear(self, other, 1)

    def __sub__(self, other: Any) -> Any:
        return _linear(self, other, -1)

    def __rsub__(self, other: Any) -> Any:
        return _linear(tile(other), self, -1)

    def __neg__(self) -> Tile:
        return _linear(tile(0), self, -1)

    def __mul__(self, other: Any) -> Any:
        mine, theirs = self.line, tile(other).line
        shape = broadcast(self, other)
        if mine is None or theirs is None or not (mine.is_flat or theirs.is_flat):
            return Tile(shape)
        flat, line = (mine, theirs) if mine.is_flat else (theirs, mine)
        if not line.is_flat and not isinstance(flat.base, int):
            return Tile(shape)
        by = flat.base
        steps = tuple(step * by for step in _padded(line.steps, shape)) if isinstance(by, int) else (0,) * len(shape)
        return Tile(shape, Line(_numbers(torch.mul, line.base, by), steps))

    def __floordiv__(self, other: Any) -> Tile:
        return flat(_quotient, self, other)

    def __mod__(self, other: Any) -> Tile:
        return flat(_rest, self, other)

    def __rfloordiv__(self, other: Any) -> Tile:
        return flat(_quotient, tile(other), self)

    def __rmod__(self, other: Any) -> Tile:
        return flat(_rest, tile(other), self)

    def _unknown(self, other: Any = 0) -> Tile:
        return Tile(broadcast(self, other))

    __radd__ = __add__
    __rmul__ = __mul__
    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __lshift__ = __rshift__ = __xor__ = __rxor__ = _unknown
    __and__ = __rand__ = __or__ = __ror__ = __rlshift__ = __rrshift__ = _unknown
    __invert__ = __abs__ = _unknown

    def __lt__(self, other: Any) -> Mask:
        return _compared(_linear(tile(other), self, -1))

    def __gt__(self, other: Any) -> Mask:
        return _compared(_linear(self, other, -1))

    def __le__(self, other: Any) -> Mask:
        return _compared(_linear(tile(other), self, -1) + 1)

    def __ge__(self, other: Any) -> Mask:
        return _compared(_linear(self, other, -1) + 1)

    def __eq__(self, other: Any) -> Any:
        return _compared(_linear(self, other, -1), is_zero=True)

    def __ne__(self, other: Any) -> Any:
        return Mask(broadcast(self, other), (), False)

    __hash__ = object.__hash__

    def __getitem__(self, places: Any) -> Tile:
        shape, steps = _expanded(self.shape, self.line.steps if self.line else (0,) * len(self.shape), places)
        return Tile(shape, None if self.line is None else Line(self.line.base, steps))

    def to(self, *_type: Any, **_named: Any) -> Tile:
        return self

    def reshape(self, *shape: Any) -> Tile:
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        return Tile(tuple(map(int, sizes)))

    def permute(self, *order: Any) -> Tile:
        places = order[0] if len(order) == 1 and isinstance(order[0], tuple | list) else order
        return Tile(tuple(self.shape[place] for place in places))

    def split(self) -> tuple[Tile, Tile]:
        return Tile(self.shape[:-1]), Tile(self.shape[:-1])

    @property
    def T(self) -> Tile:
        return Tile(self.shape[::-1])


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """The lanes at which all `terms`, one tile each, are above zero; with `zero` where they are zero.

    It `is_known` if these are all conditions: others depend on what lies in memory, and are taken to hold.
    """

    shape: Shape
    terms: tuple[tuple[Line, bool], ...]
    is_known: bool = True

    def __and__(self, other: Any) -> Mask:
        if isinstance(other, bool):
            return self if other else NEVER
        if not isinstance(other, Mask):
            return replace(self, is_known=False)
        shape = broadcast(self, other)
        terms = [
            (Line(line.base, _padded(line.steps, shape)), zero) for one in (self, other) for line, zero in one.terms
        ]
        return Mask(shape, tuple(terms), self.is_known and other.is_known)

    def __or__(self, other: Any) -> Mask:
        if isinstance(other, bool):
            return Mask(self.shape, ()) if other else self
        return Mask(broadcast(self, other), (), False)

    __rand__ = __and__
    __ror__ = __or__

    def __invert__(self) -> Mask:
        return Mask(self.shape, (), False)

    def __getitem__(self, places: Any) -> Mask:
        shape, _ = _expanded(self.shape, (0,) * len(self.shape), places)
        terms = ((Line(line.base, _expanded(self.shape, line.steps, places)[1]), zero) for line, zero in self.terms)
        return Mask(shape, tuple(terms), self.is_known)

    def to(self, *_type: Any) -> Tile:
        return Tile(self.shape)

    def lanes(self, shape: Shape) -> list[Number]:
        """Numbers whose product counts the lanes of a tile of this shape that come through."""
        first: list[Number] = [0] * len(shape)
        end: list[Number] = list(shape)
        found: list[Number] = []
        for line, zero in self.terms:
            steps = _padded(line.steps, shape)
            moving = [dim for dim, step in enumerate(steps) if step]
            if not moving:
                found.append(torch.as_tensor(line.base == 0 if zero else line.base > 0).to(torch.int64))
            elif len(moving) == 1:
                low, high = _between(line.base, steps[moving[0]], zero)
                dim = moving[0]
                first[dim] = first[dim] if low is None else _numbers(torch.maximum, first[dim], low)
                end[dim] = end[dim] if high is None else _numbers(torch.minimum, end[dim], high)
        sizes = (_numbers(torch.sub, last, begin) for begin, last in zip(first, end, strict=True))
        return [*found, *(_numbers(torch.maximum, size, 0) for size in sizes)]

    @property
    def is_counted(self) -> bool:
        """Whether `lanes` has all its conditions."""
        return self.is_known and all(sum(map(bool, line.steps)) < 2 for line, _ in self.terms)


ALWAYS = Mask((), ())
NEVER = Mask((), ((Line(0, ()), False),))


@dataclass(frozen=True, slots=True)
class Element:
    """What `x_ptr.dtype.element_ty` is asked for."""

    primitive_bitwidth: int


@dataclass(frozen=True, slots=True)
class ElementType:
    """What `x_ptr.dtype` is asked for."""

    element_ty: Element


@dataclass(frozen=True, slots=True, eq=False)
class Pointer:
    """A tile of pointers into the buffer `name`, whose elements have `itemsize` bytes.

    What all lanes share of it is `at` so many bytes from a multiple of 16 of them.
    """

    name: str
    itemsize: int
    shape: Shape = ()
    at: Number | None = 0

    @property
    def dtype(self) -> ElementType:
        return ElementType(Element(8 * self.itemsize))

    def __add__(self, other: Any) -> Pointer:
        return self._moved(tile(other))

    def __sub__(self, other: Any) -> Pointer:
        return self._moved(-tile(other))

    __radd__ = __add__

    def _moved(self, by: Tile) -> Pointer:
        is_known = self.at is not None and by.line is not None and by.line.is_flat
        at = _linear(tile(self.at), by * self.itemsize, 1).line if is_known else None
        return replace(self, shape=broadcast(self, by), at=at.base if at else None)

    def to(self, kind: Any, **_named: Any) -> Any:
        """As a number, or as a pointer to elements of another size."""
        if isinstance(kind, Element):
            return replace(self, itemsize=kind.primitive_bitwidth // 8)
        return Tile() if self.at is None else Tile((), Line(self.at, ()))

    def __getitem__(self, places: Any) -> Pointer:
        return replace(self, shape=_expanded(self.shape, (0,) * len(self.shape), places)[0])


def tile(value: Any) -> Tile:
    """A value as a tile: a number is the same in all lanes."""
    if isinstance(value, Tile):
        return value
    if isinstance(value, int | torch.Tensor):
        return Tile((), Line(int(value) if isinstance(value, int) else value, ()))
    return Tile(getattr(value, "shape", ()))


def broadcast(*values: Any) -> Shape:
    """The shape of what is made of these values lane by lane."""
    shapes = [value.shape for value in values if isinstance(value, Tile | Mask | Pointer)]
    most = max(map(len, shapes), default=0)
    padded = [(1,) * (most - len(shape)) + shape for shape in shapes]
    return tuple(next((size for size in sizes if size != 1), 1) for sizes in zip(*padded, strict=True))


def flat(made: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], *values: Any) -> Tile:
    """What an operation makes of indices that are the same in all lanes; of others it is not known."""
    lines = [tile(value).line for value in values]
    shape = broadcast(*values)
    known = [line for line in lines if line is not None and line.is_flat]
    if len(known) < len(lines):
        return Tile(shape)
    return Tile(shape, Line(_numbers(made, *(line.base for line in known)), (0,) * len(shape)))


def _quotient(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.div(a, _divisor(b), rounding_mode="floor")


def _rest(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.remainder(a, _divisor(b))


def _divisor(b: torch.Tensor) -> torch.Tensor:
    """What is divided by. At points that a loop does not reach it may be 0, and anything else does as well."""
    return torch.where(b == 0, 1, b)


def _linear(one: Any, other: Any, sign: int) -> Tile:
    """`one + sign * other`."""
    shape, mine, theirs = broadcast(one, other), tile(one).line, tile(other).line
    if mine is None or theirs is None:
        return Tile(shape)
    pairs = zip(_padded(mine.steps, shape), _padded(theirs.steps, shape), strict=True)
    base = _numbers(torch.add if sign > 0 else torch.sub, mine.base, theirs.base)
    return Tile(shape, Line(base, tuple(a + sign * b for a, b in pairs)))


def _compared(difference: Tile, is_zero: bool = False) -> Mask:
    if difference.line is None:
        return Mask(difference.shape, (), False)
    return Mask(difference.shape, ((difference.line, is_zero),))


def _between(base: Number, step: int, is_zero: bool) -> tuple[Number | None, Number | None]:
    """From which lane on, and up to which, `base + step * lane` is above zero, or zero."""
    if is_zero:
        lane = _numbers(_quotient, _numbers(torch.mul, base, -1), step)
        rest = torch.as_tensor(base) + torch.as_tensor(lane) * step
        return lane, torch.as_tensor(lane) + (rest == 0)
    if step > 0:
        return _numbers(torch.add, _numbers(_quotient, _numbers(torch.mul, base, -1), step), 1), None
    return None, _numbers(torch.mul, _numbers(_quotient, _numbers(torch.mul, base, -1), -step), -1)


def _numbers(made: Callable[..., torch.Tensor], *numbers: Number) -> Number:
    result = made(*aligned(*numbers))
    return int(result) if all(isinstance(number, int) for number in numbers) else result


def _padded(steps: tuple[int, ...], shape: Shape) -> tuple[int, ...]:
    return (0,) * (len(shape) - len(steps)) + tuple(steps)


def _expanded(shape: Shape, steps: tuple[int, ...], places: Any) -> tuple[Shape, tuple[int, ...]]:
    """What `[:, None]` makes of a shape."""
    sizes, grown, kept = [], [], iter(zip(shape, steps, strict=True))
    for place in places if isinstance(places, tuple) else (places,):
        size, step = (1, 0) if place is None else next(kept)
        sizes.append(size)
        grown.append(step)
    return tuple(sizes), tuple(grown)
