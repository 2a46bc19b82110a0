"""The grid of a stage: which rows, tiles and steps a program takes, and the index of every axis.

The order of programs itself is in the templates, which know their own variables; here is what they are filled with.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from fusec.ir.axis_words import even_name, index_name
from fusec.ir.expressions import FlowExpr, Load, Lookup, Partial, position_axes, walks_both
from fusec.ir.fixed_extents import known_extent
from fusec.ir.flow import Store, store_axes
from fusec.ir.kernel import RowIndex, Rows, Walk
from fusec.ir.layout import sum_strides
from fusec.ir.multiply import F32
from fusec.ir.schedule import Elementwise, GemmRoles, GemmScaled, GemmStage, GemmTile, GemmTma, RowLoop
from fusec.ir.sizes import symbols_in
from fusec.ir.stage import Stage
from fusec.ir.statements import AxisIndex, Corner, Cut, FirstPrograms, Lanes, Let
from fusec.ir.tile_values import Condition, Dims, InRange, IsZero, MaskName, Name
from fusec.ir.types import Axis, Kind, Sum, Twin, extent, product_extent, without
from fusec.passes.kernel.blocks import block_sizes, block_text, fitting_extent, structure
from fusec.passes.kernel.scope import Names, Scope
from fusec.passes.kernel.target import Target

SPLIT, BLOCK, TILE_M, TILE_N, COLUMN, START, ACROSS = (
    Name(text, (), Kind.INT) for text in ("split", "block", "tile_m", "tile_n", "column", "start", "across")
)
"""What templates call the share, the block or the tile that a program has, half of a tile, where a step begins, and the
tile among those of all columns where other axes have columns as well."""


class Grid:
    """The indices of one kernel. `dims` orders the dimensions of its tiles, `blocks` its compile-time sizes."""

    has_sizes = True
    """Whether the size of each dimension of a tile is known when the kernel is compiled."""

    def __init__(self, stage: Stage, target: Target, names: Names) -> None:
        self._stage = stage
        self._live = [stage.flow.nodes[number] for number in stage.live]
        self._target = target
        self._known = target.known
        self._names = names
        self.dims: Dims = ("row", *(str(axis) for axis in without(stage.order, stage.rows)), "split")
        self.split_products = _split_products(stage, target)
        self.blocks = block_sizes(stage, target.known, bool(self.split_products))
        self.structure = structure(stage)
        self.aligned = self._aligned()
        self.row_mask: MaskName | None = None
        self.rows = Rows(None, ())
        self.m: Cut | None = None
        self.n: Cut | None = None
        self.block: Cut | None = None
        self.tile: tuple[AxisIndex, ...] = ()
        self._split_lanes: Name | None = None
        self._loop_names: dict[tuple[str, str], str] = {}

    def begin(self, scope: Scope) -> None:
        """Give every axis but those of loops its index: rows first, then cut axes, then what is in registers."""
        stage = self._stage
        self.rows = self._rows(scope)
        if isinstance(stage, GemmStage):
            self.m = self.cut(stage.m, scope)
            self.n = None if self._is_halved else self.cut(stage.n, scope)
        elif stage.block is not None:
            self.block = self.cut(stage.block, scope)
        self.tile = tuple(self._axis(axis, scope) for axis in stage.tile)

    def _rows(self, scope: Scope) -> Rows:
        stage = self._stage
        if not stage.lanes:
            return Rows(None, self._decomposed(stage.rows, scope))
        self.row_mask = MaskName("row_mask", ("row",))
        inside = InRange(Name("row", ("row",), Kind.INT), product_extent(stage.rows))
        return Rows(Let(self.row_mask, (inside,)), self._decomposed(stage.rows, scope, ("row",)))

    def cut(self, axis: Axis, scope: Scope) -> Cut:
        """An axis that is cut into tiles over programs."""
        return Cut(extent(axis), self.size_of(axis), self._axis(axis, scope), self._stage.lacks_block)

    def walk(self) -> Walk | None:
        """The loop over all steps, of one program or several; None where whole steps and the rest are apart."""
        stage = self._stage
        *outer, inner = stage.loop
        if isinstance(stage, GemmScaled):
            return Walk(None, stage.times * extent(inner), self.size_of(inner))
        if not outer and not stage.is_split and not isinstance(stage, GemmTma | GemmRoles):
            return None
        whole = isinstance(stage, GemmTile) and stage.takes_groups
        return Walk(product_extent(tuple(outer)) if outer else None, extent(inner), self.size_of(inner), whole)

    def guarded(self, axis: Axis, body: Scope) -> tuple[RowIndex, Let]:
        """The index of an axis of which a step has one position, and the mask of a step that may be too many."""
        name = Name(self._loop_name(index_name(axis), axis), (), Kind.INT)
        mask = MaskName(self._loop_name(f"{name.text}_mask", axis), ())
        body.indices[axis], body.masks[axis] = name, mask
        return RowIndex(name, sympy.S.One, None), Let(mask, (InRange(name, extent(axis)),))

    def step(self, body: Scope) -> tuple[tuple[RowIndex, ...], AxisIndex]:
        """The indices of the axes of a loop in its body."""
        *outer, inner = self._stage.loop
        return self._decomposed(tuple(outer), body), self._axis(inner, body, tail=self.walk() is None)

    @property
    def both(self) -> AxisIndex | None:
        """The index of both elements at each position of the innermost axis of a loop, if some operand has two."""
        inner = self._stage.loop[-1]
        if not any(isinstance(node.expr, Load) and walks_both(node.expr, inner) for node in self._live):
            return None
        name = Name(self._loop_name(f"{index_name(inner)}_both", inner), (str(inner),), Kind.INT)
        if fitting_extent(inner, self._stage, self._known) is not None:
            return AxisIndex(name, f"2 * {self.size_of(inner)}", None)
        mask = MaskName(self._loop_name(f"{name.text}_mask", inner), (str(inner),))
        inside = InRange(name, 2 * extent(inner), tail=self.walk() is None)
        return AxisIndex(name, f"2 * {self.size_of(inner)}", Let(mask, (inside,)))

    @property
    def groups(self) -> tuple[Axis, Axis, int] | None:
        """The groups that a step takes for a block of rows, the axis that each has whole, and its extent."""
        stage = self._stage
        if not isinstance(stage, RowLoop) or not stage.walks_groups or len(stage.tile) > 1:
            return None
        (groups,), (within,) = stage.loop, stage.tile
        size = fitting_extent(within, stage, self._known)
        return None if size is None else (groups, within, size)

    def joined(self, times: int, scope: Scope) -> tuple[Name, MaskName]:
        """The index along all that the groups of a step have, `times` elements at each position, and its mask."""
        assert self.groups is not None
        groups, within, size = self.groups
        home = next(around for around in scope.around() if groups in around.indices)
        if times not in home.joined:
            text = f"{index_name(groups)}{index_name(within)}{'' if times == 1 else '_both'}"
            name = Name(self._loop_name(text, within), (str(within),), Kind.INT)
            mask = MaskName(self._loop_name(f"{name.text}_mask", within), name.dims)
            each = times * size
            inside = InRange(name, extent(groups) * each, tail=self.walk() is None)
            home.statements.append(Lanes(name, f"{self.size_of(groups)} * {each}", f"{START.text} * {each}"))
            home.statements.append(Let(mask, (inside,)))
            home.joined[times] = name, mask
        return home.joined[times]

    @property
    def held(self) -> tuple[Axis, ...]:
        """The axes of a tile in registers, where no loop walks others."""
        stage = self._stage
        if stage.loop or isinstance(stage, GemmStage) or not self.has_sizes:
            return ()
        return stage.tile if stage.block is None else (*stage.tile, stage.block)

    def whole(self, axis: Axis, scope: Scope) -> Axis:
        """Both neighbours at every position of an axis in registers, as one axis that has an index."""
        both = Twin(Sum(((axis,), (axis,))))
        home = next(around for around in scope.around() if axis in around.indices)
        if both not in home.indices:
            name = Name(self._loop_name(f"{index_name(axis)}_both", axis), (str(axis),), Kind.INT)
            block = BLOCK if axis == self._stage.block else None
            home.statements.append(Lanes(name, self.size_of_both(axis), wide=True, block=block))
            home.indices[both], home.masks[both] = name, None
            if home.masks[axis] is not None:
                mask = MaskName(self._loop_name(f"{name.text}_mask", axis), name.dims)
                home.statements.append(Let(mask, (InRange(name, 2 * extent(axis), even=self._even(axis)),)))
                home.masks[both] = mask
        return both

    def size_of_both(self, axis: Axis) -> str:
        """The number of neighbours in a tile that has both at every position of an axis."""
        return f"2 * {self.size_of(axis)}"

    def split_lanes(self, scope: Scope) -> Name:
        """The index over the partial results of one row."""
        if self._split_lanes is None:
            self._split_lanes = Name(self._names.fresh("splits"), ("split",), Kind.INT)
            scope.statements.append(Lanes(self._split_lanes, "SPLITS"))
        return self._split_lanes

    def absent(self, axes: tuple[Axis, ...], scope: Scope) -> tuple[Condition, ...]:
        """Guards so that a store without some axes of the grid is made by one program only."""
        guards: list[Condition] = [
            IsZero(scope.index(axis))
            for axis in self._stage.rows
            if axis not in axes and known_extent(axis, self._known) != 1
        ]
        if isinstance(self._stage, GemmStage):
            cuts = {self._stage.m: TILE_M, self._stage.n: TILE_N}
        else:
            cuts = {self._stage.block: BLOCK} if self._stage.block is not None else {}
        return (*guards, *(IsZero(place) for axis, place in cuts.items() if axis not in axes))

    def first_programs(self, store: Store) -> FirstPrograms | None:
        """The test of a program that makes a store that has none of the rows, when these are lanes."""
        if not self._stage.is_without_rows(store):
            return None
        return FirstPrograms(self.block if self._stage.block in store_axes(self._stage.flow, store) else None)

    def order(self, dims: set[str]) -> Dims:
        """Dimensions in the order that every tile has them."""
        return tuple(dim for dim in self.dims if dim in dims)

    def shape(self, dims: Dims) -> tuple[str, ...]:
        """The compile-time size of each dimension of a tile."""
        sizes = {str(axis): self.size_of(axis) for axis in self._stage.order} | {"row": "ROWS", "split": "SPLITS"}
        return tuple(sizes[dim] for dim in dims)

    def integers(self, body: object) -> tuple[str, ...]:
        """The extents, then the strides, that a skeleton uses."""
        fixed = {*self.blocks, *self.structure}
        used = [name for name in symbols_in(body) if name not in fixed]
        return (*(n for n in used if "_stride_" not in n), *(n for n in used if "_stride_" in n))

    def _aligned(self) -> frozenset[str]:
        """The extent that rows end at and the strides that rows begin at, unless they are compile-time arguments."""
        flow, rows = self._stage.flow, self._stage.rows
        inner = self._innermost()
        if inner is None:
            return frozenset()
        accesses = [(node.expr.param, node.expr.positions) for node in flow.nodes if isinstance(node.expr, Load)]
        accesses += [(store.target, store.positions) for store in flow.stores]
        found = {str(extent(inner))} if extent(inner).is_Symbol else set()
        found |= {name for node in flow.nodes for name in _sum_rows(node.expr, inner, rows)}
        for tensor, positions in accesses:
            if inner not in position_axes(positions):
                continue
            for place, position in enumerate(positions):
                if isinstance(position, Lookup) or (position.terms and set(position.axes) <= set(rows)):
                    found.add(self._target.strides(tensor)[place].name)
        return frozenset(found).difference(self.structure, self.blocks)

    def _innermost(self) -> Axis | None:
        """The axis that neighbours in memory differ in, of those that are no rows."""
        stage = self._stage
        inside = without(stage.order, stage.rows)
        if isinstance(stage, GemmStage):
            # The dimensions of a tile are in the order that tensor cores want, not in that of memory.
            stored = [axis for store in stage.flow.stores for axis in position_axes(store.positions)]
            inside = tuple(axis for axis in stored if axis in (stage.m, stage.n))
        if isinstance(stage, RowLoop) and stage.walks_groups:
            return stage.block
        return inside[-1] if inside else None

    # Tiles that go through tensor maps

    def read_from(self, axes: tuple[Axis, ...], scope: Scope) -> tuple[Corner, ...]:
        """Where along each axis of a tensor map a step begins."""
        n = self._contraction.n
        return self._corner(axes, scope, {n: Corner(TILE_N, self.width_of(n)), self._stage.loop[-1]: Corner(START)})

    def write_to(self, axes: tuple[Axis, ...], scope: Scope) -> tuple[Corner, ...]:
        """Where along each axis of a tensor map a tile that is made begins."""
        n = self._contraction.n
        return self._corner(axes, scope, {n: Corner(COLUMN if self._is_halved else TILE_N, self.size_of(n))})

    def _corner(self, axes: tuple[Axis, ...], scope: Scope, known: dict[Axis, Corner]) -> tuple[Corner, ...]:
        m = self._contraction.m
        known = known | {m: Corner(TILE_M, self.size_of(m))}
        return tuple(known[axis] if axis in known else Corner(scope.index(axis), wide=True) for axis in axes)

    def width_of(self, axis: Axis) -> str:
        """The extent along an axis of what is multiplied at once, as text."""
        return f"{'2 * ' if self._is_halved and axis == self._contraction.n else ''}{self.size_of(axis)}"

    @property
    def _is_halved(self) -> bool:
        stage = self._stage
        return stage.is_halved if isinstance(stage, GemmRoles) else isinstance(stage, GemmTma) and stage.maps.is_halved

    @property
    def _contraction(self) -> GemmStage:
        assert isinstance(self._stage, GemmStage)
        return self._stage

    def is_cut(self, axis: Axis) -> bool:
        """Whether a tile of a contraction has several positions along an axis."""
        return axis in (self._contraction.m, self._contraction.n, *self._stage.loop)

    def size_of(self, axis: Axis) -> str:
        """The size of an axis in a tile, as text."""
        return block_text(axis, self._stage, self._known)

    # Indices

    def _decomposed(self, axes: tuple[Axis, ...], scope: Scope, dims: Dims = ()) -> tuple[RowIndex, ...]:
        """The index of each axis of a linear number, outermost first."""
        found: list[RowIndex] = []
        for place, axis in enumerate(axes):
            name = Name(self._loop_name(index_name(axis), axis), dims, Kind.INT)
            found.append(RowIndex(name, product_extent(axes[place + 1 :]), extent(axis) if place else None))
            scope.indices[axis] = name
            scope.masks[axis] = None
        return tuple(found)

    def _axis(self, axis: Axis, scope: Scope, *, tail: bool = False) -> AxisIndex:
        name = Name(self._loop_name(index_name(axis), axis), (str(axis),), Kind.INT)
        scope.indices[axis] = name
        if fitting_extent(axis, self._stage, self._known) is not None:
            scope.masks[axis] = None
            return AxisIndex(name, self.size_of(axis), None)
        mask = MaskName(self._loop_name(f"{name.text}_mask", axis), (str(axis),))
        scope.masks[axis] = mask
        aligned = str(extent(axis)) in self.aligned
        inside = InRange(name, extent(axis), even=self._even(axis), tail=tail, aligned=aligned)
        return AxisIndex(name, self.size_of(axis), Let(mask, (inside,)))

    def _even(self, axis: Axis) -> str:
        """The flag that no lane of a tile is outside of an axis, if its extent is not known."""
        unknown = axis in self._stage.tile and known_extent(axis, self._known) is None
        return even_name(axis) if unknown else ""

    def _loop_name(self, wanted: str, axis: Axis) -> str:
        """A name like `wanted`, for what belongs to an axis, that every sweep of a loop uses again."""
        if (wanted, str(axis)) not in self._loop_names:
            self._loop_names[wanted, str(axis)] = self._names.fresh(wanted)
        return self._loop_names[wanted, str(axis)]


def _split_products(stage: Stage, target: Target) -> frozenset[str]:
    """The products in f32 that a stage without reductions takes elements of: split-K may have left them, too."""
    if not isinstance(stage, Elementwise):
        return frozenset()
    loads = (node.expr for node in stage.flow.nodes if isinstance(node.expr, Load) and node.expr.pair is None)
    found = {load.param for load in loads if load.param in target.products}
    return frozenset(name for name in found if target.graph.tensor(name).element == F32)


def _sum_rows(expr: FlowExpr, inner: Axis, rows: tuple[Axis, ...]) -> Iterator[str]:
    """The strides at which rows of the sums begin that an expression adds."""
    if isinstance(expr, Partial) and expr.as_product and inner in expr.axes:
        yield from (
            stride.name
            for axis, stride in zip(expr.axes, sum_strides(expr.workspace, expr.axes), strict=False)
            if axis in rows
        )
