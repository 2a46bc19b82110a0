"""Every address a kernel touches in the interpreter, held against the tensors it was given.

A kernel gets made-up addresses: the upper 16 bits say which argument a pointer came from, the rest how far it has moved
from it. So an access is judged by the tensor it was meant for, however far it strays, and a stray one is reported
and never carried out. Strides count: the gaps of a sliced tensor are outside it. A descriptor of two buffers that stand
on one another may be used for the elements of both.

A load may reach beyond a tensor in whole vectors alone, where a kernel is told to move these: 16 bytes at a multiple of
16, or fewer likewise, all of which an access loads and some of which are of the tensor. They are in one page, so no
chip faults. What is of no tensor is poison then, and has to be of no consequence.

What the programs of a launch do to each other is for `races.py` to say, which is told of every access. What was
allocated has to be stored whole (`unwritten`). Where a tensor is empty, only results are held to that, and to nothing
being done for nothing: grids have a program at least, for what lacks the axis that is empty, and what lacks it is maybe
made again on its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from triton.runtime import interpreter as stock
from triton.tools.tensor_descriptor import TensorDescriptor

from fusec.interpreter.abreast import Position
from fusec.interpreter.conversions import Array
from fusec.runtime.prepare import Entry
from fusec.testing.footprint import Footprint
from fusec.testing.races import NOTHING, Fault, Launch
from fusec.testing.whole_vectors import VECTOR, Vectors, held

_ORIGIN_BITS = 48
_MIDDLE = 1 << (_ORIGIN_BITS - 1)
"""A pointer may move this far either way and still be known for what it is."""


class MemoryFaultError(AssertionError):
    """A kernel touched memory that is not its own, or left its own untouched."""


@dataclass(slots=True)
class Moved:
    """Bytes that one launch of a kernel, or of the library, loads and stores by buffer, once for each access."""

    kernel: str
    read: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)

    def copy(self) -> Moved:
        return Moved(self.kernel, self.read.copy(), self.written.copy())


@dataclass(slots=True)
class Memory:
    """What the kernels under watch did. `faults` holds one line for the first fault of each kind and argument."""

    regions: list[Footprint]
    shared: Collection[str] = ()
    thrifty: bool = True
    faults: dict[tuple[str, str, str], str] = field(default_factory=dict)
    lowest: dict[str, int] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)
    moved: list[Moved] = field(default_factory=list)
    _moved_before: Moved = field(default_factory=lambda: Moved(""))
    _launch: Launch = field(default_factory=Launch)
    _vector: int = 0
    _first: int = 0
    _before: tuple[int, int, int] = (0, 0, 0)
    _arguments: list[tuple[str, tuple[Footprint, ...], int]] = field(default_factory=list)
    _mapped: dict[tuple[int, ...], tuple[Footprint, ...]] = field(default_factory=dict)
    _names: Mapping[str, str] = field(default_factory=dict)
    _overwritten: list[Array] = field(default_factory=list)
    _written: list[Array] = field(default_factory=list)
    _allocated: list[Footprint] = field(default_factory=list)
    _multiplied: list[Footprint] = field(default_factory=list)
    _has_empty: bool = False
    beyond: Array | None = None
    """Of the last load, which bytes of each lane are of no tensor."""

    def __post_init__(self) -> None:
        self._has_empty = any(0 in region.shape for region in self.regions)

    def unwritten(self, name: str, tensor: torch.Tensor, workspace: bool = False) -> None:
        """Note a fault if an element of `tensor`, a result or a `workspace`, was never stored to."""
        region = Footprint.of(name, tensor, writable=True)
        self._has_empty |= not tensor.numel()
        written = [*self._written, *(each.addresses().reshape(-1) for each in self._multiplied)]
        missing = _without(region.addresses().reshape(-1), np.concatenate([*written, NOTHING]))
        if missing.size:
            what = f"{missing.size} of {tensor.numel()} elements of `{name}` are never stored, first"
            self._note(Fault("spare" if workspace else "unwritten", name, f"{what} {region.position(missing[0])}"))

    def check(self) -> None:
        """Raise MemoryFaultError if there was a fault."""
        allowed = () if self.thrifty and not self._has_empty else _FOR_NOTHING
        if faults := [text for (kind, *_), text in self.faults.items() if kind not in allowed]:
            raise MemoryFaultError("\n".join(faults))

    def begin(self, kernel: str, vector: int) -> None:
        self._launch, self._vector = Launch(kernel), vector
        self.moved.append(Moved(kernel))
        self._arguments.clear()

    @contextmanager
    def called(self, names: Mapping[str, str]) -> Iterator[None]:
        """Within, a kernel is launched on tensors that are called otherwise than its parameters are."""
        self._names = names
        yield
        self._names = {}

    def address(self, argument: str, tensor: torch.Tensor) -> int:
        argument = self._names.get(argument, argument)
        return self._made_up(argument, (self._region(argument, tensor),), tensor.data_ptr())

    def tensor_map(self, argument: str, descriptor: TensorDescriptor) -> int:
        base = descriptor.base
        regions = self._mapped.get(_places(descriptor)) or (self._region(argument, base),)
        return self._made_up(argument, regions, base.data_ptr())

    def described(self, descriptor: TensorDescriptor, names: Sequence[str], buffers: Sequence[torch.Tensor]) -> None:
        """Which buffers a descriptor is of: it says itself where the first one begins and no more."""
        regions = (self._region(name, buffer) for name, buffer in zip(names, buffers, strict=True))
        self._mapped[_places(descriptor)] = tuple(dict.fromkeys(regions))

    def _region(self, name: str, tensor: torch.Tensor) -> Footprint:
        """What a pointer to the start of `tensor` may touch: of a tensor of the call if it is in one."""
        self._has_empty |= not tensor.numel()
        start = tensor.data_ptr()
        known = (*self.regions, *self._allocated)
        here = [region for region in known if region.holds(np.array([start], np.uint64))[0]]
        exact = [region for region in here if region.start == start]
        if not here:
            # Later launches may get a pointer that is moved into it, which does not tell its shape.
            self._allocated.append(Footprint.of(name, tensor, writable=True))
        return (exact or here or self._allocated)[-1]

    def _made_up(self, argument: str, regions: tuple[Footprint, ...], start: int) -> int:
        made_up = (len(self._arguments) + 1 << _ORIGIN_BITS) + _MIDDLE + start % 4096
        self._arguments.append((argument, regions, made_up - start))
        return made_up

    def programs(self, positions: Sequence[Position]) -> None:
        launch = self._launch
        self._first = len(launch.positions)
        launch.positions += positions
        self._before = len(launch.stores), len(launch.loads), len(self._written)
        self._moved_before = self.moved[-1].copy()

    def again(self) -> None:
        stores, loads, written = self._before
        launch = self._launch
        del launch.stores[stores:], launch.loads[loads:], self._written[written:], launch.positions[self._first :]
        self.moved[-1] = self._moved_before.copy()

    def end(self) -> None:
        launch = self._launch
        self._note(*launch.idle_programs(self.regions))
        self._note(*launch.stores_again(self.regions, self._written))
        self._note(*launch.races(self.shared))
        self._note(*launch.late_loads(self._overwritten))
        self._written.extend(store.addresses for store in launch.stores)
        self._overwritten.extend(store.addresses for store in launch.stores if store.region in self.regions)

    def multiplied(self, names: Sequence[str], matrices: Sequence[torch.Tensor]) -> None:
        """What the library did to two factors and their product, which it takes as tensors."""
        *factors, product = zip(names, matrices, strict=True)
        self._launch = Launch(" @ ".join(name for name, _ in factors), [(0, 0, 0)])
        self.moved.append(Moved(self._launch.kernel))
        self._first = 0
        self._arguments.clear()
        for name, tensor in (*factors, product):
            regions = tuple(region for region in self.regions if region.name == name)
            access = "store" if tensor is product[1] else "load"
            for part in _parts(tensor) if regions else ():
                addresses = Footprint.of(name, part, writable=True).addresses()
                self._judge(access, name, regions, addresses, np.ones(addresses.shape, bool))
        self._note(*self._launch.late_loads(self._overwritten))
        self._multiplied.append(Footprint.of(*product, writable=True))

    def rounded(self, names: Mapping[int, str], entries: Mapping[int, Entry]) -> None:
        """What is read in the place of weights that were rounded."""
        for place, entry in entries.items():
            region = Footprint.of(names[place], entry.values[0], writable=False)
            if region not in self.regions:
                self.regions.append(region)

    def resolve(self, access: str, pointers: Any, mask: Array) -> tuple[Any, Array]:
        """The true addresses of a block of pointers, and `mask` less the lanes whose access is a fault."""
        made_up, mask = np.broadcast_arrays(pointers.data, mask)
        origins = made_up >> np.uint64(_ORIGIN_BITS)
        true, allowed = np.zeros(made_up.shape, np.uint64), np.zeros(made_up.shape, bool)
        self.beyond = None
        width = max(pointers.dtype.element_ty.primitive_bitwidth // 8, 1)
        for origin in _unlike(origins[mask]):
            lanes = mask & (origins == origin)
            if not 1 <= origin <= len(self._arguments):
                self._note(Fault("bounds", "?", f"{self._where(lanes)} {access}s through a wild pointer"))
                continue
            argument, regions, shift = self._arguments[int(origin) - 1]
            addresses = made_up - np.uint64(shift)
            true[lanes] = addresses[lanes]
            if access == "load" and self._vector:
                beyond = self._whole_vectors(regions, addresses, lanes, width)
                allowed |= beyond
                lanes = lanes & ~beyond
            allowed |= self._judge(access, argument, regions, addresses, lanes)
        return stock.TensorHandle(true, pointers.dtype), allowed

    def _whole_vectors(self, regions: tuple[Footprint, ...], addresses: Array, lanes: Array, width: int) -> Array:
        """Lanes of elements of `width` that load whole vectors, some of whose bytes are of a region.

        Only where any lane is astray. One with several elements, as words have, or with parts of one, always is.
        """
        stray = lanes.copy()
        for region in regions if all(region.itemsize == width for region in regions) else ():
            stray &= ~region.holds(addresses)
        found = np.zeros_like(lanes)
        for size in sorted({VECTOR, VECTOR // 2, min(VECTOR, width * self._vector)}) if stray.any() else ():
            vectors = Vectors(addresses, lanes, size, self._are_several)
            found |= vectors.whole(width) & vectors.any_of(stray) & vectors.own(regions).any(-1)
        if found.any():
            own = np.stack([held(regions, addresses + np.uint64(byte)) for byte in range(width)], -1)
            self.beyond = np.zeros(own.shape, bool) if self.beyond is None else self.beyond
            self.beyond |= found[..., None] & ~own
            self._loaded_in_vectors(regions, addresses, found, width)
        return found

    def _loaded_in_vectors(self, regions: tuple[Footprint, ...], addresses: Array, lanes: Array, width: int) -> None:
        several = (len(self._launch.positions) - self._first) // len(lanes) if self._are_several else 1
        self.moved[-1].read[regions[0].name] += int(lanes.sum()) * several * width
        for region in regions:
            for byte in range(0, width, region.itemsize):
                at = addresses + np.uint64(byte)
                inside = lanes & region.holds(at)
                if inside.any():
                    self._touched(region, at[inside])
                    if region.writable:
                        self._accessed("load", region, at, inside)

    def _judge(
        self, access: str, argument: str, regions: tuple[Footprint, ...], addresses: Array, lanes: Array
    ) -> Array:
        """Which of the lanes stay within the regions and, unless they load, may be written."""
        stray, allowed = lanes.copy(), np.zeros_like(lanes)
        for region in regions:
            inside = lanes & region.holds(addresses)
            stray &= ~inside
            if not inside.any():
                continue
            self._touched(region, addresses[inside])
            self._counted(access, region, inside)
            if access == "load" or region.writable:
                allowed |= inside
                if region.writable:
                    self._accessed(access, region, addresses, inside)
            else:
                what = f"{self._where(inside)} {access}s through `{argument}`"
                self._note(
                    Fault("input", argument, f"{what}, an input, at {region.position(addresses[inside].flat[0])}")
                )
        if stray.any():
            what = f"{self._where(stray)} {access}s through `{argument}`"
            first = int(addresses[stray].flat[0])
            region = min(regions, key=lambda region: abs(region.start - first))
            lies = f"{region.position(first)}, beyond shape {region.shape} with strides {region.strides}"
            times = int(stray[stray.nonzero()[0][0]].sum() if self._are_several else stray.sum())
            self._note(Fault("bounds", argument, f"{what} out of bounds, {times} times, first at {lies}"))
        return allowed

    def _touched(self, region: Footprint, addresses: Array) -> None:
        self.lowest[region.name] = min(self.lowest.get(region.name, 2**64), int(addresses.min()))
        self.highest[region.name] = max(self.highest.get(region.name, 0), int(addresses.max()))

    def _counted(self, access: str, region: Footprint, lanes: Array) -> None:
        # Programs that run side by side share the lanes that are the same for all of them.
        several = (len(self._launch.positions) - self._first) // len(lanes) if self._are_several else 1
        count = int(lanes.sum()) * several * region.itemsize
        if access != "store":
            self.moved[-1].read[region.name] += count
        if access != "load":
            self.moved[-1].written[region.name] += count

    def _accessed(self, access: str, region: Footprint, addresses: Array, lanes: Array) -> None:
        """Note what the lanes do in a region: those of one program, or of several, one beside the other."""
        if self._are_several:
            shape = len(self._launch.positions) - self._first, *lanes.shape[1:]
            addresses, lanes = np.broadcast_to(addresses, shape), np.broadcast_to(lanes, shape)
        touched = addresses[lanes]
        if access in ("load", "store"):
            programs = self._first + (lanes.nonzero()[0] if self._are_several else np.zeros(touched.size, np.int64))
            self._launch.note(access, programs, region, touched)
        else:
            self._written.append(touched)

    @property
    def _are_several(self) -> bool:
        """Whether several programs run side by side: the first axis of every array is that of programs."""
        return len(self._launch.positions) - self._first > 1

    def _where(self, lanes: Array) -> str:
        """The kernel, and the first program of which there are lanes."""
        first = int(lanes.nonzero()[0][0]) if self._are_several else 0
        return f"`{self._launch.kernel}` program {self._launch.positions[self._first + first]}"

    def _note(self, *faults: Fault) -> None:
        for kind, argument, text in faults:
            self.faults.setdefault((kind, self._launch.kernel, argument), text)


_FOR_NOTHING = ("idle", "stored again", "spare")
"""Kinds of faults that make nothing wrong: a call with an empty tensor may have them."""


def _without(addresses: Array, written: Array) -> Array:
    """The addresses that are not `written`, in order. Where they lie close together, each is marked, not searched."""
    if not addresses.size:
        return addresses
    first, last = addresses.min(), addresses.max()
    if last - first > _CLOSE * addresses.size:
        return np.setdiff1d(addresses, written)
    marks = np.zeros(int(last - first) + 1, bool)
    marks[written[(written >= first) & (written <= last)] - first] = True
    return np.sort(addresses[~marks[addresses - first]])


_CLOSE = 64
"""Bytes for each element: more than those of a tensor have with no others between."""


def _unlike(numbers: Array) -> Array:
    """Each of the numbers once; mostly all are the same."""
    return numbers[:1] if numbers.size and (numbers == numbers[0]).all() else np.unique(numbers)


_PIECE = 2**20
"""Positions along the longest dimension of a piece of what the library is given."""


def _parts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Pieces of a tensor whose addresses take little memory."""
    longest = max(range(tensor.ndim), key=lambda dim: tensor.shape[dim])
    for start in range(0, tensor.shape[longest] if tensor.numel() else 0, _PIECE):
        yield tensor.narrow(longest, start, min(_PIECE, tensor.shape[longest] - start))


def _places(descriptor: TensorDescriptor) -> tuple[int, ...]:
    """What tells a descriptor from those of other buffers."""
    return descriptor.base.data_ptr(), *descriptor.shape, *descriptor.strides
