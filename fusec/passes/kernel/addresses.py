"""Addresses and masks: where the elements of an access are, and which of its lanes exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy

from fusec.ir.expressions import Affine, Lookup, NodeId, Position, position_axes
from fusec.ir.layout import sum_strides
from fusec.ir.statements import Let, Point
from fusec.ir.tile_values import Address, Along, AsWhole, Condition, Dims, InRange, MaskName, Name, Value, Whole
from fusec.ir.types import Axis, product_extent
from fusec.passes.kernel.grid import Grid
from fusec.passes.kernel.scope import Names, Scope
from fusec.passes.kernel.target import Target


@dataclass(frozen=True, slots=True)
class Access:
    """An address, the masks of its axes and the range checks of its looked-up positions."""

    address: Address
    mask: tuple[Condition, ...]
    looked: tuple[Condition, ...]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (*self.mask, *self.looked)


class Addresses:
    """Makes addresses of positions. What all lanes of a program share becomes a pointer with a line of its own."""

    def __init__(self, target: Target, grid: Grid, names: Names) -> None:
        self._target = target
        self._grid = grid
        self._names = names
        self.workspaces: list[str] = []
        """The workspaces of partial results met so far."""

    def access(
        self,
        tensor: str,
        positions: tuple[Position, ...],
        indices: Mapping[NodeId, Value],
        scope: Scope,
        axes: tuple[Axis, ...] | None = None,
    ) -> Access:
        """The access to a tensor at `positions`; `indices` holds the values of looked-up ones.

        It is masked along `axes`. Left out, these are the axes of the positions that are not looked up, which is
        enough for a load of what nothing writes: beyond the end of an index it is inside of the tensor, and nothing
        uses it.
        """
        return self._access(
            tensor, tuple(zip(positions, self._target.strides(tensor), strict=True)), indices, scope, axes
        )

    def sums(self, workspace: str, axes: tuple[Axis, ...], scope: Scope) -> Access:
        """The access to sums over `axes` as to a tensor: those of the first split."""
        if workspace not in self.workspaces:
            self.workspaces.append(workspace)
        positions = (Affine(((axis, sympy.S.One),), sympy.S.Zero) for axis in axes)
        return self._access(
            workspace, tuple(zip(positions, sum_strides(workspace, axes), strict=False)), {}, scope, axes
        )

    def _access(
        self,
        tensor: str,
        positions: tuple[tuple[Position, sympy.Symbol], ...],
        indices: Mapping[NodeId, Value],
        scope: Scope,
        axes: tuple[Axis, ...] | None,
    ) -> Access:
        row: list[Along] = []
        tile: list[Along] = []
        looked: list[Condition] = []
        for position, stride in positions:
            about = (stride, stride.name in self._grid.aligned)
            match position:
                case Lookup(number, size):
                    index = indices[number]
                    looked.append(self._inside(index, size, scope))
                    offset = AsWhole(index, Whole.INDEX, index.dims)
                    (row if _is_row(index) else tile).append(Along(((offset, sympy.S.One),), sympy.S.Zero, *about))
                case Affine(terms, offset):
                    found = [(scope.index(axis), factor) for axis, factor in terms]
                    here = tuple(term for term in found if _is_row(term[0]))
                    rest = tuple(term for term in found if not _is_row(term[0]))
                    if here:
                        row.append(Along(here, sympy.S.Zero, *about))
                    if rest or offset != 0:
                        tile.append(Along(rest, offset, *about))
        pointer = self._row_pointer(tensor, tuple(row), scope)
        dims = self._grid.order({*pointer.dims, *_dims(tuple(tile))})
        walked = position_axes(tuple(position for position, _ in positions))
        mask = self.mask(walked if axes is None else axes, dims, scope)
        return Access(Address(pointer, tuple(tile), dims), mask, tuple(looked))

    def partial(self, workspace: str, axes: tuple[Axis, ...], apart: bool, lane: Name, scope: Scope) -> Access:
        """The access to partial results over `axes`, of the split that `lane` counts, innermost or else `apart`."""
        if workspace not in self.workspaces:
            self.workspaces.append(workspace)
        splits = sympy.S.One if apart else sympy.Symbol("SPLITS", integer=True, positive=True)
        terms = [(scope.index(a), product_extent(axes[place + 1 :]) * splits) for place, a in enumerate(axes)]
        terms.append((lane, product_extent(axes) if apart else sympy.S.One))
        along = Along(tuple(terms), sympy.S.Zero, sympy.S.One)
        dims = self._grid.order(_dims((along,)))
        mask = self.mask(axes, dims, scope)
        return Access(Address(Name(f"{workspace}_ptr"), (along,), dims), mask, ())

    def mask(self, axes: tuple[Axis, ...], dims: Dims, scope: Scope) -> tuple[Condition, ...]:
        """The mask of an access: those of its axes, under one name if they are several."""
        masks = [m for axis in axes if (m := scope.mask(axis)) is not None]
        if self._grid.row_mask is not None and "row" in dims:
            masks.insert(0, self._grid.row_mask)
        masks = list(dict.fromkeys(masks))
        if len(masks) < 2:
            return tuple(masks)
        home = scope
        while home.parent is not None and not any(m in home.masks.values() for m in masks):
            home = home.parent
        key = tuple(m.text for m in masks)
        if key not in home.combined:
            text = "mask_" + "_".join(m.text.removesuffix("_mask") for m in masks)
            name = MaskName(self._names.fresh(text), self._grid.order({dim for m in masks for dim in m.dims}))
            home.statements.append(Let(name, tuple(masks)))
            home.combined[key] = name
        return (home.combined[key],)

    def _inside(self, index: Value, size: sympy.Expr, scope: Scope) -> Condition:
        """Whether a looked-up position exists, under a name, for it is asked where it is read and what became of it."""
        inside = InRange(index, size, looked_up=True)
        if not isinstance(index, Name):
            return inside
        known = next((around.looked[index, size] for around in scope.around() if (index, size) in around.looked), None)
        if known is None:
            home = next((s for s in scope.around() if index in (*s.values.values(), *s.indices.values())), scope)
            known = MaskName(self._names.fresh(f"{index.text}_mask"), index.dims)
            home.statements.append(Let(known, (inside,)))
            home.looked[index, size] = known
        return known

    def _row_pointer(self, tensor: str, row: tuple[Along, ...], scope: Scope) -> Name:
        pointer = Name(f"{tensor}_ptr")
        if not row:
            return pointer
        known = scope.pointer((tensor, row))
        if known is not None:
            return known
        home = scope if self._target.is_optional(tensor) else scope.outermost
        if any(_is_made_inside(value, home) for along in row for value, _ in along.terms):
            home = scope
        text = "sums_row" if tensor in self.workspaces else f"{tensor}_row"
        name = Name(self._names.fresh(text), self._grid.order(_dims(row)))
        home.statements.append(Point(name, Address(pointer, row, name.dims)))
        home.pointers[tensor, row] = name
        return name


def _is_row(index: Value) -> bool:
    return set(index.dims) <= {"row"}


def _is_made_inside(value: Value, home: Scope) -> bool:
    """Whether a value is not yet there where `home` ends."""
    index = value.arg if isinstance(value, AsWhole) else value
    return index not in home.indices.values() and index not in home.values.values()


def _dims(row: tuple[Along, ...]) -> set[str]:
    return {dim for along in row for value, _ in along.terms for dim in value.dims}
