"""Where a kernel is while its text runs once for all programs: programs and steps of loops are axes of arrays.

A number that differs between programs or steps is an array with an axis for each, of size one where it does not differ;
axes of loops that are not entered yet are missing at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import TypeAlias

import torch

Number: TypeAlias = int | torch.Tensor
"""An integer, the same everywhere or not."""


class Points:
    """The programs of a launch and the steps of the loops that are entered, and what happened at all of them."""

    def __init__(self, programs: int) -> None:
        self.sizes = [programs]
        self.read: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self.flops = 0
        self.is_exact = True
        self._reached: list[Number] = []

    @contextmanager
    def only(self, where: Number) -> Iterator[None]:
        """Within, only the points count where a number is not zero."""
        self._reached.append(where)
        try:
            yield
        finally:
            self._reached.pop()

    @contextmanager
    def steps(self, count: Number) -> Iterator[torch.Tensor]:
        """Within, there is another axis, of so many steps: their numbers, from 0 on."""
        most = int(count.max()) if isinstance(count, torch.Tensor) and count.numel() else count if count else 0
        number = torch.arange(int(most)).reshape([1] * len(self.sizes) + [-1])
        self.sizes.append(int(most))
        self._reached.append(1 if isinstance(count, int) else aligned(count, number)[0] > number)
        try:
            yield number
        finally:
            self._reached.pop()
            self.sizes.pop()

    def total(self, *factors: Number) -> int:
        """The sum over all points of the product of these numbers."""
        arrays = [torch.as_tensor(number, dtype=torch.int64) for number in (*factors, *self._reached)]
        product = torch.ones([1] * len(self.sizes), dtype=torch.int64)
        for array in arrays:
            product = product * array.reshape(list(array.shape) + [1] * (len(self.sizes) - array.ndim))
        alike = zip(product.shape, self.sizes, strict=True)
        return int(product.sum()) * prod(size for have, size in alike if have != size)


def aligned(*numbers: Number) -> list[torch.Tensor]:
    """The numbers with as many axes each."""
    arrays = [torch.as_tensor(number) for number in numbers]
    most = max(array.ndim for array in arrays)
    return [array.reshape(list(array.shape) + [1] * (most - array.ndim)) for array in arrays]
