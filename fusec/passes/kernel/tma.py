"""TMA: the products of a contraction whose tiles it loads, and the stores of whole tiles."""

from __future__ import annotations

from fusec.ir.expressions import NodeId
from fusec.ir.flow import Store
from fusec.ir.kernel import Total
from fusec.ir.schedule import GemmTma
from fusec.ir.statements import Assign, Corner, Fetch, Put
from fusec.ir.tensor_map import TensorMap, TmaProduct
from fusec.ir.tile_values import Name, Product, Turned, Value
from fusec.ir.types import Axis
from fusec.passes.kernel.facts import Facts
from fusec.passes.kernel.grid import Grid
from fusec.passes.kernel.naming import Naming
from fusec.passes.kernel.scope import Scope
from fusec.passes.kernel.target import Target


class TmaTiles:
    """Writes what TMA moves for a stage. `names` has that of every tensor map, in the order of `TensorMaps.all`."""

    def __init__(self, stage: GemmTma, facts: Facts, target: Target, grid: Grid, naming: Naming) -> None:
        self._stage = stage
        self._maps = maps = stage.maps
        self._facts = facts
        self._target = target
        self._grid = grid
        self._naming = naming
        words = {tiles: "_".join(tiles.tensors) for tiles in maps.all}
        self._names = {tiles: naming.names.fresh(f"{word}_map") for tiles, word in words.items()}
        self._flips = {
            tiles: naming.names.fresh(f"{word}_flip") for tiles, word in words.items() if len(tiles.tensors) > 1
        }
        self._totals: dict[tuple[NodeId, ...], Name] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The tensor maps of the kernel."""
        return tuple(self._names.values())

    @property
    def flips(self) -> tuple[str, ...]:
        """The integers that say whether the matrices of a tensor map stand in memory the other way round."""
        return tuple(self._flips.values())

    def multiply(self, body: Scope) -> None:
        """A step of all products along what they contract."""
        fetched: dict[TensorMap, Value] = {}
        for product in self._maps.products:
            if product.a not in fetched:
                fetched[product.a] = self._fetched(product.a, body, self._stage.m)
            b = self._fetched(product.b, body, self._stage.n)
            total = self._total(product, body.outermost)
            made = Product(fetched[product.a], b, total, total.dims, product.precision, product.sums, total.kind)
            body.statements.append(Assign(total, made))

    def results(self, scope: Scope) -> tuple[Total, ...]:
        """The accumulators, and every dot under its name in `scope`, which is behind the loop."""
        return tuple(self._result(product, scope) for product in self._maps.products)

    def _result(self, product: TmaProduct, scope: Scope) -> Total:
        total = self._totals[product.dots]
        if len(product.dots) == 1 and not self._maps.is_halved:
            scope.values[product.dots[0]] = total
            return Total(total, ())
        parts = tuple(Name(self._naming.of(n, scope), total.dims, total.kind) for n in product.dots)
        scope.values |= dict(zip(product.dots, parts, strict=True))
        return Total(total, parts, self._flips.get(product.b, ""))

    def is_put(self, store: Store) -> bool:
        """Whether a store goes through a tensor map."""
        return any(self._facts.flow.stores[place] == store for place, _ in self._maps.stores)

    def put(self, store: Store, value: Value, scope: Scope) -> None:
        """Write a tile through the tensor map of its store."""
        tiles = next(tiles for place, tiles in self._maps.stores if self._facts.flow.stores[place] == store)
        shape = tuple(self._grid.size_of(axis) if self._grid.is_cut(axis) else "1" for axis in tiles.axes)
        corner = self._grid.write_to(tiles.axes, scope)
        dtype = self._target.dtype(store.element)
        scope.statements.append(Put(value, self._names[tiles], corner, shape if len(shape) > 2 else (), dtype))

    def _fetched(self, tiles: TensorMap, body: Scope, cut: Axis) -> Value:
        """A tile as a factor: rows by steps, or steps by columns."""
        element = self._target.graph.tensor(tiles.matrices[0].tensor).element
        axes = tuple(axis for axis in tiles.axes if self._grid.is_cut(axis))
        sizes = [self._grid.width_of(axis) for axis in axes]
        corner = self._grid.read_from(tiles.axes, body)
        if len(tiles.matrices) > 1:
            corner = (Corner(), *corner)
            sizes[axes.index(cut)] = f"2 * {self._grid.size_of(cut)}"
        text = self._naming.names.fresh("_".join(tiles.tensors))
        name = Name(text, tuple(map(str, axes)), element.kind, element)
        body.statements.append(Fetch(name, self._names[tiles], corner, tuple(sizes) if len(corner) > 2 else ()))
        first = cut if cut == self._stage.m else self._stage.k[-1]
        return name if axes[0] == first else Turned(name, tuple(map(str, reversed(axes))), name.kind)

    def _total(self, product: TmaProduct, root: Scope) -> Name:
        if product.dots not in self._totals:
            if self._maps.is_halved:
                text = "both"
            elif len(product.dots) == 1:
                text = self._naming.of(product.dots[0], root)
            else:
                text = self._naming.names.fresh("_".join(map(self._naming.hint, product.dots)))
            kind = self._facts.nodes[product.dots[0]].type.kind
            self._totals[product.dots] = Name(text, (str(self._stage.m), str(self._stage.n)), kind)
        return self._totals[product.dots]
