"""Stage: what one kernel of a schedule computes, and which axis goes where, before a line of the kernel exists.

It says which axes are rows (one program or a lane of it each), which axis is cut into blocks over programs, which axes
stay in registers, and which are streamed in a loop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fusec.ir.expressions import NodeId
from fusec.ir.flow import Affine, Flow, Store, flow_reachable, store_axes
from fusec.ir.multiply import Sums
from fusec.ir.types import Axis


@dataclass(frozen=True, slots=True)
class PartialResult:
    """A reduction (node `value` of the stage) whose partial results go to `scratch`, over `axes` and the splits.

    The splits are the innermost dimension of `scratch`, or the outermost if `apart`.
    """

    scratch: str
    op: str
    value: NodeId
    axes: tuple[Axis, ...]
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Matrix:
    """A tensor as a product sees it: where along each stored dimension the elements stand that it reads or writes."""

    tensor: str
    positions: tuple[Affine, ...]


@dataclass(frozen=True, slots=True)
class TensorMap:
    """Tiles that TMA moves: of one matrix, or two that lie alike, whose tiles stand on one another.

    `axes` are those of the tile and of its position, outermost in memory first; neighbours along the last are next to
    each other.
    """

    matrices: tuple[Matrix, ...]
    axes: tuple[Axis, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The tensors that its matrices are, or are parts of; which of two lies first, only a call knows."""
        return tuple(dict.fromkeys(matrix.tensor for matrix in self.matrices))


@dataclass(frozen=True, slots=True)
class TmaProduct:
    """A product of tiles that TMA loads. With two `dots` the second factor has tiles of both, which share the first.

    Both are of one `precision`, and have one way to add `sums`.
    """

    dots: tuple[NodeId, ...]
    side: TensorMap
    block: TensorMap
    precision: str
    sums: Sums


@dataclass(frozen=True, slots=True)
class TensorMaps:
    """What of a stage TMA moves: its products, and some of its stores, by their place in the flow."""

    products: tuple[TmaProduct, ...]
    stores: tuple[tuple[int, TensorMap], ...]

    @property
    def is_halved(self) -> bool:
        """Whether what stands behind a single dot is made of the left half of its tile, then of the right one."""
        return [len(product.dots) for product in self.products] == [1]

    @property
    def all(self) -> tuple[TensorMap, ...]:
        """Every tensor map once."""
        pairs = (box for product in self.products for box in (product.side, product.block))
        return tuple(dict.fromkeys((*pairs, *(box for _, box in self.stores))))


@dataclass(frozen=True, slots=True)
class Stage:
    """One kernel. `order` holds its axes, outermost in memory first.

    `rows` are linearised, outermost first; `lanes` puts several rows in one program. `block` is cut over programs.
    `tile` axes are whole in registers. `stream` axes are walked in a loop, the last in chunks; with `split` the steps
    are dealt out to several programs, which with `in_turn` take them as rows. A contraction cuts a second axis, `side`,
    and multiplies tiles: its `order` is that of their dimensions, `side` before `stream` and `block` behind it.
    With `swap_ab` the `block` is of few rows, which are the columns of the tile. With `maps` TMA brings
    them, and a program makes one tile of the output after another.

    Programs that share a tile leave its `sums`: they launch the kernel that makes whole tiles, that of the stage
    `within`, which then has the same name. So does a gemv of rows that registers hold: that kernel takes them in steps.
    """

    name: str
    flow: Flow
    order: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    lanes: bool = False
    block: Axis | None = None
    side: Axis | None = None
    tile: tuple[Axis, ...] = ()
    stream: tuple[Axis, ...] = ()
    split: bool = False
    in_turn: bool = False
    swap_ab: bool = False
    maps: TensorMaps | None = None
    partials: tuple[PartialResult, ...] = ()
    sums: tuple[PartialResult, ...] = ()
    within: Stage | None = None

    @property
    def live(self) -> list[NodeId]:
        """The nodes that its stores and partial results depend on, in topological order."""
        partials = (partial.value for partial in self.partials)
        return sorted(flow_reachable(self.flow.nodes, (*self.flow.roots, *partials)))

    @property
    def lacks_block(self) -> bool:
        """Whether some result lacks the axis that is cut into blocks. It is made in the first block: there is one."""
        made = (*(store_axes(self.flow, store) for store in self.flow.stores), *(part.axes for part in self.partials))
        return self.block is not None and any(self.block not in axes for axes in made)

    @property
    def lacks_rows(self) -> bool:
        """Whether some store has none of the rows that are lanes. The first programs make it: there are some."""
        return any(self.is_without_rows(store) for store in self.flow.stores)

    @property
    def whole(self) -> Stage:
        """What its kernel is built for: whole tiles, whose rows are those of the output, of which there may be few."""
        stage = self.within or self
        if not stage.swap_ab or stage.side is None or stage.block is None:
            return stage
        order = (*stage.rows, stage.block, *stage.stream, stage.side)
        return replace(stage, order=order, side=stage.block, block=stage.side, swap_ab=False)

    def is_without_rows(self, store: Store) -> bool:
        """Whether a store has none of the rows of a stage whose rows are lanes."""
        return self.lanes and not any(axis in self.rows for axis in store_axes(self.flow, store))
