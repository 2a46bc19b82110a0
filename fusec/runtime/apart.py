"""Whether what an op writes in place shares memory with another argument, or with itself.

The programs of a kernel run in no order, so such a call has no one result; PyTorch refuses it too. Two views of one
buffer may interleave and share nothing, as the keys and the values of a cache do: what counts is their elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch

from fusec.runtime.errors import ArgumentError

_MOST_TRIED = 20_000
"""Combinations after which two layouts that interleave in no simple way are taken to be apart."""

Term: TypeAlias = tuple[int, int, int]
"""A stride in bytes, and the least and the largest number it may be taken times."""


class Apart:
    """The check of one layout of arguments; where they are differs from call to call."""

    def __init__(
        self, op: str, names: Sequence[str], mutated: Sequence[int], tensors: Sequence[torch.Tensor | None]
    ) -> None:
        """`mutated` are the places of what is written. Raises `ArgumentError` for one that overlaps itself."""
        self._op = op
        self._names = names
        self._layouts = {place: _Layout(tensor) for place, tensor in enumerate(tensors) if tensor is not None}
        full = [place for place, found in self._layouts.items() if found.reach]
        for place in full:
            if place in mutated and self._layouts[place].overlaps_itself():
                name, strides = names[place], list(self._layouts[place].strides)
                message = (
                    f"{op}: `{name}` is written in place, but some of its elements share memory (its strides are "
                    f"{strides}); pass a copy, {name}.contiguous() or {name}.clone()"
                )
                raise ArgumentError(message, name, "elements that lie apart", strides)
        pairs = [(one, other) for one in mutated for other in full if one in full and one != other]
        pairs = [(one, other) for one, other in pairs if other not in mutated or one < other]
        self._pairs = [(one, other, -self._layouts[other].reach, self._layouts[one].reach) for one, other in pairs]
        self._known: dict[tuple[int, int, int], bool] = {}

    def check(self, addresses: Sequence[int]) -> None:
        """That nothing written in place shares memory with another argument. Raises `ArgumentError`."""
        for one, other, before, behind in self._pairs:
            distance = addresses[other] - addresses[one]
            if before < distance < behind and self._meet(one, other, distance):
                name, written = self._names[other], self._names[one]
                message = (
                    f"{self._op}: `{name}` shares memory with `{written}`, which is written in place; pass a copy of "
                    f"it, {name}.clone()"
                )
                raise ArgumentError(message, name, f"memory apart from that of {written}", None)

    def _meet(self, one: int, other: int, distance: int) -> bool:
        key = (one, other, distance)
        if key not in self._known:
            self._known[key] = self._layouts[one].meets(self._layouts[other], distance)
        return self._known[key]


class _Layout:
    """Where the elements of a tensor lie, from its first byte on; `reach` is one byte behind the last."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.strides = tensor.stride()
        self._item = tensor.element_size()
        pairs = zip(tensor.shape, tensor.stride(), strict=True)
        self._dims = [(size, stride * self._item) for size, stride in pairs if size != 1]
        self.reach = sum((size - 1) * stride for size, stride in self._dims) + self._item if tensor.numel() else 0

    def overlaps_itself(self) -> bool:
        """Whether two elements share a byte."""
        below = self._item
        for size, stride in sorted(self._dims, key=lambda dim: dim[1]):
            if stride < below:
                break
            below += (size - 1) * stride
        else:
            return False
        return _reaches([(stride, 1 - size, size - 1) for size, stride in self._dims], -self._item, self._item, False)

    def meets(self, other: _Layout, distance: int) -> bool:
        """Whether an element shares a byte with one of another tensor, which begins `distance` bytes behind."""
        terms = [(stride, 0, size - 1) for size, stride in self._dims]
        terms += [(stride, 1 - size, 0) for size, stride in other._dims]
        return _reaches(terms, distance - self._item, distance + other._item, True)


def _reaches(terms: list[Term], low: int, high: int, moved: bool) -> bool:
    """Whether a sum of strides, each taken a number of times, lies between `low` and `high`, which are outside.

    Unless it is `moved` before, some number is not 0.
    """
    merged: dict[int, Term] = {}
    for stride, least, most in terms:
        _, first, last = merged.get(stride, (stride, 0, 0))
        merged[stride] = (stride, first + least, last + most)
    # A stride that several dimensions have may be taken and given back.
    moved_by = [stride for stride, _, _ in terms]
    if not moved and len(moved_by) > len(merged):
        return True
    ordered = sorted(merged.values(), reverse=True)
    tried = 0
    stack = [(0, 0, moved)]
    while stack:
        place, total, done = stack.pop()
        tried += 1
        if tried > _MOST_TRIED:
            return False
        if place == len(ordered):
            if done and low < total < high:
                return True
            continue
        stride, least, most = ordered[place]
        rest = ordered[place + 1 :]
        down = sum(step * first for step, first, _ in rest)
        up = sum(step * last for step, _, last in rest)
        if stride == 0:
            stack.append((place + 1, total, done or least < most))
            continue
        # total + stride * times + (down to up) has to meet the open interval from low to high.
        first_time = max(least, -((total + up - low - 1) // stride))
        last_time = min(most, (high - 1 - total - down) // stride)
        stack += [(place + 1, total + stride * times, done or times != 0) for times in range(first_time, last_time + 1)]
    return False
