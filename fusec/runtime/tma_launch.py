"""A launch of a kernel that takes tensor maps: descriptors are made once for each place a buffer is found at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch

from fusec.runtime.cache import BoundedCache
from fusec.runtime.compiled import straight_spread
from fusec.runtime.launch import Launch, Launcher, Value, as_run, is_watched, picker
from fusec.runtime.tensor_map import Address, TmaView

Placed: TypeAlias = Callable[[Sequence[Any]], tuple[Any, ...]]

_MOST_BOUND = 512
"""Places of its buffers for which a tensor map keeps what it is there."""


class TmaLauncher(Launcher):
    """A launcher whose kernel takes descriptors before its pointers."""

    __slots__ = ("_flips", "_maps")

    def __init__(self, launch: Launch, places: Mapping[str, int]) -> None:
        """`places` gives the position of every pointer and scalar by its name in the kernel."""
        super().__init__(launch, places)
        launch = as_run(launch)
        names = launch.kernel.arg_names
        maps = [name for name in names if name in launch.maps]
        if names[: len(maps)] != maps or set(launch.maps) - set(maps):
            raise TypeError(f"kernel({', '.join(names)}) takes its maps first, and they are {', '.join(launch.maps)}")
        self._maps = tuple(
            _Bound(launch.maps[name], picker([places[f"{buffer}_ptr"] for buffer in launch.maps[name].names]))
            for name in maps
        )
        after = [name for name in names if name in launch.arguments]
        self._flips = tuple((after.index(name), maps.index(launch.flips[name])) for name in launch.flips)

    def first(self, values: Sequence[Value]) -> bool:
        """Launch on tensors and numbers through the JIT. Whether there is a compiled kernel to `launch` from now on."""
        made = [bound.of(values) for bound in self._maps]
        flipped = [second for _, second in made]
        compiled = self._compile((*(descriptor for descriptor, _ in made), *self._pick(values), *self._behind(flipped)))
        if compiled is None:
            return False
        if known := straight_spread(compiled, self._grid):
            self._straight, spread = known
            for number, bound in enumerate(self._maps):
                bound.spread = partial(spread, number)
        return True

    def launch(self, stream: int, values: Sequence[Any]) -> None:
        """Launch the compiled kernel on addresses and numbers. Valid for the argument layout of `first` alone."""
        made = [bound.at(values) for bound in self._maps]
        rest = self._behind([flipped for *_, flipped in made]) if self._flips else self._rest
        given = (*self._pick(values), *rest)
        if self._straight is None or is_watched():
            # Descriptors become arguments of the driver in Triton's own launcher, which also tells those who watch.
            self._observed(stream, (*(descriptor for descriptor, *_ in made), *given))
            return
        spread: list[Any] = []
        for _, arguments, _ in made:
            spread += arguments
        self._straight(stream, (*spread, *given))

    def _behind(self, flipped: Sequence[bool]) -> tuple[Any, ...]:
        """The arguments behind the pointers, with what depends on which of two buffers lies first."""
        rest = list(self._rest)
        for place, number in self._flips:
            rest[place] = int(flipped[number])
        return tuple(rest)


class _Bound:
    """A tensor map whose buffers are at known places among the values of a call."""

    __slots__ = ("_dtypes", "_kept", "_stand", "_view", "spread")

    def __init__(self, view: TmaView, stand: Placed) -> None:
        """`stand` picks the buffers; `spread` makes arguments of the driver of a descriptor, once it is known how."""
        self._view = view
        self._stand = stand
        self._dtypes: tuple[torch.dtype, ...] = ()
        self._kept: BoundedCache[tuple[Any, tuple[Any, ...], bool]] = BoundedCache(_MOST_BOUND)
        self.spread: Callable[[Any], tuple[Any, ...]] = lambda descriptor: ()

    def of(self, values: Sequence[Any]) -> tuple[Any, bool]:
        """The descriptor for tensors, and whether the second one lies first."""
        tensors = self._stand(values)
        self._dtypes = tuple(tensor.dtype for tensor in tensors)
        return self._view.at(tensors)

    def at(self, values: Sequence[Any]) -> tuple[Any, tuple[Any, ...], bool]:
        """The descriptor for addresses, what the driver takes for it, and whether the second address comes first."""
        addresses = self._stand(values)
        return self._kept.get(addresses) or self._kept.put(addresses, self._made(addresses))

    def _made(self, addresses: tuple[int, ...]) -> tuple[Any, tuple[Any, ...], bool]:
        descriptor, flipped = self._view.at([*map(Address, addresses, self._dtypes)])
        return descriptor, self.spread(descriptor), flipped
