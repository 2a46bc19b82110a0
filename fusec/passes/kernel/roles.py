"""Roles: what a gemm in roles loads and stores through tensor maps, and what its sums are called."""

from __future__ import annotations

from dataclasses import replace

from fusec.ir.flow import Store
from fusec.ir.kernel import Buffered, GroupSteps, Total
from fusec.ir.schedule import GemmRoles
from fusec.ir.statements import Assign, Corner, Put
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
        loaded = [(number, values.wide(number, body)) for number in stage.scales.factors]
        scales: list[tuple[Name, Name]] = []
        for number, value in loaded:
            name = value if isinstance(value, Name) else self._naming.assign(number, value, body)
            scales.append((replace(name, text=self._naming.names.fresh(f"last_{name.text}")), name))
        (number,) = stage.products
        kind = self._facts.nodes[number].type.kind
        total = root.values[stage.scales.total]
        part = Name(self._naming.names.fresh(self._naming.hint(number)), total.dims, kind)
        factors: tuple[Value, ...] = tuple(last for last, _ in scales)
        if stage.scales.first:
            factors = (self._product(*factors),)
        added = Apply("add", (total, self._product(part, *factors)), total.dims, Kind.REAL)
        assert isinstance(total, Name)
        spread = tuple(bool(last.dims) for last, _ in scales)
        return GroupSteps(index, mask, part, body.taken(), tuple(scales), spread, (Assign(total, added),))

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
