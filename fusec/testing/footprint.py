"""The elements of a tensor as addresses: whether one is among them, and which. The gaps between them are outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fusec.interpreter.conversions import Array


@dataclass(frozen=True, slots=True)
class Footprint:
    """The elements of a tensor: what a pointer into it may touch."""

    name: str
    start: int
    itemsize: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    writable: bool

    @classmethod
    def of(cls, name: str, tensor: torch.Tensor, writable: bool) -> Footprint:
        return cls(
            name, tensor.data_ptr(), tensor.element_size(), tuple(tensor.shape), tuple(tensor.stride()), writable
        )

    def addresses(self) -> Array:
        """Where each element starts."""
        found: Array = np.full(self.shape, self.start, np.uint64)
        for dim, (size, stride) in enumerate(zip(self.shape, self.strides, strict=True)):
            steps = np.arange(size, dtype=np.uint64) * np.uint64(stride * self.itemsize)
            found += steps.reshape([-1 if other == dim else 1 for other in range(len(self.shape))])
        return found

    def holds(self, addresses: Array) -> Array:
        """For each address whether an element of the tensor starts there."""
        _, rest, outside = self._split(addresses)
        found: Array = (rest == 0) & ~outside
        return found

    def holds_byte(self, addresses: Array) -> Array:
        """For each address whether it is of a byte of an element."""
        _, rest, outside = self._split(addresses)
        found: Array = (rest >= 0) & (rest < self.itemsize) & ~outside
        return found

    def position(self, address: int) -> str:
        """The element at an address as `x[4, 7]`, with indices beyond the extents for one outside."""
        index, rest, _ = self._split(np.array([address], np.uint64))
        found = ", ".join(str(int(index[dim][0])) if dim in index else "0" for dim in range(len(self.shape)))
        return f"{self.name}[{found}]" + (f" and {int(rest[0])} bytes" if rest[0] else "")

    def _split(self, addresses: Array) -> tuple[dict[int, Array], Array, Array]:
        """Index along every dimension that moves, bytes left over, and whether an index is beyond its extent."""
        rest = (addresses - np.uint64(self.start)).astype(np.int64)
        outside = np.full(rest.shape, 0 in self.shape)
        index: dict[int, Array] = {}
        moving = [dim for dim, size in enumerate(self.shape) if size > 1 and self.strides[dim]]
        for dim in sorted(moving, key=lambda dim: -self.strides[dim]):
            index[dim], rest = np.divmod(rest, self.strides[dim] * self.itemsize)
            outside |= (index[dim] < 0) | (index[dim] >= self.shape[dim])
        return index, rest, outside
