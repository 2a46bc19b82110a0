"""Boxed: the products of a contraction whose tiles the copy engine moves, and the stores of its whole tiles."""

from __future__ import annotations

from fusec.ir.expressions import NodeId
from fusec.ir.flow import Store
from fusec.ir.kernel import Assign, Fetch, Filled, Halves, Name, Product, Put, Turned, Unstack, Value
from fusec.ir.plan import Box, BoxedProduct, Boxes
from fusec.ir.types import Axis
from fusec.passes.kernel.facts import Facts
from fusec.passes.kernel.grid import Grid
from fusec.passes.kernel.naming import Naming
from fusec.passes.kernel.scope import Scope
from fusec.passes.kernel.target import Target


class Boxed:
    """Writes what goes through the boxes of a stage. `names` has that of every box, in the order of `Boxes.all`."""

    def __init__(self, boxes: Boxes, facts: Facts, target: Target, grid: Grid, naming: Naming) -> None:
        self._boxes = boxes
        self._facts = facts
        self._target = target
        self._grid = grid
        self._naming = naming
        self._names = {box: naming.names.fresh(f"{'_'.join(box.tensors)}_box") for box in boxes.all}
        self._flips = {
            box: naming.names.fresh(f"{'_'.join(box.tensors)}_flip") for box in boxes.all if len(box.tensors) > 1
        }
        self._totals: dict[tuple[NodeId, ...], Name] = {}

    @property
    def is_halved(self) -> bool:
        """Whether what stands behind the loop is made of one half of the tile after the other."""
        return self._boxes.is_halved

    @property
    def names(self) -> tuple[str, ...]:
        """The boxes of the kernel."""
        return tuple(self._names.values())

    @property
    def flips(self) -> tuple[str, ...]:
        """The integers that say whether the matrices of a box stand in memory the other way round."""
        return tuple(self._flips.values())

    def multiply(self, start: str, body: Scope) -> None:
        """A step of all products, at `start` along what they contract; their totals begin before the loop."""
        fetched: dict[Box, Value] = {}
        for product in self._boxes.products:
            if product.side not in fetched:
                fetched[product.side] = self._fetched(product.side, start, body, self._side)
            other = self._fetched(product.block, start, body, self._block)
            total = self._total(product, body.outermost)
            made = Product(fetched[product.side], other, total, total.dims, product.precision)
            body.statements.append(Assign(total, made))

    def halve(self, scope: Scope, of_half: Scope) -> Halves:
        """The halves of the only total in turn; what is made of one is yet to come, in `of_half`."""
        ((dots, total),) = self._totals.items()
        left, right = (Name(self._naming.names.fresh(word), total.dims) for word in ("left", "right"))
        sizes = (self._grid.block_of(self._side), self._grid.block_of(self._block))
        scope.statements.append(Unstack((left, right), total, *sizes))
        half = self._grid.half(of_half)
        name = Name(self._naming.of(dots[0], of_half), total.dims)
        of_half.values[dots[0]] = name
        return Halves(half, name, (left, right), ())

    def results(self, scope: Scope) -> None:
        """Every dot under its name, behind the loop."""
        for product in self._boxes.products:
            total = self._totals[product.dots]
            if len(product.dots) == 1:
                scope.values[product.dots[0]] = total
                continue
            first, second = (Name(self._naming.of(n, scope), total.dims) for n in product.dots)
            flip = self._flips.get(product.block, "")
            sizes = (self._grid.block_of(self._side), self._grid.block_of(self._block))
            scope.statements.append(Unstack((first, second), total, *sizes, flip))
            scope.values |= dict(zip(product.dots, (first, second), strict=True))

    def is_put(self, store: Store) -> bool:
        """Whether a store goes through a box."""
        return any(self._facts.flow.stores[place] == store for place, _ in self._boxes.stores)

    def put(self, store: Store, value: Value, scope: Scope) -> None:
        """Write a tile through the box of its store."""
        box = next(box for place, box in self._boxes.stores if self._facts.flow.stores[place] == store)
        shape = tuple(self._grid.block_of(axis) if self._grid.is_cut(axis) else "1" for axis in box.axes)
        corner = self._grid.write_to(box.axes, scope)
        dtype = self._target.dtype(store.element)
        scope.statements.append(Put(value, self._names[box], corner, shape if len(shape) > 2 else (), dtype))

    @property
    def _side(self) -> Axis:
        side = self._facts.stage.side
        assert side is not None
        return side

    @property
    def _block(self) -> Axis:
        block = self._facts.stage.block
        assert block is not None
        return block

    def _fetched(self, box: Box, start: str, body: Scope, cut: Axis) -> Value:
        """A tile as a factor: rows by steps, or steps by columns."""
        element = self._target.graph.tensor(box.matrices[0].tensor).element
        axes = tuple(axis for axis in box.axes if self._grid.is_cut(axis))
        sizes = [self._grid.width_of(axis) for axis in axes]
        corner = self._grid.read_from(box.axes, body, start)
        if len(box.matrices) > 1:
            corner = ("0", *corner)
            sizes[axes.index(cut)] = f"2 * {self._grid.block_of(cut)}"
        text = self._naming.names.fresh("_".join(box.tensors))
        name = Name(text, tuple(map(str, axes)), storage=element)
        body.statements.append(Fetch(name, self._names[box], corner, tuple(sizes) if len(corner) > 2 else ()))
        first = cut if cut == self._side else self._facts.stage.stream[-1]
        return name if axes[0] == first else Turned(name, tuple(map(str, reversed(axes))))

    def _total(self, product: BoxedProduct, root: Scope) -> Name:
        if product.dots not in self._totals:
            single, halved = len(product.dots) == 1, self._boxes.is_halved
            both = "both" if halved else "_".join(map(self._naming.hint, product.dots))
            alone = single and not halved
            hint = self._naming.of(product.dots[0], root) if alone else self._naming.names.fresh(both)
            total = Name(hint, (str(self._side), str(self._block)))
            width = self._grid.block_of(self._block)
            shape = (self._grid.block_of(self._side), width if alone else f"2 * {width}")
            root.statements.append(Assign(total, Filled(total.dims, shape, 0.0)))
            self._totals[product.dots] = total
        return self._totals[product.dots]
