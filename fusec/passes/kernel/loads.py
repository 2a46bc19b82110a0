"""Loads: tiles of tensors, neighbours two at a time, and the partial results of an earlier kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import nan

import sympy

from fusec.diagnostics import InternalError
from fusec.ir.expressions import BOTH, Affine, Load, NodeId, Partial, operands
from fusec.ir.fixed_extents import known_size
from fusec.ir.layout import split_stride, sum_strides
from fusec.ir.ops import REDUCTIONS
from fusec.ir.statements import Assign, LoadTile
from fusec.ir.tile_values import Condition, Dims, Fold, Masked, Name, Value
from fusec.ir.types import Kind
from fusec.passes.kernel.addresses import Access, Addresses
from fusec.passes.kernel.blocks import EVICT
from fusec.passes.kernel.facts import Facts
from fusec.passes.kernel.grid import Grid
from fusec.passes.kernel.naming import Naming
from fusec.passes.kernel.scope import Scope
from fusec.passes.kernel.side_by_side import side_by_side
from fusec.passes.kernel.target import Target

_NEIGHBOURS = ("even", "odd")


@dataclass(slots=True)
class Loads:
    """Writes the loads of a kernel, with `hints` to the cache of what is read again."""

    _facts: Facts
    _target: Target
    _grid: Grid
    _naming: Naming
    _addresses: Addresses
    hints: bool = True

    def load(self, number: NodeId, load: Load, indices: Mapping[NodeId, Value], scope: Scope) -> Value:
        """The elements that node `number` loads, at looked-up positions whose values are `indices`."""
        # No program may read, not even to no use, what another one writes.
        written = self._target.graph.tensor(load.param).mutable
        axes = self._facts.nodes[number].type.axes if written else None
        if load.pair is not None and load.pair.index == BOTH:
            return self._both(number, load, indices, scope)
        if (place := self._groups_at(load)) is not None:
            return self._joined(number, load, place, indices, scope)
        if load.pair is not None and load.param not in self._grid.split_products:
            beside = side_by_side(load.pair, load.positions, indices, self._grid, scope)
            if beside is not None:
                whole = self._addresses.access(load.param, beside.positions, indices, scope, beside.walked(axes))
                return self._pair(number, load, whole, scope, beside.dims)
        access = self._addresses.access(load.param, load.positions, indices, scope, axes)
        if load.pair is not None:
            return self._pair(number, load, access, scope)
        return self._plain(number, load, access, scope)

    def _plain(self, number: NodeId, load: Load, access: Access, scope: Scope, joined: Dims = ()) -> Value:
        """The elements of an access, one at each position. What is read as one axis has the dimensions `joined`."""
        # The tensor core takes elements as they are stored.
        stored = self._target.graph.tensor(load.param).element if self._facts.is_multiplied(number) else None
        bits = stored is not None and number in self._facts.apart
        dims = joined or access.address.dims
        name = Name(self._naming.of(number, scope), dims, self._kind(number), stored, bits)
        self._read(number, load, (name,), access, scope, self._grid.shape(joined))
        return _guarded(name, access.looked, scope)

    def partial(self, number: NodeId, partial: Partial, scope: Scope) -> Value:
        """The partial results of a reduction, combined."""
        if partial.as_product:
            access = self._addresses.sums(partial.workspace, partial.axes, scope)
            name = Name(self._naming.of(number, scope), access.address.dims, self._kind(number))
            stride = sum_strides(partial.workspace, partial.axes)[-1]
            scope.statements.append(LoadTile((name,), access.address, access.mask, 0.0, splits=stride))
            return name
        lanes = self._grid.split_lanes(scope.outermost)
        access = self._addresses.partial(partial.workspace, partial.axes, partial.apart, lanes, scope)
        dims, kind = access.address.dims, self._kind(number)
        parts = Name(self._naming.names.fresh(f"{self._naming.hint(number)}_parts"), dims, kind)
        fill = REDUCTIONS[partial.op].identity if access.mask else None
        scope.statements.append(LoadTile((parts,), access.address, access.mask, fill))
        kept = tuple(dim for dim in dims if dim != "split")
        return self._naming.assign(number, Fold(partial.op, parts, ("split",), kept, kind), scope)

    def _both(self, number: NodeId, load: Load, indices: Mapping[NodeId, Value], scope: Scope) -> Value:
        """Both neighbours at each position of what is contracted, in their order: a tile that is twice as long."""
        assert load.pair is not None
        both, loop = self._grid.both, self._facts.stage.loop
        axis = loop[-1] if loop else None
        at = load.positions[load.pair.dim]
        assert isinstance(at, Affine)
        if both is None or axis is None or axis not in at.axes:
            raise InternalError("build_kernels", "two numbers at each position of an axis that no loop walks")
        inner = Scope(scope, indices={axis: both.name}, masks={axis: both.mask.name if both.mask else None})
        terms = tuple((term, load.pair.step if term == axis else factor) for term, factor in at.terms)
        place = load.pair.dim
        positions = (*load.positions[:place], replace(at, terms=terms), *load.positions[place + 1 :])
        plain = replace(load, positions=positions, pair=None)
        written = self._target.graph.tensor(load.param).mutable
        axes = self._facts.nodes[number].type.axes if written else None
        access = self._addresses.access(load.param, positions, indices, inner, axes)
        scope.statements += inner.taken()
        return self._plain(number, plain, access, scope)

    def _groups_at(self, load: Load) -> int | None:
        """The position of a load at which groups of a step lie one behind the other, each with all that it has."""
        groups, pair = self._grid.groups, load.pair
        if groups is None or self._target.graph.tensor(load.param).mutable:
            return None
        outer, within, size = groups
        for place, at in enumerate(load.positions):
            factors = {outer: sympy.S.Zero, **dict(at.terms)} if isinstance(at, Affine) else {}
            each = 1 if pair is None else 2 if pair.dim == place and pair.step == 1 else 0
            if factors.get(within) == each and known_size(factors[outer], self._target.known) == each * size:
                return place
        return None

    def _joined(self, number: NodeId, load: Load, place: int, indices: Mapping[NodeId, Value], scope: Scope) -> Value:
        """What lies one behind the other, read as one axis.

        Triton gives threads that are neighbours what is contiguous along one dimension of a tile. Which of the others
        comes next, groups or rows, depends on its version; here it is always the groups.
        """
        assert self._grid.groups is not None
        outer, within, _ = self._grid.groups
        at, times = load.positions[place], 1 if load.pair is None else 2
        assert isinstance(at, Affine)
        name, mask = self._grid.joined(times, scope)
        inner = Scope(scope, indices={within: name}, masks={within: mask})
        terms = tuple((axis, sympy.S.One if axis == within else factor) for axis, factor in at.terms if axis != outer)
        positions = (*load.positions[:place], replace(at, terms=terms), *load.positions[place + 1 :])
        access = self._addresses.access(load.param, positions, indices, inner)
        scope.statements += inner.taken()
        dims = self._grid.order({*access.address.dims, str(outer)})
        return (self._pair if load.pair else self._plain)(number, load, access, scope, dims)

    def _pair(self, number: NodeId, load: Load, access: Access, scope: Scope, joined: Dims = ()) -> Value:
        """Two neighbours with one wide access: both are known from then on."""
        assert load.pair is not None
        apart = load.pair.step * self._target.strides(load.param)[load.pair.dim]
        wide = access if joined else replace(access, address=replace(access.address, pair=apart))
        twins = [self._facts.twin(load, index) for index in (0, 1)]
        hints = [f"{load.param}_{word}" for word in _NEIGHBOURS]
        texts = [
            self._naming.names.fresh(hint) if twin is None else self._naming.of(twin, scope, hint)
            for twin, hint in zip(twins, hints, strict=True)
        ]
        both = tuple(Name(text, joined or access.address.dims, self._kind(number)) for text in texts)
        self._read(number, load, both, wide, scope, (*self._grid.shape(joined), "2") if joined else ())
        for twin, name in zip(twins, both, strict=True):
            if twin is not None:
                scope.values[twin] = _guarded(name, access.looked, scope)
        return scope.values[number]

    def _read(
        self, number: NodeId, load: Load, names: tuple[Name, ...], access: Access, scope: Scope, shape: tuple[str, ...]
    ) -> None:
        fill = self._fill(number) if access.conditions else None
        storage = None if names[0].storage is not None else self._target.graph.tensor(load.param).element
        cache = self._cache(number, scope)
        twins = (self._facts.twin(load, index) for index in (0, 1)) if load.pair else (number,)
        bits = storage is not None and not self._facts.apart.isdisjoint(twins)
        splits = split_stride(load.param) if load.param in self._grid.split_products else None
        if splits is not None:
            storage, cache, fill = None, None, 0.0
        about = (access.address, access.conditions, fill, storage, cache, bits, splits)
        scope.statements.append(LoadTile(names, *about, shape=shape))

    def _is_of_block(self, number: NodeId) -> bool:
        """Whether what is read is of one block of rows alone, if programs take blocks; the others are in the cache."""
        block = self._facts.stage.block
        return block is None or block in self._facts.nodes[number].type.axes

    def _kind(self, number: NodeId) -> Kind:
        return self._facts.nodes[number].type.kind

    def _fill(self, number: NodeId) -> float | int | bool:
        kind = self._kind(number)
        return self._facts.padding.fill(number) if kind is Kind.REAL else 0 if kind is Kind.INT else False

    def _cache(self, number: NodeId, scope: Scope) -> str | None:
        """What is read again stays in the cache; measured, it pays for rows that are read once, too.

        The threads of a row in registers all read its tables, which are smaller than its tile: then these stay.
        """
        facts = self._facts
        if not self.hints or not facts.is_of_row(number) or facts.multiplies:
            return None
        if facts.stage.loop:
            if self._target.contracts and not self._is_of_block(number):
                return None
            again = not scope.last_read or not facts.is_looped(number)
            return "evict_last" if again else EVICT if self._target.contracts else "evict_first"
        if facts.is_table(number):
            return "evict_last"
        looked_up = bool(operands(facts.nodes[number].expr))
        return None if facts.has_tables or looked_up else "evict_last"


def _guarded(name: Name, looked: tuple[Condition, ...], scope: Scope) -> Value:
    """A value looked up out of range is NaN; an integer one stays 0, the fill of its load."""
    if looked and name.kind is Kind.REAL:
        scope.statements.append(Assign(name, Masked(name, looked, nan, name.dims, name.kind)))
    return name
