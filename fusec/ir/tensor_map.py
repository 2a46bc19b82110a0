"""Tensor maps: what of a contraction TMA moves, and matrices as products see them."""

from __future__ import annotations

from dataclasses import dataclass

from fusec.ir.expressions import Affine, NodeId
from fusec.ir.multiply import Sums
from fusec.ir.types import Axis


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
    """A product of tiles that TMA loads: `a` of rows by steps, `b` of steps by columns.

    With two `dots` the tile of `b` is one of both, which share that of `a`. Both dots are of one `precision`, and have
    one way to add `sums`.
    """

    dots: tuple[NodeId, ...]
    a: TensorMap
    b: TensorMap
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
        operands = (tiles for product in self.products for tiles in (product.a, product.b))
        return tuple(dict.fromkeys((*operands, *(tiles for _, tiles in self.stores))))
