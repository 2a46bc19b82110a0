"""Epilogue: what a contraction makes of its sums, as one function that all kernels of a step call.

Before: a flow whose stores are made of dots, of reductions along what these contract, or of a product that the library
made; after: the `Call` of a `Function` that is given these sums, the index of every axis and masks, and returns what is
stored. What else it takes it reads. It has no dimensions of its own: all that it is given has those of the tile, or is
one along some of them, so that a tile, rows and a single element have the same function.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fusec.ir.axis_words import index_name
from fusec.ir.expressions import Dot, Load, Lookup, NodeId, Partial, Reduce, operands, position_axes
from fusec.ir.flow import Store, store_axes
from fusec.ir.nouns import result_nouns
from fusec.ir.schedule import GemmRoles, GemmTma
from fusec.ir.statements import Assign, Call, Function, every
from fusec.ir.tile_values import ANY, Condition, Dims, MaskName, Name, Value
from fusec.ir.types import Axis, Kind
from fusec.passes.kernel.addresses import Addresses
from fusec.passes.kernel.facts import Facts
from fusec.passes.kernel.grid import Grid
from fusec.passes.kernel.loads import Loads
from fusec.passes.kernel.naming import Naming
from fusec.passes.kernel.reductions import Reductions
from fusec.passes.kernel.scope import Names, Scope
from fusec.passes.kernel.target import Target
from fusec.passes.kernel.values import Values


@dataclass(frozen=True, slots=True)
class Cone:
    """The sums that some stores are made of, and the nodes between: `within`, all of which only these stores need."""

    stores: tuple[Store, ...]
    sums: tuple[NodeId, ...]
    within: frozenset[NodeId]


def cone(facts: Facts, target: Target) -> Cone | None:
    """What the epilogue of a stage is made of; None if that is no function."""
    sums = [n for n in facts.live if _is_sum(facts, n, target)]
    made = _dependents(facts, sums)
    stores = tuple(store for store in facts.flow.stores if store.value in made)
    found = list(_between(facts, tuple(store.value for store in stores), frozenset(sums)))
    within = frozenset(found).difference(sums)
    axes = {frozenset(store_axes(facts.flow, store)) for store in stores}
    if len(axes) != 1 or any(isinstance(facts.nodes[n].expr, Reduce | Dot | Partial) for n in within):
        return None
    if not any(isinstance(facts.nodes[n].expr, Load) for n in within) and len(within & made) < _LEAST:
        return None
    return Cone(stores, tuple(n for n in found if n not in within), within)


_LEAST = 3
"""Operations that are worth a function where it reads nothing."""


def _is_sum(facts: Facts, number: NodeId, target: Target) -> bool:
    expr = facts.nodes[number].expr
    if isinstance(expr, Load):
        return expr.param in target.products
    return target.contracts and isinstance(expr, Dot | Reduce | Partial)


def _dependents(facts: Facts, sums: list[NodeId]) -> set[NodeId]:
    """What is computed of some sums."""
    found: set[NodeId] = set()
    for number in facts.live:
        if number not in sums and any(n in found or n in sums for n in operands(facts.nodes[number].expr)):
            found.add(number)
    return found


def _between(facts: Facts, roots: tuple[NodeId, ...], sums: frozenset[NodeId]) -> Iterator[NodeId]:
    """The nodes that `roots` are computed of, down to some sums, in an order that no numbers decide."""
    stack, seen = list(reversed(roots)), set[NodeId]()
    while stack:
        number = stack.pop()
        if number in seen:
            continue
        seen.add(number)
        yield number
        if number not in sums:
            stack += reversed(operands(facts.nodes[number].expr))


class _Positions(Grid):
    """The grid of a function: it is given every index, and knows nothing of how programs take tiles."""

    has_sizes = False

    def __init__(self, facts: Facts, target: Target, cone: Cone, names: Names) -> None:
        super().__init__(facts.stage, target, names)
        self.aligned = frozenset(_row_strides(facts, target, cone))

    def order(self, dims: set[str]) -> Dims:
        return ANY if dims else ()


def _row_strides(facts: Facts, target: Target, cone: Cone) -> Iterator[str]:
    """The strides at which rows begin of what is read along the innermost axis of the results."""
    inner = [axis for store in cone.stores for axis in position_axes(store.positions)][-1:]
    for number in cone.within:
        expr = facts.nodes[number].expr
        if isinstance(expr, Load) and set(inner) & set(position_axes(expr.positions)):
            for position, stride in zip(expr.positions, target.strides(expr.param), strict=True):
                if isinstance(position, Lookup) or (position.terms and not set(inner) & set(position.axes)):
                    yield stride.name


class _Masks(Addresses):
    """The addresses of a function, which is given a mask for every set of axes that it asks for."""

    def __init__(self, target: Target, grid: Grid, names: Names, axes: tuple[Axis, ...]) -> None:
        super().__init__(target, grid, names)
        self._axes = axes
        self.asked: dict[str, tuple[Axis, ...]] = {}

    def mask(self, axes: tuple[Axis, ...], dims: Dims, scope: Scope) -> tuple[Condition, ...]:
        """The mask that stands for these axes."""
        present = tuple(axis for axis in self._axes if axis in axes)
        if not present:
            return ()
        known = next((name for name, others in self.asked.items() if others == present), None)
        if known is None:
            words = () if len(present) == len(self._axes) else map(index_name, present)
            known = self._names.fresh("_".join((*words, "mask")))
            self.asked[known] = present
        return (MaskName(known, ANY),)


@dataclass(slots=True)
class Epilogue:
    """Writes the epilogue of a stage as a function, and its call."""

    cone: Cone
    _facts: Facts
    _target: Target
    _grid: Grid
    _addresses: Addresses
    _values: Values

    def call(self, scope: Scope, naming: Naming) -> None:
        """Compute what the stores of the cone store, by a call in `scope`."""
        facts, cone = self._facts, self.cone
        names = Names(self._target.argument_names)
        axes = tuple(dict.fromkeys(axis for store in cone.stores for axis in store_axes(facts.flow, store)))
        inner = Scope(None)
        for axis in axes:
            inner.indices[axis] = Name(names.fresh(index_name(axis)), ANY, Kind.INT)
            inner.masks[axis] = None
        own = Naming(facts.flow, names)
        sums = {n: Name(own.of(n, inner), ANY, facts.nodes[n].type.kind) for n in cone.sums}
        inner.values |= sums
        if not isinstance(facts.stage, GemmTma | GemmRoles):
            self._mask(axes, scope)  # The stores need it, and kernels with other epilogues have the same lines.
        masks, results = self._results(inner, own, axes)
        given: dict[str, Value | tuple[Condition, ...]] = {
            sum.text: self._values.wide(number, scope) for number, sum in sums.items()
        }
        given |= {inner.indices[axis].text: scope.index(axis) for axis in axes}
        given |= {name: self._mask(some, scope) for name, some in masks.items()}
        body = tuple(inner.statements)
        read = _names((body, results))
        inputs = tuple(name for name in given if name in read)
        writes = tuple(dict.fromkeys(store.target for store in cone.stores))
        doc = f"Epilogue: {_listed(writes)} of {'these sums' if len(sums) > 1 else 'this sum'}."
        function = Function(doc, writes, inputs, body, results)
        dims = self._grid.order({dim for axis in axes for dim in scope.index(axis).dims})
        made = tuple(
            self._result(noun, value, naming, dims)
            for noun, value in zip(result_nouns(cone.stores), results, strict=True)
        )
        scope.statements.append(Call(made, function, tuple(given[name] for name in inputs), dims))
        scope.values |= {store.value: name for store, name in zip(cone.stores, made, strict=True)}

    def _results(
        self, inner: Scope, naming: Naming, axes: tuple[Axis, ...]
    ) -> tuple[dict[str, tuple[Axis, ...]], tuple[Value, ...]]:
        """The body, in `inner`: the masks it needs, and the values it makes."""
        facts, target = self._facts, self._target
        grid = _Positions(facts, target, self.cone, naming.names)
        addresses = _Masks(target, grid, naming.names, axes)
        reductions = Reductions(facts, grid)
        loads = Loads(facts, target, grid, naming, addresses, hints=False)
        values = Values(facts, target, grid, naming, loads, reductions)
        results: list[Value] = []
        for noun, store in zip(result_nouns(self.cone.stores), self.cone.stores, strict=True):
            value = values.value(store.value, inner)
            if not isinstance(value, Name) and len(self.cone.stores) > 1:
                name = Name(naming.names.fresh(noun), value.dims, value.kind)
                inner.statements.append(Assign(name, value))
                value = name
            results.append(value)
        return addresses.asked, tuple(results)

    def _mask(self, axes: tuple[Axis, ...], scope: Scope) -> tuple[Condition, ...]:
        dims = self._grid.order({dim for axis in axes for dim in scope.index(axis).dims})
        return self._addresses.mask(axes, dims, scope)

    def _result(self, noun: str, value: Value, naming: Naming, dims: Dims) -> Name:
        """What the kernel calls a result."""
        text = naming.names.fresh(noun)
        if isinstance(value, Name):
            return Name(text, dims, value.kind, value.storage, value.bits)
        return Name(text, dims, value.kind)


def _listed(names: Iterable[str]) -> str:
    """`q`, `k` and `v`."""
    *others, last = (f"`{name}`" for name in names)
    return f"{', '.join(others)} and {last}" if others else last


def _names(tree: object) -> set[str]:
    """The variables that a body reads or makes."""
    return {node.text for node in every(tree) if isinstance(node, Name | MaskName)}
