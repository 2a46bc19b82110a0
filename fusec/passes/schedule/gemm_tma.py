"""Gemm by TMA: which operands and results of a contraction it moves through tensor maps, tile by tile.

Relies on resolved views. A tensor map is of a tensor, or a part of one, whose positions are affine: every axis has one
stride. Two dots of one precision that share a factor and whose other factors lie alike, as gate and up do, or the
halves of a head, become one product of twice the width. Whether the strides of a call suit TMA, the launcher knows.
"""

from __future__ import annotations

import sympy

from fusec.ir.expressions import Affine, Dot, Load, NodeId, Position, Reduce, position_axes
from fusec.ir.flow import Flow, Store, store_axes
from fusec.ir.multiply import Sums, multiplied_as, sums_of
from fusec.ir.schedule import GemmTma
from fusec.ir.tensor_map import Matrix, TensorMap, TensorMaps, TmaProduct
from fusec.ir.types import Axis, DType, without
from fusec.passes.schedule.gemm import contractions
from fusec.passes.schedule.survey import Survey

_MOST_DIMS = 5
"""Dimensions of a tensor map, that of matrices on one another included."""


def gemm_tma(facts: Survey, label: str) -> GemmTma | str:
    """The schedule whose operands TMA loads, or why there is none."""
    found = contractions(facts, label)
    if isinstance(found, str):
        return found
    tile = found[-1].tile
    if len(tile.k) > 1:
        return "it contracts several axes"
    if any(isinstance(facts.flow.nodes[n].expr, Reduce) for n in facts.flow.live):
        return "something is reduced beside the dots"
    maps = _tensor_maps(facts, tile.m, tile.n)
    if isinstance(maps, str):
        return maps
    return GemmTma(f"tma{label}", tile.flow, tile.order, tile.rows, tile.m, tile.n, tile.k, maps)


def _tensor_maps(facts: Survey, m: Axis, n: Axis) -> TensorMaps | str:
    """The tensor maps of a contraction with tiles of `m` by `n`, or why there are none."""
    flow, dots = facts.flow, facts.flow.dots
    both = {number: factors(flow, dot, n) for number, dot in dots.items()}
    cut = {m, n, *(axis for dot in dots.values() for axis in dot.axes)}
    products: list[TmaProduct] = []
    left = list(dots)
    while left:
        number, *left = left
        first, second = (loaded(flow, factor, cut) for factor in both[number])
        alike = _product(flow, dots[number])
        if first is None or second is None:
            return "an operand of a dot is computed, looked up or may be left out"
        types = multiplied_as(flow.nodes, dots[number]) or ()
        if any(flow.nodes[factor].type.element not in types for factor in both[number]):
            return "an operand of a dot is stored in another type than it is multiplied in"
        if _is_across(dots[number], alike[1], first, second):
            return "an operand of 8 bits does not lie along what is contracted"
        same = (other for other in left if _product(flow, dots[other]) == alike)
        twin = next((other for other in same if _are_alike(flow, both[number], both[other])), None)
        if twin is None:
            products.append(TmaProduct((number,), first, second, *alike))
            continue
        left.remove(twin)
        other = loaded(flow, both[twin][1], cut)
        assert other is not None
        pair = TensorMap((*second.matrices, *other.matrices), second.axes)
        if len(pair.axes) == _MOST_DIMS:
            return "its matrices have too many dimensions"
        products.append(TmaProduct((number, twin), first, pair, *alike))
    stores = ((place, stored(flow, store, m, n)) for place, store in enumerate(flow.stores))
    return TensorMaps(tuple(products), tuple((place, tiles) for place, tiles in stores if tiles is not None))


def _product(flow: Flow, dot: Dot) -> tuple[str, Sums]:
    """How a dot multiplies, and how it adds up."""
    return dot.precision, sums_of(flow.nodes, dot)


def _is_across(dot: Dot, sums: Sums, *operands: TensorMap) -> bool:
    """Whether neighbours in memory are of different sums: tensor cores take 16 bits in that way, not 8."""
    return sums is not Sums.SINGLE and any(operand.axes[-1] not in dot.axes for operand in operands)


def factors(flow: Flow, dot: Dot, n: Axis) -> tuple[NodeId, NodeId]:
    """The factor with the rows of the tile, then the one with its columns."""
    return (dot.b, dot.a) if n in flow.nodes[dot.a].type.axes else (dot.a, dot.b)


def loaded(flow: Flow, factor: NodeId, cut: set[Axis]) -> TensorMap | None:
    """The tensor map of an operand that lies in memory, in tiles along the axes that are `cut`."""
    expr = flow.nodes[factor].expr
    if not isinstance(expr, Load) or expr.pair is not None:
        return None
    return _tiles(expr.param, expr.positions, cut)


def stored(flow: Flow, store: Store, m: Axis, n: Axis) -> TensorMap | None:
    """The tensor map of a store, if that is of whole tiles of 16-bit elements with the rows of the tile."""
    if isinstance(store.element, DType) and store.element.bits != 16:
        return None
    if store.pair is not None or set(position_axes(store.positions)) != set(store_axes(flow, store)):
        return None
    tiles = _tiles(store.target, store.positions, {m, n})
    return tiles if tiles is not None and tiles.axes[-1] == n and m in tiles.axes else None


def _tiles(tensor: str, positions: tuple[Position, ...], cut: set[Axis]) -> TensorMap | None:
    affine = tuple(position for position in positions if isinstance(position, Affine))
    axes = [axis for position in affine for axis in position.axes]
    steps = [factor for position in affine for _, factor in position.terms]
    if len(affine) < len(positions) or not axes or not affine[-1].terms or steps[-1] != sympy.S.One:
        return None
    if len(axes) > min(len(set(axes)), _MOST_DIMS) or axes[-1] not in cut:
        return None
    # The tile has its two axes, in the order of memory, behind those that only say where it is.
    return TensorMap(
        (Matrix(tensor, affine),), (*without(tuple(axes), tuple(cut)), *(axis for axis in axes if axis in cut))
    )


def _are_alike(flow: Flow, one: tuple[NodeId, NodeId], other: tuple[NodeId, NodeId]) -> bool:
    """Whether two products share their first factor, and their second ones differ in where they begin alone."""
    a, b = flow.nodes[one[1]], flow.nodes[other[1]]
    if one[0] != other[0] or a.type != b.type or not isinstance(a.expr, Load) or not isinstance(b.expr, Load):
        return False
    return _terms(a.expr) == _terms(b.expr)


def _terms(load: Load) -> list[object]:
    return [position.terms if isinstance(position, Affine) else position for position in load.positions]
