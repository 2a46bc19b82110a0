"""Side by side: neighbours of a tile read and written as one axis of twice the length.

Triton gives threads that are neighbours what is contiguous along one dimension of a tile. Of a tile of heads, positions
and both neighbours that is the last; which of the others comes next depends on its version, and heads are far apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fusec.ir.expressions import Affine, Lookup, NodeId, Pair, Position
from fusec.ir.tile_values import Dims, Value
from fusec.ir.types import Axis
from fusec.passes.kernel.grid import Grid
from fusec.passes.kernel.scope import Scope


@dataclass(frozen=True, slots=True)
class SideBySide:
    """The `positions` of an access to both neighbours along an `axis` as one that is `whole`; `dims` if apart."""

    positions: tuple[Position, ...]
    dims: Dims
    axis: Axis
    whole: Axis

    def walked(self, axes: tuple[Axis, ...] | None) -> tuple[Axis, ...] | None:
        """The axes of an access, with the whole one in place of the one it is of."""
        return axes if axes is None else tuple(self.whole if axis == self.axis else axis for axis in axes)


def side_by_side(
    pair: Pair,
    positions: tuple[Position, ...],
    indices: Mapping[NodeId, Value],
    grid: Grid,
    scope: Scope,
    stored: tuple[Value, ...] = (),
) -> SideBySide | None:
    """An access to both neighbours as one axis, if these are the last dimension of a tile in registers.

    What is `stored` has to have all of these: a tile is not broadcast once its neighbours are one axis.
    """
    at = positions[pair.dim]
    found = [axis for axis, factor in at.terms if factor == 2 * pair.step] if isinstance(at, Affine) else []
    if len(found) != 1 or found[0] not in grid.held:
        return None
    (axis,) = found
    assert isinstance(at, Affine)
    others = (*positions[: pair.dim], *positions[pair.dim + 1 :])
    elsewhere = {dim for position in others for dim in _dims(position, indices, scope)}
    dims = grid.order({*elsewhere, *_dims(at, indices, scope)})
    if str(axis) in elsewhere or dims[-1] != str(axis):
        return None
    if stored and {dim for value in stored for dim in value.dims} != set(dims):
        return None
    whole = grid.whole(axis, scope)
    terms = tuple((whole, pair.step) if term == axis else (term, factor) for term, factor in at.terms)
    made: tuple[Position, ...] = (*positions[: pair.dim], replace(at, terms=terms), *positions[pair.dim + 1 :])
    return SideBySide(made, dims, axis, whole)


def _dims(position: Position, indices: Mapping[NodeId, Value], scope: Scope) -> set[str]:
    if isinstance(position, Lookup):
        return set(indices[position.index].dims)
    return {dim for axis in position.axes for dim in scope.index(axis).dims}
