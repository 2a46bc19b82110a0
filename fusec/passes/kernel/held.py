"""Held: what several sweeps of a loop over a row load, which a kernel may keep in registers, one tile for each step.

With a compile-time HELD above 0 the loops are unrolled, each step is a tile of a row that is whole in registers, and
only the first sweep loads it. A tile is kept as it is stored, and widened where it is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from fusec.ir.kernel import Sweep
from fusec.ir.statements import Assign, Branch, IfHeld, Keep, Kept, LoadTile, NoTiles, Statement, every
from fusec.ir.tile_values import Name, Widened
from fusec.passes.kernel.scope import Names


def held_tiles(sweeps: tuple[Sweep, ...], names: Names) -> tuple[Sweep, ...]:
    """The same sweeps, where tiles that more than one of them loads can be held."""
    counts = Counter(load for sweep in sweeps for load in {_alike(load) for load in _loads(sweep)})
    holds = _Holds({load for load, count in counts.items() if count > 1}, names)
    return tuple(map(holds.sweep, sweeps))


def is_held(tree: object) -> bool:
    """Whether anything in a skeleton is held."""
    return any(isinstance(node, IfHeld) for node in every(tree))


def _loads(sweep: Sweep) -> Iterator[LoadTile]:
    """The loads that each step makes, of one tile each."""
    step = sweep.step
    for statement in (*step.values, *step.results.values, *step.results.stores):
        if isinstance(statement, LoadTile) and len(statement.names) == 1 and statement.storage is not None:
            yield statement


def _alike(load: LoadTile) -> LoadTile:
    """A load, whatever of it differs between sweeps that load the same."""
    return replace(load, cache=None)


class _Holds:
    def __init__(self, held: set[LoadTile], names: Names) -> None:
        self._held = held
        self._names = names
        self._known: dict[LoadTile, tuple[Name, Name]] = {}

    def sweep(self, sweep: Sweep) -> Sweep:
        """A sweep that keeps what it is the first to load, and takes what is kept."""
        before, step, results = set(self._known), sweep.step, sweep.step.results
        size = step.index.size
        values = self._all(step.values, size)
        made = replace(results, values=self._all(results.values, size), stores=self._all(results.stores, size))
        begun = tuple(NoTiles(tiles) for load, (tiles, _) in self._known.items() if load not in before)
        return replace(sweep, before=(*sweep.before, *begun), step=replace(step, values=values, results=made))

    def _all(self, statements: tuple[Statement, ...], size: str) -> tuple[Statement, ...]:
        return tuple(made for statement in statements for made in self._made(statement, size))

    def _made(self, statement: Statement, size: str) -> tuple[Statement, ...]:
        if not isinstance(statement, LoadTile) or _alike(statement) not in self._held:
            return (statement,)
        load, (name,), storage = _alike(statement), statement.names, statement.storage
        assert storage is not None
        is_first = load not in self._known
        if is_first:
            tiles, stored = (self._names.fresh(f"{name.text}_{word}") for word in ("tiles", "stored"))
            self._known[load] = Name(tiles), Name(stored, name.dims, name.kind)
        row, tile = self._known[load]
        loaded = replace(statement, names=(tile,), storage=None)
        widened = Assign(name, Widened(tile, storage, name.dims, name.kind, statement.bits))
        if is_first:
            return loaded, Branch(((IfHeld(), (Keep(row, tile),)),)), widened
        return Branch(((IfHeld(), (Kept(tile, row, size),)), (None, (loaded,)))), widened
