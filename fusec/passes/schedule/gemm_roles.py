"""Roles: the schedule of a persistent gemm of 8 bits whose warps have roles, for sm_90.

Before: the schedule by TMA of one product, or of two that share a factor. After: the same whose tensor maps have the
axes of a tile alone. Every other axis has one position, which the launcher knows.
"""

from __future__ import annotations

from fusec.ir.multiply import Sums
from fusec.ir.schedule import GemmRoles, GemmTma
from fusec.ir.tensor_map import Matrix, TensorMap
from fusec.ir.types import Axis


def gemm_roles(twin: GemmTma, label: str) -> GemmRoles | str:
    """The schedule beside one by TMA, or why there is none."""
    maps = twin.maps
    if len(maps.products) > 1:
        return "its products share no factor"
    (product,) = maps.products
    if product.sums not in (Sums.PARTS, Sums.WHOLE):
        # Sums of f8 as the tensor core adds them were as fast without roles, seen on an H200.
        return "its sums need no roles"
    cut = (twin.m, twin.n, *twin.k)
    operands = tuple(_within(matrix, tiles.axes, cut) for tiles in (product.a, product.b) for matrix in tiles.matrices)
    stores = tuple((place, _within(tiles.matrices[0], tiles.axes, cut)) for place, tiles in maps.stores)
    about = (twin.flow, twin.order, twin.rows, twin.m, twin.n, twin.k)
    return GemmRoles(f"roles{label}", *about, product.dots, product.sums, operands, stores, twin)


def _within(matrix: Matrix, axes: tuple[Axis, ...], cut: tuple[Axis, ...]) -> TensorMap:
    return TensorMap((matrix,), tuple(axis for axis in axes if axis in cut))
