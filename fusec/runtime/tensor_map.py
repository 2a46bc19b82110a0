"""Tensor maps: tensors as TMA sees them, which moves tiles of them between memory and the shared memory of an SM.

Every dimension has an extent and a stride; elements along the last are next to each other, their extent, all other
strides and the address are multiples of 16 bytes. What a tile has outside of the extents reads as 0 and is not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from triton.experimental.gluon.language import NVMMASharedLayout, float16, uint8
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor as TiledDescriptor
from triton.tools.tensor_descriptor import TensorDescriptor

from fusec.runtime.select.present import has_tma

_ALIGNED = 16
"""Bytes that addresses and strides are multiples of."""

_FARTHEST = 2**40
"""Bytes that a stride is below, and with it the distance of two buffers that stand on one another."""


@dataclass(frozen=True, slots=True)
class TmaView:
    """The view of one buffer, or of two that lie alike and stand on one another as a first dimension of 2.

    `strides` and `offsets`, those of the first element of each buffer, are in elements. `tile` has the extent of a tile
    along every dimension, once it is cut. A kernel in Gluon is `told` how the elements of a tile lie in shared memory.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offsets: tuple[int, ...]
    itemsize: int
    tile: tuple[int, ...] = ()
    told: bool = False

    @property
    def layout(self) -> Any:
        """How a tile lies in shared memory: so that accesses of tensor cores meet no bank twice."""
        return NVMMASharedLayout.get_default_for(list(self.tile), uint8 if self.itemsize == 1 else float16)

    def cut(self, *tile: int) -> TmaView:
        """The same view with tiles of these extents."""
        return replace(self, tile=tile)

    def at(self, bases: Sequence[Any]) -> tuple[TensorDescriptor | TiledDescriptor, bool]:
        """The descriptor for buffers, which have `data_ptr` and `dtype`, and whether the second one lies first.

        Raises `ValueError` where an address is no multiple of 16 bytes, or two of them are too far apart.
        """
        starts = [base.data_ptr() + offset * self.itemsize for base, offset in zip(bases, self.offsets, strict=True)]
        if any(start % _ALIGNED for start in starts):
            raise ValueError(f"TMA needs {' and '.join(self.names)} at multiples of {_ALIGNED} bytes")
        if abs(starts[-1] - starts[0]) >= _FARTHEST:
            raise ValueError(f"TMA needs {' and '.join(self.names)} less than {_FARTHEST} bytes apart")
        flipped = starts[-1] < starts[0]
        first = 1 if flipped else 0
        base = _moved(bases[first], self.offsets[first])
        if self.told:
            about = (list(self.shape), list(self.strides), list(self.tile))
            return TiledDescriptor(base, *about, self.layout), False
        if len(starts) == 1:
            return TensorDescriptor(base, list(self.shape), list(self.strides), list(self.tile)), False
        apart = abs(starts[1] - starts[0]) // self.itemsize
        shape, strides, tile = [2, *self.shape], [apart, *self.strides], [2, *self.tile]
        return TensorDescriptor(base, shape, strides, tile), flipped


def tma_view(
    names: tuple[str, ...], itemsize: int, *axes: tuple[int, ...], offsets: tuple[int, ...] = (0, 0)
) -> TmaView | None:
    """The view of buffers called `names`, or None where TMA cannot move tiles of them.

    Every axis, outermost first, is its extent and its stride in each of the buffers; an axis of one position may have
    any stride.
    """
    sizes = [size for size, *_ in axes]
    if not 0 < min(sizes) <= max(sizes) < 2**31 or any(offset * itemsize % _ALIGNED for offset in offsets):
        return None
    strides: list[int] = []
    for size, *steps in axes[:-1]:
        step = _ALIGNED if size == 1 else steps[0]
        if size > 1 and (len(set(steps)) > 1 or step * itemsize % _ALIGNED or not 0 <= step * itemsize < _FARTHEST):
            return None
        strides.append(step)
    last, *steps = axes[-1]
    # TMA writes 16 bytes at a time, also those behind the end of a row.
    if last * itemsize % _ALIGNED or set(steps) != {1}:
        return None
    return TmaView(names, tuple(sizes), (*strides, 1), offsets[: len(names)], itemsize)


def moves_tiles(views: Sequence[TmaView | None], *tensors: torch.Tensor, device: torch.device | None = None) -> bool:
    """Whether TMA can move tiles of all these views of 8 or 16-bit elements, those of a call's `tensors` among them.

    Where there are none of these, `device` says where it is to be done.
    """
    if any(view is None or view.itemsize > 2 for view in views):
        return False
    addresses = [tensor.data_ptr() for tensor in tensors]
    if any(address % _ALIGNED for address in addresses):
        return False
    if addresses and max(addresses) - min(addresses) >= _FARTHEST:
        return False
    device = device or tensors[0].device
    # Where kernels are interpreted, or only planned, there is one.
    return device.type != "cuda" or has_tma(device)


@dataclass(frozen=True, slots=True)
class Address:
    """A buffer of which only its address and dtype are known, in place of a tensor."""

    address: int
    dtype: torch.dtype

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self.address


def _moved(base: Any, offset: int) -> Any:
    if isinstance(base, Address):
        return replace(base, address=base.address + offset * base.dtype.itemsize)
    return base.as_strided((1,), (1,), base.storage_offset() + offset) if offset else base
