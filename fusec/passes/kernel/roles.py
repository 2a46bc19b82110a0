"""Roles: what a gemm in roles loads and stores through tensor maps, and what its sums are called."""

from __future__ import annotations

from dataclasses import replace

from fusec.ir.expressions import NodeId
from fusec.ir.flow import Store
from fusec.ir.kernel import Buffered, GroupSteps, Total, Turns
from fusec.ir.schedule import GemmRoles
from fusec.ir.statements import Assign, Corner, Put, Statement
from fusec.ir.tile_values import Apply, Name, Value
from fusec.ir.types import Kind
from fusec.passes.kernel.facts import Facts
from fusec.passes.kernel.grid import ACROSS, Grid
from fusec.passes.kernel.naming import Naming
from fusec.passes.kernel.scope import Scope
from fusec.passes.kernel.target import Target
from fusec.passes.kernel.values import Values


class RoleTiles:
    """Names what TMA moves for a stage: `names` has the tensor maps of operands, then those of stores."""

    flips: tuple[str, ...] = ()

    def __init__(self, stage: GemmRoles, facts: Facts, target: Target, grid: Grid, naming: Naming) -> None:
        self._stage = stage
        self._facts = facts
        self._target = target
        self._grid = grid
        self._naming = naming
        self.operands = tuple(naming.names.fresh(f"{tiles.tensors[0]}_map") for tiles in stage.operands)
        self._maps = {tiles: naming.names.fresh(f"{tiles.tensors[0]}_map") for _, tiles in stage.stores}
        self._through = {tiles: naming.names.fresh(f"{tiles.tensors[0]}_tiles") for tiles in self._maps}

    @property
    def names(self) -> tuple[str, ...]:
        """The tensor maps of the kernel."""
        return (*self.operands, *self._maps.values())

    @property
    def stored(self) -> tuple[Buffered, ...]:
        """The tensor maps of stores, each with the shared memory before it."""
        return tuple(Buffered(name, self._through[tiles]) for tiles, name in self._maps.items())

    def total(self, scope: Scope) -> Total:
        """The accumulator, and the products that stand side by side in it, or what the halves of one are called.

        Every dot is under its name in `scope`.
        """
        stage, dims = self._stage, (str(self._stage.m), str(self._stage.n))
        if stage.scales:
            scope.values[stage.scales.total] = total = Name(self._naming.of(stage.scales.total, scope), dims, Kind.REAL)
            return Total(total, ())
        names = tuple(Name(self._naming.of(n, scope), dims, self._facts.nodes[n].type.kind) for n in stage.products)
        scope.values |= dict(zip(stage.products, names, strict=True))
        if stage.is_halved:
            return Total(Name("both", dims, names[0].kind), names)
        if len(names) == 1:
            return Total(names[0], ())
        both = self._naming.names.fresh("_".join(map(self._naming.hint, stage.products)))
        return Total(Name(both, dims, names[0].kind), names)

    def scaled(self, values: Values, root: Scope) -> GroupSteps | None:
        """What a step does with the scales of its group, and with the sums of the group before."""
        stage = self._stage
        if stage.scales is None:
            return None
        body, (groups, *_) = Scope(root, axes=stage.loop), stage.loop
        index, mask = self._grid.guarded(groups, body)
        (number,) = stage.products
        total = root.values[stage.scales.total]
        assert isinstance(total, Name)
        part = Name(self._fresh(self._naming.hint(number)), total.dims, self._facts.nodes[number].type.kind)
        ahead = tuple(
            self._in_turn(self._loaded(factor, values, body), "even", "odd") for factor in stage.scales.factors
        )
        this, later = ([each.this for each in ahead], [each.later for each in ahead])
        made: dict[Turns, tuple[Value, Value]] = {}
        if stage.scales.first:
            both = self._product(*this), self._product(*later)
            made[self._in_turn(Name("scale", both[0].dims, Kind.REAL))] = both
        else:
            made |= {self._in_turn(each.last): (each.this, each.later) for each in ahead}

        def added(*factors: Value) -> tuple[Statement, ...]:
            return (Assign(total, Apply("add", (total, self._product(part, *factors)), total.dims, Kind.REAL)),)

        return GroupSteps(
            *(index, mask, part, ahead, tuple(made), body.taken()),
            tuple(
                each
                for turns, (now, then) in made.items()
                for each in (Assign(turns.this, now), Assign(turns.later, then))
            ),
            added(*(turns.last for turns in made)),
            added(*(turns.this for turns in made)),
        )

    def _loaded(self, number: NodeId, values: Values, body: Scope) -> Name:
        """A scale of a group, under a name."""
        value = values.wide(number, body)
        return value if isinstance(value, Name) else self._naming.assign(number, value, body)

    def _in_turn(self, name: Name, this: str = "this", later: str = "later") -> Turns:
        """Names for a value of two steps, the last one of which is the name itself."""
        last = name if this == "even" else replace(name, text=self._fresh(f"last_{name.text}"))
        now, then = (replace(name, text=self._fresh(f"{word}_{name.text}"), storage=None) for word in (this, later))
        return Turns(last, now, then, bool(name.dims))

    def _fresh(self, word: str) -> str:
        return self._naming.names.fresh(word)

    def _product(self, first: Value, *others: Value) -> Value:
        for other in others:
            dims = self._grid.order({*first.dims, *other.dims})
            first = Apply("mul", (first, other), dims, Kind.REAL)
        return first

    def is_put(self, store: Store) -> bool:
        """Whether a store goes through a tensor map."""
        return any(self._facts.flow.stores[place] == store for place, _ in self._stage.stores)

    def put(self, store: Store, value: Value, scope: Scope) -> None:
        """Write a group's half of a tile through the tensor map of its store."""
        tiles = next(tiles for place, tiles in self._stage.stores if self._facts.flow.stores[place] == store)
        dtype = self._target.dtype(store.element)
        sizes = (self._grid.size_of(self._stage.m), self._grid.size_of(self._stage.n))
        corner = self._grid.write_to((self._stage.m, self._stage.n), scope)
        if self._stage.scales:
            corner = (corner[0], Corner(ACROSS))
        scope.statements.append(Put(value, self._maps[tiles], corner, sizes, dtype, self._through[tiles]))
