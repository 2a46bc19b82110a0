"""Tensors with named axes: one tensor dimension per axis, aligned by name.

`...` is one dimension here: its axes are flattened when a tensor is loaded and restored when a result is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import assert_never

import torch
from torch import Tensor

from fusec.ir.expressions import Layout, Merge, Part
from fusec.ir.types import Axis, Dim, Sum, product_text, union, without
from fusec.reference.bind import Binding


@dataclass(frozen=True, slots=True)
class Array:
    """A tensor whose dimensions are `axes`, in this order, each of the full extent of its axis."""

    tensor: Tensor
    axes: tuple[Axis, ...]

    def along(self, axes: tuple[Axis, ...]) -> Tensor:
        """The tensor with its dimensions in the order of `axes`, of size 1 where it has no such axis."""
        missing = without(self.axes, axes)
        if missing:
            raise ValueError(f"{product_text(missing)} is no axis of the result")
        ordered = self.tensor.permute([self.axes.index(axis) for axis in axes if axis in self.axes])
        return ordered[tuple(slice(None) if axis in self.axes else None for axis in axes)]

    def over(self, axes: tuple[Axis, ...], binding: Binding) -> Tensor:
        """As `along`, repeated to the full extent of every axis."""
        return self.along(axes).expand([binding.extent(axis) for axis in axes])


def load(stored: Tensor, dims: tuple[Dim, ...], binding: Binding) -> Array:
    """A stored tensor with its dimensions split into axes."""
    axes = tuple(axis for dim in dims for axis in dim)
    return Array(stored.reshape([binding.extent(axis) for axis in axes]), axes)


def store(array: Array, dims: tuple[Dim, ...], binding: Binding) -> Tensor:
    """The stored form of `array`: every axis in its place, products flattened, missing axes repeated."""
    axes = tuple(axis for dim in dims for axis in dim)
    return array.over(axes, binding).reshape(binding.shape(dims))


def take_part(expr: Part, whole: Array, axes: tuple[Axis, ...], binding: Binding) -> Array:
    """Part `expr.index` of `whole` along `expr.axis`; `axes` are those of the result."""
    rest = without(whole.axes, (expr.axis,))
    values = whole.along((*rest, expr.axis))
    size, outer = binding.extent(expr.axis), values.shape[:-1]
    match expr.layout:
        case Layout.HALVES:
            part = values.reshape(*outer, 2, size // 2)[..., expr.index, :]
        case Layout.PAIRS:
            part = values.reshape(*outer, size // 2, 2)[..., expr.index]
        case Layout.PARTS:
            assert isinstance(expr.axis, Sum)
            sizes = [binding.size(part) for part in expr.axis.parts]
            piece = values.narrow(-1, sum(sizes[: expr.index]), sizes[expr.index])
            part = piece.reshape([*outer, *(binding.extent(axis) for axis in expr.axis.parts[expr.index])])
        case _:
            assert_never(expr.layout)
    new = without(axes, rest)
    return Array(part.reshape([*outer, *(binding.extent(axis) for axis in new)]), (*rest, *new))


def merge_parts(expr: Merge, parts: tuple[Array, ...], axes: tuple[Axis, ...], binding: Binding) -> Array:
    """`parts` joined into one axis; `axes` are those of the result."""
    rest = without(axes, (expr.axis,))
    if expr.layout is Layout.PARTS:
        assert isinstance(expr.axis, Sum)
        own = expr.axis.parts
    else:
        own = tuple(without(part.axes, rest) for part in parts)
    values = [part.over((*rest, *new), binding) for part, new in zip(parts, own, strict=True)]
    outer = [binding.extent(axis) for axis in rest]
    match expr.layout:
        case Layout.HALVES:
            whole = torch.stack(values, len(rest))
        case Layout.PAIRS:
            whole = torch.stack(values, -1)
        case Layout.PARTS:
            sizes = map(binding.size, own)
            whole = torch.cat([value.reshape(*outer, size) for value, size in zip(values, sizes, strict=True)], -1)
        case _:
            assert_never(expr.layout)
    return Array(whole.reshape(*outer, binding.extent(expr.axis)), (*rest, expr.axis))


def inside(indices: tuple[Array, ...], sizes: tuple[int, ...]) -> Array:
    """Where every index names a position of its dimension; a negative one does not."""
    if not indices:
        return Array(torch.ones((), dtype=torch.bool), ())
    axes = union(*(index.axes for index in indices))
    positions = [index.along(axes) for index in indices]
    each = [(position >= 0) & (position < size) for position, size in zip(positions, sizes, strict=True)]
    return Array(reduce(torch.logical_and, each), axes)


def gather(stored: Tensor, dims: tuple[Dim, ...], indices: tuple[Array, ...], binding: Binding) -> Array:
    """`stored[indices]` on the first dims, the others kept; NaN (0 for integers) where an index is out of range."""
    kept = tuple(axis for dim in dims[len(indices) :] for axis in dim)
    sizes = tuple(binding.size(dim) for dim in dims)
    table = stored.reshape(sizes)
    valid = inside(indices, sizes[: len(indices)])
    absent = torch.nan if table.dtype.is_floating_point else 0
    shape = [binding.extent(axis) for axis in (*valid.axes, *kept)]
    if 0 in sizes[: len(indices)]:
        return Array(table.new_full(shape, absent), (*valid.axes, *kept))
    at = tuple(torch.where(valid.tensor, index.along(valid.axes), 0).expand(valid.tensor.shape) for index in indices)
    found = table[at].reshape([*valid.tensor.shape, *shape[len(valid.axes) :]])
    mask = valid.tensor.reshape([*valid.tensor.shape, *[1] * len(kept)])
    return Array(torch.where(mask, found, absent), (*valid.axes, *kept))


def scatter(
    stored: Tensor, dims: tuple[Dim, ...], indices: tuple[Array, ...], value: Array, binding: Binding
) -> Tensor:
    """A copy of `stored` with `value` written at `indices`; positions out of range are left alone."""
    sizes, kept = _rows(dims, indices, binding)
    written, mask, at = _places(sizes, kept, indices, value.axes, binding)
    rows = value.over((*written, *kept), binding)[mask]
    rows = rows.reshape(rows.shape[0], *sizes[len(indices) :])
    table = stored.reshape(sizes).clone()
    table[at] = rows
    return table.reshape(stored.shape)


def add_at(stored: Tensor, dims: tuple[Dim, ...], indices: tuple[Array, ...], value: Array, binding: Binding) -> Tensor:
    """A copy of `stored` with every `value` added at its place; positions out of range are left alone."""
    places, values = placed(dims, indices, value, binding)
    return stored.reshape(-1).index_add(0, places, values).reshape(stored.shape)


def placed(dims: tuple[Dim, ...], indices: tuple[Array, ...], value: Array, binding: Binding) -> tuple[Tensor, Tensor]:
    """What `scatter` writes, one element after another: the place of each, counted row-major, and its value."""
    sizes, kept = _rows(dims, indices, binding)
    written, mask, at = _places(sizes, kept, indices, value.axes, binding)
    values = value.over((*written, *kept), binding)[mask]
    places = torch.arange(prod(sizes), device=values.device).reshape(sizes)[at]
    return places.reshape(-1), values.reshape(-1)


def _rows(
    dims: tuple[Dim, ...], indices: tuple[Array, ...], binding: Binding
) -> tuple[tuple[int, ...], tuple[Axis, ...]]:
    """The size of every dimension, and the axes of those that are not looked up."""
    return tuple(binding.size(dim) for dim in dims), tuple(axis for dim in dims[len(indices) :] for axis in dim)


def _places(
    sizes: tuple[int, ...],
    kept: tuple[Axis, ...],
    indices: tuple[Array, ...],
    value: tuple[Axis, ...],
    binding: Binding,
) -> tuple[tuple[Axis, ...], Tensor, tuple[Tensor, ...]]:
    """The axes that rows are written over, which of these rows are inside of the table, and where they go."""
    valid = inside(indices, sizes[: len(indices)])
    written = union(valid.axes, without(value, kept))
    mask = valid.over(written, binding)
    return written, mask, tuple(index.over(written, binding)[mask] for index in indices)


def segment(offsets: Array, length: int) -> Tensor:
    """For each of `length` positions the k with offsets[k] <= position < offsets[k + 1].

    -1 before the first offset and the number of segments behind the last, so that a gather finds nothing there.
    """
    positions = torch.arange(length, device=offsets.tensor.device)
    return torch.searchsorted(offsets.tensor.contiguous(), positions, right=True) - 1
