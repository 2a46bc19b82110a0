"""What the programs of a launch do to each other, and to earlier launches: they run in no order.

So none may read what another one stores, and none may store what another one does, unless a tensor is `shared`: of
several values for one place any may stay. What is written in place is read as it was before the call: reading it after
a store is a fault, be it by the same program or in a later launch.

Nothing is done for nothing: a program stores something, and no element that a call makes is stored by two launches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from fusec.interpreter.abreast import Position
from fusec.interpreter.conversions import Array
from fusec.testing.footprint import Footprint


class Fault(NamedTuple):
    """A fault of a kind in what is done to an argument, in words."""

    kind: str
    argument: str
    text: str


@dataclass(frozen=True, slots=True)
class Access:
    """The elements of a region that programs load or store, each by its number, and the `turn` at which they do."""

    programs: Array
    turn: int
    region: Footprint
    addresses: Array


@dataclass(slots=True)
class Launch:
    """A launch of a kernel: the positions of its programs so far, and what they loaded and stored."""

    kernel: str = ""
    positions: list[Position] = field(default_factory=list)
    loads: list[Access] = field(default_factory=list)
    stores: list[Access] = field(default_factory=list)

    def note(self, access: str, programs: Array, region: Footprint, addresses: Array) -> None:
        """Note an access behind all others."""
        accesses = self.loads if access == "load" else self.stores
        accesses.append(Access(programs, len(self.loads) + len(self.stores), region, addresses))

    def idle_programs(self, inputs: Collection[Footprint]) -> Iterator[Fault]:
        """The first program that stores nothing, where that does not depend on what an index says."""
        if not self.stores or any(store.region in inputs for store in self.stores):
            return
        busy = np.concatenate([*(store.programs for store in self.stores), np.array([], np.int64)])
        idle = np.setdiff1d(np.arange(len(self.positions)), busy)
        for program in idle[:1]:
            count = f"{idle.size} of {len(self.positions)} programs"
            yield Fault("idle", "", f"`{self.kernel}`: {count} store nothing, first {self.positions[program]}")

    def stores_again(self, inputs: Collection[Footprint], written: Sequence[Array]) -> Iterator[Fault]:
        """The first element of what a call makes itself that an earlier launch has written."""
        own = [store for store in self.stores if store.region not in inputs] if written else []
        if not own:
            return
        for address in np.intersect1d(_joined(own)[0], np.concatenate([*written, NOTHING]))[:1]:
            region = next(store.region for store in own if address in store.addresses)
            what = f"`{self.kernel}` stores {region.position(address)}, which an earlier launch has stored"
            yield Fault("stored again", region.name, what)

    def races(self, shared: Collection[str]) -> Iterator[Fault]:
        """The first element that is stored twice: by which of two threads last, nobody knows."""
        stores = [store for store in self.stores if store.region.name not in shared]
        if not stores:
            return
        addresses, programs, access = _joined(stores)
        rank = np.lexsort((access, programs, addresses))
        other = (np.diff(programs[rank]) != 0) | (np.diff(access[rank]) != 0)
        twice = (np.diff(addresses[rank]) == 0) & other
        for at in np.flatnonzero(twice)[:1]:
            region = stores[access[rank[at]]].region
            place = region.position(addresses[rank[at]])
            first, second = (self.positions[programs[rank[each]]] for each in (at, at + 1))
            whose = f"program {first} stores {place} twice"
            if first != second:
                whose = f"programs {first} and {second} both store {place}"
            yield Fault("race", region.name, f"`{self.kernel}`: {whose}")

    def late_loads(self, overwritten: Sequence[Array]) -> Iterator[Fault]:
        """The first element that is loaded where a store may have come before, here or in an earlier launch."""
        if not self.loads or not (self.stores or overwritten):
            return
        loads, readers, load = _joined(self.loads)
        earlier = np.isin(loads, np.concatenate([*overwritten, NOTHING]))
        for at in np.flatnonzero(earlier)[:1]:
            yield self._late(self.loads[load[at]].region, readers[at], loads[at], "an earlier launch has stored")
        stores, writers, store = _joined(self.stores)
        if not stores.size:
            return
        rank = np.lexsort((writers, stores))
        turns = [np.array([access.turn for access in accesses]) for accesses in (self.loads, self.stores)]
        # Of each element the first store is judged, and the last one, which is another program's if any is.
        first, behind = (np.searchsorted(stores[rank], loads, side=side) for side in _SIDES)
        for found in (first, behind - 1):
            other = rank[np.clip(found, 0, stores.size - 1)]
            elsewhere = readers != writers[other]
            late = (stores[other] == loads) & (elsewhere | (turns[1][store[other]] < turns[0][load]))
            for at in np.flatnonzero(late)[:1]:
                whose = f"program {self.positions[writers[other[at]]]} stores" if elsewhere[at] else "it has stored"
                yield self._late(self.loads[load[at]].region, readers[at], loads[at], whose)

    def _late(self, region: Footprint, program: int, address: int, what: str) -> Fault:
        reads = f"`{self.kernel}` program {self.positions[program]} loads {region.position(address)}"
        return Fault("late load", region.name, f"{reads}, which {what}")


_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")

NOTHING = np.array([], np.uint64)
"""No addresses."""


def _joined(accesses: Sequence[Access]) -> tuple[Array, Array, Array]:
    """The elements of all accesses, for each of them the program, and which access it is of."""
    addresses = np.concatenate([*(access.addresses for access in accesses), NOTHING])
    programs = np.concatenate([*(access.programs for access in accesses), np.array([], np.int64)])
    return addresses, programs, np.repeat(np.arange(len(accesses)), [access.addresses.size for access in accesses])
