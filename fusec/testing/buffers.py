"""Tensors set between guard bands, memory poisoned before it is written, and tensors too large for the machine."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from unittest import mock

import torch

from fusec.runtime import allocate

GUARD_BYTES = 4096
"""On either side of a tensor; a multiple of every alignment that matters."""

POISON = 0xFF
"""The byte of guards and of memory not yet written: NaN in every float format, -1 in signed integers."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A tensor inside a buffer. `before` holds the bytes of the buffer, `fixed` which of them nobody may change."""

    name: str
    tensor: torch.Tensor
    buffer: torch.Tensor
    before: torch.Tensor
    fixed: torch.Tensor

    def disturbed(self) -> str | None:
        """What changed that must not, in words."""
        changed = torch.nonzero((self.buffer != self.before) & self.fixed).flatten()
        if not changed.numel():
            return None
        first = int(changed[0]) - self.tensor.storage_offset() * self.tensor.element_size()
        return f"{changed.numel()} bytes of or beside `{self.name}` changed, the first {first} bytes from its start"


def guarded(
    name: str,
    shape: Sequence[int],
    strides: Sequence[int],
    dtype: torch.dtype,
    *,
    offset: int = 0,
    device: torch.device | str = "cpu",
) -> Guarded:
    """A poisoned tensor of this shape and these strides, `offset` elements from a boundary of 16 bytes."""
    itemsize = torch.empty(0, dtype=dtype).element_size()
    span = 0 if 0 in shape else 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    length = GUARD_BYTES + -(-(offset + span) * itemsize // 16) * 16 + GUARD_BYTES
    buffer = torch.full((length,), POISON, dtype=torch.uint8, device=device)
    start = GUARD_BYTES // itemsize + offset
    tensor = buffer.view(dtype).as_strided(tuple(shape), tuple(strides), start)
    fixed = torch.ones_like(buffer, dtype=torch.bool)
    if span:
        _bytes_of(fixed, shape, strides, start, itemsize).fill_(False)
    return Guarded(name, tensor, buffer, buffer.clone(), fixed)


def frozen(held: Guarded) -> Guarded:
    """The same tensor, its present contents now fixed too: an input that must not change."""
    return Guarded(held.name, held.tensor, held.buffer, held.buffer.clone(), torch.ones_like(held.fixed))


def _bytes_of(
    flags: torch.Tensor, shape: Sequence[int], strides: Sequence[int], start: int, itemsize: int
) -> torch.Tensor:
    moving = [(size, stride) for size, stride in zip(shape, strides, strict=True) if stride]
    sizes = (*(size for size, _ in moving), itemsize)
    return flags.as_strided(sizes, (*(stride * itemsize for _, stride in moving), 1), start * itemsize)


@contextmanager
def guarded_allocations() -> Iterator[list[Guarded]]:
    """While entered, all that generated code allocates is poisoned and guarded. Yields the allocations as they come."""
    made: list[Guarded] = []

    def empty(
        shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype, device: torch.device
    ) -> torch.Tensor:
        made.append(guarded(f"allocation {len(made) + 1}", shape, strides, dtype, device=device))
        return made[-1].tensor

    with mock.patch.object(allocate, "empty", empty):
        yield made


@contextmanager
def poisoned_allocations() -> Iterator[None]:
    """While entered, all that generated code allocates is poisoned, so that nothing right is left from other calls."""

    def empty(
        shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype, device: torch.device
    ) -> torch.Tensor:
        poison = torch.full((prod(shape) * dtype.itemsize,), POISON, dtype=torch.uint8, device=device)
        return poison.view(dtype).as_strided(shape, strides)

    with mock.patch.object(allocate, "empty", empty):
        yield


def reserved(shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A tensor of zeros on the CPU that takes memory only where it is written: it may be larger than the machine's."""
    itemsize = torch.empty(0, dtype=dtype).element_size()
    if 0 in shape:
        return torch.empty(tuple(shape), dtype=dtype)
    span = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    pages = mmap.mmap(-1, span * itemsize, flags=flags)
    return torch.frombuffer(pages, dtype=dtype).as_strided(tuple(shape), tuple(strides))


@contextmanager
def reserved_allocations() -> Iterator[list[torch.Tensor]]:
    """While entered, all that generated code allocates comes from `reserved`."""
    made: list[torch.Tensor] = []

    def empty(
        shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype, device: torch.device
    ) -> torch.Tensor:
        made.append(reserved(shape, strides, dtype))
        return made[-1]

    with mock.patch.object(allocate, "empty", empty):
        yield made
