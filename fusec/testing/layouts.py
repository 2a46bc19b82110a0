"""The ways a tensor of a given shape may lie in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from types import MappingProxyType
from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Strides in elements, and how far the tensor starts from a boundary of 16 bytes.

    `distinct` is the shape of the elements that have a place of their own: 1 along a broadcast dimension.
    """

    strides: tuple[int, ...]
    distinct: Shape
    offset: int = 0


def strides_of(shape: Shape, order: tuple[int, ...] | None = None, step: int = 1, gaps: Shape = ()) -> tuple[int, ...]:
    """Strides of a tensor whose dimensions vary in memory from the first of `order`, slowest, to the last.

    The fastest one takes every `step`-th element. A tensor of which this is a part is larger by `gaps`: by the first
    number along the fastest dimension, by the second along the next one.
    """
    strides = [0] * len(shape)
    pitch = step
    fastest_first = reversed(order if order is not None else tuple(range(len(shape))))
    for dim, gap in zip_longest(fastest_first, gaps[: len(shape)], fillvalue=0):
        strides[dim] = pitch
        pitch *= max(shape[dim], 1) + gap
    return tuple(strides)


def _contiguous(shape: Shape) -> Layout:
    return Layout(strides_of(shape), shape)


def _stepped(shape: Shape) -> Layout:
    return Layout(strides_of(shape, step=2), shape)


def _sliced(shape: Shape) -> Layout:
    return Layout(strides_of(shape, gaps=(3,)), shape, offset=3)


def _sliced_all_over(shape: Shape) -> Layout:
    """Of a tensor that is larger along every dimension: no two of them can be taken for one."""
    return Layout(strides_of(shape, gaps=(8, 1, 2, 1, 1)), shape)


def _transposed(shape: Shape) -> Layout:
    rank = len(shape)
    order = (*range(rank - 2), rank - 1, rank - 2) if rank > 1 else tuple(range(rank))
    return Layout(strides_of(shape, order), shape)


def _reversed(shape: Shape) -> Layout:
    return Layout(strides_of(shape, tuple(reversed(range(len(shape))))), shape)


def _misaligned(shape: Shape) -> Layout:
    return Layout(strides_of(shape), shape, offset=1)


def _broadcast(shape: Shape) -> Layout:
    if not shape:
        return Layout((), ())
    return Layout((0, *strides_of(shape[1:])), (min(shape[0], 1), *shape[1:]))


def _broadcast_inner(shape: Shape) -> Layout:
    if not shape:
        return Layout((), ())
    return Layout((*strides_of(shape[:-1]), 0), (*shape[:-1], min(shape[-1], 1)))


LAYOUTS: MappingProxyType[str, Callable[[Shape], Layout]] = MappingProxyType(
    {
        "contiguous": _contiguous,
        "stepped": _stepped,
        "sliced": _sliced,
        "sliced_all_over": _sliced_all_over,
        "transposed": _transposed,
        "reversed": _reversed,
        "misaligned": _misaligned,
        "broadcast": _broadcast,
        "broadcast_inner": _broadcast_inner,
    }
)

BOXED = frozenset({"contiguous", "sliced_all_over"})
"""Layouts that TMA can move where extents are multiples of 16 bytes."""

OVERLAPPING = frozenset({"broadcast", "broadcast_inner"})
"""Layouts in which elements share a place: only for tensors that are read."""
