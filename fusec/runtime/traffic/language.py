"""Triton's language on symbolic tiles: loads, stores and products are counted, all else has the shape it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import torch
import triton.language as tl

from fusec.runtime.tensor_map import TmaView
from fusec.runtime.traffic.points import Number, Points
from fusec.runtime.traffic.tiles import ALWAYS, Element, Line, Mask, Pointer, Shape, Tile, broadcast, flat, tile


class Language:
    """Stands for `triton.language` while the text of a kernel runs. What it does not know works lane by lane."""

    def __init__(self, points: Points, programs: int) -> None:
        self._points = points
        self._programs = programs

    def __getattr__(self, name: str) -> Any:
        known = getattr(tl, name, None)
        return known if isinstance(known, tl.dtype) else lanewise

    # Where the kernel is

    def program_id(self, axis: int) -> Tile:
        return Tile((), Line(torch.arange(self._programs) if axis == 0 else 0, ()))

    def num_programs(self, axis: int) -> int:
        return self._programs if axis == 0 else 1

    def range(self, *bounds: Any, **_options: Any) -> Iterator[Tile]:
        """The steps of a loop, all at once."""
        begin, end, step = (0, *bounds, 1) if len(bounds) == 1 else (*bounds, 1)[:3]
        count = -((tile(begin) - end) // step)
        assert count.line is not None
        assert count.line.is_flat
        most = count.line.base if isinstance(count.line.base, torch.Tensor) else max(count.line.base, 0)
        with self._points.steps(most) as number:
            if number.numel():
                yield tile(begin) + Tile((), Line(number, ())) * step

    @staticmethod
    def static_range(*bounds: int) -> Sequence[int]:
        return range(*bounds)

    def when(self, test: Any) -> Iterator[None]:
        """The body of a branch: once, for the points that take it."""
        if not isinstance(test, Mask | Tile):
            yield from [None] if test else []
            return
        with self._points.only(self._where(test)):
            yield None

    def unless(self, test: Any) -> Iterator[None]:
        """The body of the other branch."""
        if not isinstance(test, Mask | Tile):
            yield from [] if test else [None]
            return
        where = self._where(test)
        with self._points.only(1 - where):
            yield None

    def _where(self, test: Mask | Tile) -> Number:
        if isinstance(test, Tile) or not test.is_counted:
            self._points.is_exact = False
            return 1
        where: Number = 1
        for factor in test.lanes(()):
            where = where * factor
        return where

    @staticmethod
    def where(test: Any, value: Any, other: Any) -> Any:
        """One of two values, as it is if the test is the same for all points."""
        taken = value if test is True else other
        if isinstance(test, bool) and broadcast(taken) == broadcast(value, other):
            return taken
        return lanewise(test, value, other)

    # Memory

    def load(self, pointer: Pointer, mask: Any = None, other: Any = None, **_options: Any) -> Tile:
        shape = broadcast(pointer, mask)
        self._moved(self._points.read, pointer, mask, shape)
        return Tile(shape)

    def store(self, pointer: Pointer, value: Any, mask: Any = None, **_options: Any) -> None:
        self._moved(self._points.written, pointer, mask, broadcast(pointer, mask, value))

    def atomic_add(self, pointer: Pointer, value: Any, mask: Any = None, **_options: Any) -> Tile:
        self.store(pointer, value, mask)
        return self.load(pointer, mask)

    atomic_max = atomic_min = atomic_xchg = atomic_and = atomic_or = atomic_xor = atomic_add

    def _moved(self, counted: Any, pointer: Pointer, mask: Any, shape: Shape) -> None:
        mask = ALWAYS if mask is None or mask is True else mask
        if not isinstance(mask, Mask) or not mask.is_counted:
            self._points.is_exact = False
        lanes = mask.lanes(shape) if isinstance(mask, Mask) else shape
        counted[pointer.name] += pointer.itemsize * self._points.total(*lanes)

    # Tiles

    @staticmethod
    def pointer_type(kind: tl.dtype) -> Element:
        return Element(kind.primitive_bitwidth)

    @staticmethod
    def multiple_of(value: Any, _factors: Any) -> Any:
        return value

    @staticmethod
    def arange(begin: int, end: int) -> Tile:
        return Tile((end - begin,), Line(begin, (1,)))

    @staticmethod
    def full(shape: Sequence[int], *_value: Any, **_named: Any) -> Tile:
        return Tile(tuple(map(int, shape)))

    zeros = full

    @staticmethod
    def cast(value: Any, *_type: Any, **_named: Any) -> Any:
        return value

    @staticmethod
    def cdiv(size: Any, block: Any) -> Any:
        return -(-size // block)

    @staticmethod
    def minimum(a: Any, b: Any, **_named: Any) -> Any:
        return min(a, b) if isinstance(a, int) and isinstance(b, int) else flat(torch.minimum, a, b)

    @staticmethod
    def maximum(a: Any, b: Any, **_named: Any) -> Any:
        return max(a, b) if isinstance(a, int) and isinstance(b, int) else flat(torch.maximum, a, b)

    @staticmethod
    def reduce(value: Tile, axis: int | None = None, *_function: Any, keep_dims: bool = False, **_named: Any) -> Tile:
        if axis is None:
            return Tile()
        axis %= max(len(value.shape), 1)
        kept = (1,) if keep_dims else ()
        return Tile((*value.shape[:axis], *kept, *value.shape[axis + 1 :]))

    sum = max = min = argmax = argmin = reduce

    @staticmethod
    def join(a: Any, b: Any) -> Tile:
        return Tile((*broadcast(a, b), 2))

    @staticmethod
    def split(value: Tile) -> tuple[Tile, Tile]:
        return value.split()

    @staticmethod
    def trans(value: Tile, *_order: Any) -> Tile:
        return value.T

    @staticmethod
    def reshape(value: Tile, *shape: Any) -> Tile:
        return value.reshape(*shape)

    @staticmethod
    def permute(value: Tile, *order: Any) -> Tile:
        return value.permute(*order)

    @staticmethod
    def broadcast_to(_value: Any, *shape: Any) -> Tile:
        return Tile().reshape(*shape)

    @staticmethod
    def debug_barrier() -> None:
        return None

    def dot(self, a: Tile, b: Tile, *_total: Any, **_options: Any) -> Tile:
        self._points.flops += self._points.total(2 * prod(a.shape) * b.shape[-1])
        return Tile((*a.shape[:-1], b.shape[-1]))

    def dot_scaled(self, a: Tile, _a: Tile, a_kind: str, b: Tile, *_total: Any) -> Tile:
        numbers = prod(a.shape) * (2 if a_kind == "e2m1" else 1)
        self._points.flops += self._points.total(2 * numbers * b.shape[-1])
        return Tile((*a.shape[:-1], b.shape[-1]))


class Descriptor:
    """A tensor map: what a tile has outside of the tensor is not moved."""

    dtype = None

    def __init__(self, points: Points, view: TmaView) -> None:
        self._points = points
        self._view = view
        self._tile = view.tile if len(view.names) == 1 else (len(view.names), *view.tile)

    def load(self, corner: Sequence[Any]) -> Tile:
        self._moved(self._points.read, corner)
        return Tile(self._tile)

    def store(self, corner: Sequence[Any], _value: Any) -> None:
        self._moved(self._points.written, corner)

    def _moved(self, counted: Any, corner: Sequence[Any]) -> None:
        view = self._view
        lanes: list[Number] = []
        for size, begin, wide in zip(view.shape, corner[-len(view.shape) :], view.tile, strict=True):
            inside = tile(begin) + Tile((wide,), Line(0, (1,))) < size
            lanes += inside.lanes((wide,))
        for name in view.names:
            counted[name] += view.itemsize * self._points.total(*lanes)


def lanewise(*values: Any, **_named: Any) -> Tile:
    """What is made of values lane by lane."""
    return Tile(broadcast(*values))
