"""Shapes and strides as plain tuples: what a plan depends on, and how leading axes collapse into two."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TypeAlias

import torch

_StridedAxis: TypeAlias = tuple[int, tuple[int, ...]]
"""The size of an axis and its stride in each of several tensors."""


def layout(tensor: torch.Tensor | None) -> object:
    """Everything about an argument that a plan may depend on, as a dictionary key.

    Triton compiles for the 16-byte alignment of every pointer, so the address is part of it, modulo 16.
    """
    if tensor is None:
        return None
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device, tensor.data_ptr() & 15


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of a row-major tensor of this shape, in elements."""
    sizes = [max(size, 1) for size in shape]
    return tuple(prod(sizes[dim + 1 :]) for dim in range(len(sizes)))


def squeeze(tensor: torch.Tensor | None, rank: int) -> torch.Tensor | None:
    """A view of `tensor` with its first size-1 dimensions dropped until `rank` remain; no further than it goes.

    So rotary tables of shape [1, S, 1, D] can be passed where [S, D] is declared.
    """
    if tensor is None or tensor.dim() <= rank:
        return tensor
    dim = 0
    while tensor.dim() > rank and dim < tensor.dim():
        if tensor.shape[dim] == 1:
            tensor = tensor.squeeze(dim)
        else:
            dim += 1
    return tensor


def lengthen(tensor: torch.Tensor | None, rank: int, most: int) -> torch.Tensor | None:
    """A view of `tensor` with dimensions of size 1 before its own, `most` at most, for `rank` of them."""
    if tensor is None or not rank - most <= tensor.dim() < rank:
        return tensor
    return tensor[(None,) * (rank - tensor.dim())]


def repeat(tensor: torch.Tensor | None, shape: Sequence[int]) -> torch.Tensor | None:
    """A view of `tensor` of that `shape`, the same along dimensions that it lacks or has once."""
    return None if tensor is None else tensor.expand(tuple(shape))


@dataclass(frozen=True, slots=True)
class Lead:
    """The leading axes of several tensors as at most two axes of a kernel.

    Row r, counted from 0 to `count`, lies at `(r // inner) * outer_stride + (r % inner) * inner_stride` of a tensor.
    `inner` is 1 when one axis is enough. Axes that fit in neither become several launches, one per entry of `offsets`.
    """

    count: int
    inner: int
    strides: tuple[tuple[int, int], ...]
    """For every tensor its outer and its inner stride, in elements."""
    offsets: tuple[tuple[int, ...], ...]
    """For every launch the element offset of each tensor."""


def collapse(shape: Sequence[int], *strides: Sequence[int]) -> Lead:
    """The axes of `shape`, which several tensors share, joined wherever the `strides` of all of them allow it.

    The two longest axes that remain are the kernel's. Broadcast axes (stride 0) are fine; an extent of 0 gives no rows.
    """
    still = tuple(0 for _ in strides)
    if 0 in shape:
        return Lead(0, 1, tuple((0, 0) for _ in strides), (still,))
    axes = join_axes(zip(shape, *strides, strict=True))
    longest = sorted(range(len(axes)), key=lambda axis: axes[axis][0])[-2:]
    outer, inner, *_ = (*(axes[axis] for axis in sorted(longest)), (1, still), (1, still))
    repeated = [axis for number, axis in enumerate(axes) if number not in longest]
    return Lead(
        outer[0] * inner[0],
        inner[0],
        tuple(zip(outer[1], inner[1], strict=True)),
        tuple(
            _offsets(position, repeated, len(strides)) for position in product(*(range(size) for size, _ in repeated))
        ),
    )


def join_axes(axes: Iterable[tuple[int, ...]]) -> list[_StridedAxis]:
    """Axes, each a size and its strides in several tensors, joined wherever all of the strides allow it.

    Axes of one element are left out; one of none is all that is left.
    """
    joined: list[_StridedAxis] = []
    for size, *steps in axes:
        if size == 1:
            continue
        if size == 0:
            return [(0, tuple(0 for _ in steps))]
        if joined and all(outer == inner * size for outer, inner in zip(joined[-1][1], steps, strict=True)):
            joined[-1] = (joined[-1][0] * size, tuple(steps))
        else:
            joined.append((size, tuple(steps)))
    return joined


def _offsets(position: Sequence[int], axes: Sequence[_StridedAxis], tensors: int) -> tuple[int, ...]:
    terms = list(zip(position, axes, strict=True))
    return tuple(sum(index * steps[tensor] for index, (_, steps) in terms) for tensor in range(tensors))
