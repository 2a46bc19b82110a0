"""One launch of a kernel that takes boxes: their descriptors are made once for every place a buffer is found at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch

from fusec.runtime.box import Address
from fusec.runtime.kept import Kept
from fusec.runtime.launch import Launch, Launcher, Value, picker

Placed: TypeAlias = Callable[[Sequence[Any]], tuple[Any, ...]]

_MOST_BOUND = 512
"""Sets of addresses for which a launch keeps its descriptors."""


class BoxLauncher(Launcher):
    """A launcher whose kernel takes descriptors before its pointers."""

    __slots__ = ("_bound", "_boxes", "_dtypes", "_flips", "_stands")

    def __init__(self, launch: Launch, places: Mapping[str, int]) -> None:
        """`places` gives the position of every pointer and scalar by its name in the kernel."""
        super().__init__(launch, places)
        names = launch.kernel.arg_names
        boxes = [name for name in names if name in launch.boxes]
        if names[: len(boxes)] != boxes or set(launch.boxes) - set(boxes):
            raise TypeError(f"kernel({', '.join(names)}) takes its boxes first, and they are {', '.join(launch.boxes)}")
        self._boxes = tuple(launch.boxes[name] for name in boxes)
        self._stands: tuple[Placed, ...] = tuple(
            picker([places[f"{buffer}_ptr"] for buffer in box.names]) for box in self._boxes
        )
        after = [name for name in names if name in launch.arguments]
        self._flips = tuple((after.index(name), boxes.index(launch.flips[name])) for name in launch.flips)
        self._bound: Kept[tuple[tuple[Any, ...], tuple[Any, ...]]] = Kept(_MOST_BOUND)
        self._dtypes: tuple[tuple[torch.dtype, ...], ...] = ()

    def first(self, values: Sequence[Value]) -> bool:
        """Launch on tensors and numbers through the JIT. Whether there is a compiled kernel to `launch` from now on."""
        buffers: list[tuple[Any, ...]] = [stand(values) for stand in self._stands]
        self._dtypes = tuple(tuple(buffer.dtype for buffer in group) for group in buffers)
        boxes, rest = self._bind(buffers)
        return self._compile((*boxes, *self._pick(values), *rest)) is not None

    def launch(self, stream: int, values: Sequence[Any]) -> None:
        """Launch the compiled kernel on addresses and numbers. Valid for the argument layout of `first` alone."""
        addresses = tuple(stand(values) for stand in self._stands)
        bound = self._bound.get(addresses) or self._bound.keep(addresses, self._at(addresses))
        boxes, rest = bound
        # Descriptors become arguments of the driver in Triton's own launcher, which also tells those who watch.
        self._observed(stream, (*boxes, *self._pick(values), *rest))

    def _at(self, addresses: tuple[tuple[int, ...], ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        groups = zip(addresses, self._dtypes, strict=True)
        return self._bind([tuple(map(Address, places, dtypes)) for places, dtypes in groups])

    def _bind(self, buffers: Sequence[tuple[Any, ...]]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The descriptors, and the arguments behind the pointers with what depends on the order of the buffers."""
        made = [box.at(bases) for box, bases in zip(self._boxes, buffers, strict=True)]
        rest = list(self._rest)
        for place, number in self._flips:
            rest[place] = int(made[number][1])
        return tuple(descriptor for descriptor, _ in made), tuple(rest)
