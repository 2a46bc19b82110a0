"""Stores: outputs, neighbours two at a time, and partial results."""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from fusec.ir.expressions import Cast, lookups
from fusec.ir.flow import Store, store_axes
from fusec.ir.stage import PartialResult
from fusec.ir.statements import Branch, StoreTile
from fusec.ir.tile_values import Address, Along, ElementOf, Value
from fusec.passes.kernel.addresses import Addresses
from fusec.passes.kernel.facts import Facts
from fusec.passes.kernel.grid import SPLIT, Grid
from fusec.passes.kernel.scope import Scope
from fusec.passes.kernel.side_by_side import side_by_side
from fusec.passes.kernel.target import Target
from fusec.passes.kernel.values import Values, widened


@dataclass(slots=True)
class Stores:
    """Writes the stores of a kernel."""

    _facts: Facts
    _target: Target
    _grid: Grid
    _addresses: Addresses
    _values: Values

    def store(self, store: Store, scope: Scope) -> None:
        """Write a store, and that of its neighbour if one access makes both."""
        if store.pair is not None and store.pair.index == 1 and self._facts.mate(store, 0) is not None:
            return
        mate = self._facts.mate(store, 1) if store.pair is not None else None
        values = self._stored((store,) if mate is None else (store, mate), scope)
        indices = self._values.indices(lookups(store.positions), scope)
        axes = store_axes(self._facts.flow, store)
        beside = None
        if store.pair is not None and mate is not None:
            beside = side_by_side(store.pair, store.positions, indices, self._grid, scope, values)
        if beside is not None:
            access = self._addresses.access(store.target, beside.positions, indices, scope, beside.walked(axes))
            address = access.address
            shape = (*self._grid.shape(beside.dims[:-1]), self._grid.size_of_both(beside.axis))
        else:
            access = self._addresses.access(store.target, store.positions, indices, scope, axes)
            address, shape = self._shifted(store, access.address, alone=mate is None), ()
        dtype = self._target.dtype(store.element)
        first = self._grid.first_programs(store)
        if first is not None:
            body = StoreTile(values, address, access.conditions, dtype, shape=shape)
            scope.statements.append(Branch(((first, (body,)),)))
            return
        guards = self._grid.absent(axes, scope)
        scope.statements.append(StoreTile(values, address, (*access.conditions, *guards), dtype, shape=shape))

    def partial(self, partial: PartialResult, scope: Scope) -> None:
        """Write the partial results of a reduction to a workspace."""
        value = self._values.value(partial.value, scope)
        about = (partial.workspace, partial.axes, partial.apart)
        access = self._addresses.partial(*about, SPLIT, scope)
        guards = self._grid.absent(partial.axes, scope)
        scope.statements.append(
            StoreTile((value,), access.address, (*access.mask, *guards), ElementOf(partial.workspace))
        )

    def _stored(self, stores: tuple[Store, ...], scope: Scope) -> tuple[Value, ...]:
        """The values of an access, all of them in the storage type it writes if a cast put them there, or none."""
        values = [self._values.value(store.value, scope) for store in stores]
        exprs = [self._facts.nodes[store.value].expr for store in stores]
        done = all(isinstance(e, Cast) and e.dtype == s.element for e, s in zip(exprs, stores, strict=True))
        return tuple(values if done else map(widened, values))

    def _shifted(self, store: Store, address: Address, alone: bool) -> Address:
        """The address of a store that is one of two neighbours: of both of them, or of itself `alone`."""
        if store.pair is None:
            return address
        stride = self._target.strides(store.target)[store.pair.dim]
        if not alone:
            return Address(address.pointer, address.along, address.dims, store.pair.step * stride)
        own = Along((), sympy.Integer(store.pair.index) * store.pair.step, stride)
        return Address(address.pointer, (*address.along, own), address.dims)
