"""Build the kernel of a stage: sweeps over its loop axes, each with the loads, arithmetic and reductions it needs.

Before: a `Stage` (what to compute, which axis goes where); after: a `Kernel` with every name, address and mask.
A reduction over a loop axis ends a sweep; what depends on it waits for the next one. A row in registers needs
no sweeps: every value is computed once. Relies on resolved views and a checked plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import sympy

from fusec.ir.flow import (
    Affine,
    FlowNode,
    Load,
    Lookup,
    Partial,
    Position,
    Size,
    Store,
    flow_operands,
    flow_reachable,
    store_axes,
    store_operands,
)
from fusec.ir.graph import (
    GIVEN,
    OMITTED,
    Cast,
    Choose,
    Const,
    Elementwise,
    Graph,
    Index,
    MaxOf,
    NodeId,
    Reduce,
    Scalar,
    TensorParam,
)
from fusec.ir.kernel import (
    Address,
    Along,
    Apply,
    Assign,
    AsWhole,
    Branch,
    Condition,
    Dims,
    DTypeRef,
    ElementOf,
    Filled,
    Fold,
    InRange,
    Kernel,
    Largest,
    Let,
    LoadTile,
    Loop,
    Masked,
    MaskName,
    Name,
    Number,
    Point,
    Rounded,
    SizeExpr,
    Statement,
    StoreTile,
    Value,
    Whole,
    Widened,
)
from fusec.ir.layout import strides
from fusec.ir.ops import REDUCTIONS
from fusec.ir.plan import Stage
from fusec.ir.types import Axis, DType, Kind, Storage, extent, product_extent
from fusec.passes.kernel.grid import EARLY, Grid, LoopHeader
from fusec.passes.kernel.integers import long_values
from fusec.passes.kernel.padding import choose_padding
from fusec.passes.kernel.scope import Names, Scope
from fusec.passes.plan.survey import depths

_MERGE = {"sum": "add", "amax": "maximum", "amin": "minimum"}
_REDUCED = {"sum": "total", "amax": "largest", "amin": "smallest"}
_EARLY_OWN, _EARLY_LOADS = 4, 3
"""More tiles than this, of the row and in all, loaded before they are needed, cost more than their latency is worth."""
_INLINE = 4
"""Operations that may stand in one expression before it gets a line of its own."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the kernels of an op are built for: its arguments and the storage type behind each type variable."""

    graph: Graph
    known: dict[str, int]

    def strides(self, tensor: str) -> tuple[sympy.Symbol, ...]:
        return strides(tensor, self._dims(tensor))

    def _dims(self, tensor: str) -> tuple[tuple[Axis, ...], ...]:
        output = next((output for output in self.graph.outputs if output.name == tensor), None)
        return output.dims if output else self.graph.tensor(tensor).dims

    def dtype(self, storage: Storage) -> DTypeRef:
        """A storage type as a kernel can name it: a type variable is the element of an argument that has it."""
        if isinstance(storage, DType):
            return storage
        saturates = any(option.bits == 8 or option.kind is Kind.INT for option in storage.options)
        for param in self.graph.params:
            if isinstance(param, TensorParam) and param.element == storage and not param.optional:
                return ElementOf(param.name, saturates)
        return ElementOf(next(o.name for o in self.graph.outputs if o.element == storage), saturates)


def build_kernel(stage: Stage, target: Target, name: str, doc: str) -> Kernel:
    """The kernel of `stage`, called `name`."""
    return _KernelBuilder(stage, target).build(name, doc)


class _KernelBuilder:
    def __init__(self, stage: Stage, target: Target) -> None:
        self._stage = stage
        self._target = target
        self._flow = stage.flow
        self._names = Names(_argument_names(target))
        self._grid = Grid(stage, target.known, self._names)
        self._root = Scope(None)
        self._loop_axes = stage.stream
        roots = [n for store in self._flow.stores for n in store_operands(store)]
        roots += [partial.value for partial in stage.partials]
        self._live = flow_reachable(self._flow.nodes, tuple(roots))
        self._long = long_values(self._flow, target.graph)
        self._uses = self._count_uses(roots)
        self._read_in_loop = self._find_loop_reads()
        self._padding = choose_padding(self._flow, self._live, self._may_be_low)
        self._scratch: list[str] = []
        self._node_names: dict[tuple[NodeId, bool], str] = {}
        self._deferred: dict[NodeId, tuple[tuple[Statement, ...], Value]] = {}
        loads = [n for n in self._live if isinstance(self._flow.nodes[n].expr, Load)]
        self._full = max(map(self._tile_axes, loads), default=0)
        self._has_tables = any(0 < self._tile_axes(n) < self._full and self._is_of_row(n) for n in loads)
        self._has_reduction = any(isinstance(self._flow.nodes[n].expr, Reduce) for n in self._live)

    def build(self, name: str, doc: str) -> Kernel:
        self._root.statements += self._grid.prologue(self._root)
        self._load_early()
        if self._loop_axes:
            self._sweeps()
        for store in self._flow.stores:
            if not self._in_loop(store_axes(self._flow, store)):
                self._store(store, self._root)
        for partial in self._stage.partials:
            self._store_partial(partial.scratch, partial.value, partial.axes)
        return self._finished(name, doc)

    def _load_early(self) -> None:
        """Load first what waits for nothing, so that it arrives together.

        What belongs to a row comes from memory, so it always goes first. What all rows share waits in the cache: it
        goes first where that is a short list of whole tiles, and otherwise if few rows leave registers to spare.
        """
        if self._stage.stream:
            return
        loads = self._free_loads()
        own = [n for n in loads if self._is_of_row(n)]
        shared = [n for n in loads if n not in own]
        plain = [n for n in shared if isinstance(self._flow.nodes[n].expr, Load)]
        if sum(map(self._is_whole, own)) > _EARLY_OWN:
            return
        if sum(map(self._is_whole, (*own, *plain))) <= _EARLY_LOADS:
            own = sorted((*own, *plain))
        for number in own:
            self._value(number, self._root)
        late = [n for n in shared if n not in own] if self._has_reduction else []
        if late:
            self._load_early_if_few(late)

    def _load_early_if_few(self, numbers: list[NodeId]) -> None:
        """Load in a branch now; `_value` adds the opposite branch where a value is needed."""
        bodies: list[Statement] = []
        for number in numbers:
            branch = Scope(self._root, only=frozenset({number, *flow_operands(self._flow.nodes[number].expr)}))
            value = self._value(number, branch)
            self._deferred[number] = (tuple(branch.statements), value)
            bodies += branch.statements
        self._root.statements.append(Branch(((EARLY, tuple(bodies)),)))

    def _free_loads(self) -> list[NodeId]:
        """Loads, and choices between loads and constants, that wait for no reduction and stand in no other choice."""
        nodes = self._flow.nodes
        choices = [n for n in self._live if isinstance(nodes[n].expr, Choose)]
        inside: set[NodeId] = set()
        for number in choices:
            inside.update(*(self._only_for(case, number) for case in flow_operands(nodes[number].expr)))
        found = [
            n for n in choices if all(isinstance(nodes[c].expr, Load | Const) for c in flow_operands(nodes[n].expr))
        ]
        found += [n for n in self._live if isinstance(nodes[n].expr, Load)]
        waits = [n for n in self._live if isinstance(nodes[n].expr, Reduce | Partial)]
        return sorted(n for n in found if n not in inside and flow_reachable(nodes, (n,)).isdisjoint(waits))

    def _is_of_row(self, number: NodeId) -> bool:
        """Whether a value differs from row to row."""
        own = (*self._stage.rows, self._stage.block)
        return any(axis in own for axis in self._flow.nodes[number].type.axes)

    def _is_whole(self, number: NodeId) -> bool:
        """Whether a value has all the axes of the tile that any load has."""
        return self._tile_axes(number) == self._full

    def _tile_axes(self, number: NodeId) -> int:
        return sum(axis in self._stage.tile for axis in self._flow.nodes[number].type.axes)

    # Sweeps

    def _sweeps(self) -> None:
        depth = depths(self._flow, self._loop_axes)
        reductions = [n for n in sorted(self._live) if self._ends_sweep(n)]
        stores = [s for s in self._flow.stores if self._in_loop(store_axes(self._flow, s))]
        wait = {id(s): max(depth[n] for n in store_operands(s)) for s in stores}
        reads = self._last_reads(depth, reductions, stores, wait)
        for sweep in sorted({depth[n] - 1 for n in reductions} | set(wait.values())):
            ends = [n for n in reductions if depth[n] == sweep + 1]
            outs = [s for s in stores if wait[id(s)] == sweep]
            self._sweep(ends, outs, sweep == reads)

    def _last_reads(
        self, depth: dict[NodeId, int], reductions: list[NodeId], stores: list[Store], wait: dict[int, int]
    ) -> int:
        return max([depth[n] - 1 for n in reductions] + [wait[id(s)] for s in stores])

    def _sweep(self, ends: list[NodeId], outs: list[Store], last: bool) -> None:
        """One pass over the loop axes: whole chunks without masks first, then what is left."""
        accumulators: dict[NodeId, Name] = {}
        for header in self._grid.loop_headers():
            body = Scope(self._root, axes=self._loop_axes, last_read=last)
            self._grid.loop_indices(header, body)
            for number in ends:
                value = self._reduced_value(number, body)
                if number not in accumulators:
                    accumulators[number] = self._accumulator(number, value)
                total = accumulators[number]
                body.statements.append(Assign(total, _merged(self._op(number), total, value)))
            for store in outs:
                self._store(store, body)
            self._root.statements.append(_looped(header, tuple(body.statements)))
        for number, total in accumulators.items():
            self._root.values[number] = self._assign(number, self._folded(number, total), self._root)

    def _accumulator(self, number: NodeId, value: Value) -> Name:
        kind = self._flow.nodes[number].type.kind
        total = Name(self._names.fresh(f"{self._hint(number)}_acc"), value.dims, kind)
        fill = REDUCTIONS[self._op(number)].identity
        self._root.statements.append(Assign(total, Filled(value.dims, self._grid.shape(value.dims), fill, kind)))
        return total

    def _ends_sweep(self, number: NodeId) -> bool:
        expr = self._flow.nodes[number].expr
        return isinstance(expr, Reduce) and self._in_loop(expr.axes)

    def _in_loop(self, axes: tuple[Axis, ...]) -> bool:
        return any(axis in self._loop_axes for axis in axes)

    # Reductions

    def _op(self, number: NodeId) -> str:
        expr = self._flow.nodes[number].expr
        assert isinstance(expr, Reduce)
        return expr.op

    def _fold(self, number: NodeId, scope: Scope) -> Value:
        return self._folded(number, self._reduced_value(number, scope))

    def _reduced_value(self, number: NodeId, scope: Scope) -> Value:
        """What a reduction reduces, with lanes outside of the extents set to its identity."""
        expr = self._flow.nodes[number].expr
        assert isinstance(expr, Reduce)
        value = self._widened(self._value(expr.arg, scope))
        if value.kind is Kind.INT:
            value = AsWhole(value, Whole.LONG, value.dims)
        masks = tuple(m for axis in expr.axes if (m := scope.mask(axis)) is not None)
        if not masks or self._padding.suits(expr):
            return value
        fill = REDUCTIONS[expr.op].identity
        dims = self._order({*value.dims, *(d for mask in masks for d in mask.dims)})
        return Masked(value, masks, fill, dims, value.kind)

    def _folded(self, number: NodeId, value: Value) -> Value:
        expr = self._flow.nodes[number].expr
        assert isinstance(expr, Reduce)
        over = tuple(dim for dim in value.dims if dim in {str(axis) for axis in expr.axes})
        if not over:
            return value
        kept = tuple(dim for dim in value.dims if dim not in over)
        kind = self._flow.nodes[number].type.kind
        folded = Fold(expr.op, value, over, kept, kind)
        neutral = not self._padding.suits(expr) or self._padding.suits_empty(expr)
        if not neutral and self._shows_empty(expr.axes):
            some = tuple(InRange(Number(0, (), Kind.INT), extent(axis)) for axis in expr.axes)
            return Masked(folded, some, REDUCTIONS[expr.op].identity, kept, kind)
        return folded

    def _shows_empty(self, axes: tuple[Axis, ...]) -> bool:
        """Whether anything is stored when some of these axes have no element."""
        stored = [store_axes(self._flow, store) for store in self._flow.stores]
        stored += [partial.axes for partial in self._stage.partials]
        return any(not set(axes) <= set(others) for others in stored)

    # Values

    def _value(self, number: NodeId, scope: Scope) -> Value:
        known = scope.known(number)
        if known is not None:
            return known
        home = scope.home(number, self._in_loop(self._flow.nodes[number].type.axes))
        if number in self._deferred:
            body, value = self._deferred[number]
            home.statements.append(Branch(((f"not {EARLY}", body),)))
        else:
            value = self._computed(number, home)
        home.values[number] = value
        return value

    def _computed(self, number: NodeId, scope: Scope) -> Value:
        node = self._flow.nodes[number]
        match node.expr:
            case Load():
                return self._load(number, node.expr, scope)
            case Partial():
                return self._load_partial(number, node.expr, scope)
            case Scalar(param):
                return Name(param, (), node.type.kind)
            case Const(value):
                return Number(value, (), node.type.kind)
            case Size(value):
                return SizeExpr(value)
            case MaxOf(dtype):
                return Largest(self._target.dtype(dtype), (), node.type.kind)
            case Index(axis):
                return scope.index(axis)
            case Elementwise(op, args):
                return self._applied(number, op, [self._value(arg, scope) for arg in args], scope)
            case Cast(arg, dtype):
                value = self._widened(self._value(arg, scope))
                rounded = Rounded(value, self._target.dtype(dtype), value.dims, node.type.kind)
                name = self._assign(number, rounded, scope)
                return Name(name.text, name.dims, name.kind, dtype)
            case Reduce():
                return self._assign(number, self._fold(number, scope), scope)
            case Choose():
                return self._chosen(number, node.expr, scope)
            case _:
                assert_never(node.expr)

    def _applied(self, number: NodeId, op: str, args: list[Value], scope: Scope) -> Value:
        node = self._flow.nodes[number]
        dims = self._order({dim for arg in args for dim in arg.dims})
        wide = [self._widened(arg) for arg in args]
        if number in self._long:
            first = next((place for place, arg in enumerate(wide) if not isinstance(arg, Number)), 0)
            wide[first] = AsWhole(wide[first], Whole.LONG, wide[first].dims)
        value = Apply(op, tuple(wide), dims, node.type.kind)
        if self._inlined(number) and _size(value) <= _INLINE:
            return value
        return self._assign(number, value, scope)

    def _inlined(self, number: NodeId) -> bool:
        """Whether an expression stands inside of its only user; what a loop needs from outside has a line outside."""
        node = self._flow.nodes[number]
        hoisted = self._stage.stream and not self._in_loop(node.type.axes) and self._read_in_loop[number]
        return self._uses[number] == 1 and node.name is None and not hoisted

    def _chosen(self, number: NodeId, expr: Choose, scope: Scope) -> Value:
        """One name, assigned in the branch of each case; what only one case needs is computed in its branch."""
        branches: list[tuple[Scope, Value]] = []
        for _, case in expr.cases:
            branch = Scope(scope, only=self._only_for(case, number), last_read=scope.last_read)
            branches.append((branch, self._widened(self._value(case, branch))))
        dims = self._order({dim for _, value in branches for dim in value.dims})
        name = Name(self._fresh(number, scope), dims, self._flow.nodes[number].type.kind)
        cases: list[tuple[str, tuple[Statement, ...]]] = []
        for (case_name, _), (branch, value) in zip(expr.cases, branches, strict=True):
            if name.dims and not value.dims:
                shape = self._grid.shape(dims)
                if isinstance(value, Number):
                    value = Filled(dims, shape, value.value, name.kind)
                else:
                    value = Apply("add", (Filled(dims, shape, 0.0, name.kind), value), dims, name.kind)
            branch.statements.append(Assign(name, value))
            cases.append((_condition(expr.selector, case_name), tuple(branch.statements)))
        cases[-1] = ("", cases[-1][1])
        scope.statements.append(Branch(tuple(cases)))
        return name

    def _only_for(self, case: NodeId, choose: NodeId) -> frozenset[NodeId]:
        """The nodes that nothing but this case of the choice needs."""
        inside = flow_reachable(self._flow.nodes, (case,))
        users: dict[NodeId, set[NodeId]] = {n: set() for n in inside}
        for number in self._live:
            for operand in flow_operands(self._flow.nodes[number].expr):
                if operand in users:
                    users[operand].add(number)
        roots = {n for store in self._flow.stores for n in store_operands(store)}
        choose_expr = self._flow.nodes[choose].expr
        assert isinstance(choose_expr, Choose)
        twice = sum(1 for _, value in choose_expr.cases if value == case) > 1
        only: set[NodeId] = set() if twice or case in roots or users[case] - {choose} else {case}
        for number in sorted(inside, reverse=True):
            if number != case and number not in roots and users[number] and users[number] <= only:
                only.add(number)
        return frozenset(only)

    def _widened(self, value: Value) -> Value:
        """A value in a storage type, ready for arithmetic."""
        if isinstance(value, Name) and value.storage is not None:
            return Widened(Name(value.text, value.dims, value.kind), value.storage, value.dims, value.kind)
        return value

    def _assign(self, number: NodeId, value: Value, scope: Scope) -> Name:
        name = Name(self._fresh(number, scope), value.dims, self._flow.nodes[number].type.kind)
        scope.statements.append(Assign(name, value))
        return name

    def _fresh(self, number: NodeId, scope: Scope) -> str:
        # A sweep that computes a value again calls it by the same name.
        key = (number, bool(scope.axes))
        if key not in self._node_names:
            self._node_names[key] = self._names.fresh(self._hint(number))
        return self._node_names[key]

    def _hint(self, number: NodeId) -> str:
        node: FlowNode = self._flow.nodes[number]
        if node.name:
            return node.name
        match node.expr:
            case Load(param=param):
                return param
            case Reduce(op=op) | Partial(op=op):
                return _REDUCED[op]
            case Elementwise(op=op):
                return f"{op}_value"
            case Choose(selector=selector):
                return f"by_{selector}"
            case _:
                return "value"

    def _count_uses(self, roots: list[NodeId]) -> dict[NodeId, int]:
        uses = dict.fromkeys(range(len(self._flow.nodes)), 0)
        for root in roots:
            uses[root] += 1
        for number in self._live:
            expr = self._flow.nodes[number].expr
            for operand in flow_operands(expr):
                uses[operand] += 1
        return uses

    def _find_loop_reads(self) -> dict[NodeId, bool]:
        """For each node, whether something inside of the loop reads it."""
        reads = dict.fromkeys(range(len(self._flow.nodes)), False)
        for number in self._live:
            node = self._flow.nodes[number]
            for operand in flow_operands(node.expr):
                reads[operand] |= self._in_loop(node.type.axes)
        return reads

    def _order(self, dims: set[str]) -> Dims:
        return tuple(dim for dim in self._grid.dims if dim in dims)

    # Memory

    def _load(self, number: NodeId, load: Load, scope: Scope) -> Value:
        node = self._flow.nodes[number]
        address, mask, looked = self._access(load.param, load.positions, scope)
        if load.pair is not None:
            return self._load_pair(number, load, address, mask, looked, scope)
        name = Name(self._fresh(number, scope), address.dims, node.type.kind)
        fill = self._fill(number, node.type.kind) if mask or looked else None
        storage, cache = self._storage(load), self._cache(number, scope)
        scope.statements.append(LoadTile((name,), address, (*mask, *looked), fill, storage, cache))
        return self._guarded(name, looked, scope)

    def _fill(self, load: NodeId, kind: Kind) -> float | int | bool:
        return self._padding.fill(load) if kind is Kind.REAL else 0 if kind is Kind.INT else False

    def _may_be_low(self, tensor: str) -> bool:
        element = self._target.graph.tensor(tensor).element
        options = (element,) if isinstance(element, DType) else element.options
        return all(option.kind is Kind.REAL and option.name != "f8e4m3" for option in options)

    def _storage(self, load: Load) -> Storage:
        return self._target.graph.tensor(load.param).element

    def _load_pair(
        self,
        number: NodeId,
        load: Load,
        address: Address,
        mask: tuple[Condition, ...],
        looked: tuple[Condition, ...],
        scope: Scope,
    ) -> Value:
        assert load.pair is not None
        step = load.pair.step * self._target.strides(load.param)[load.pair.dim]
        wide = Address(address.pointer, address.along, address.dims, step)
        both: list[Name] = []
        for index in (0, 1):
            twin = self._twin(load, index)
            text = self._names.fresh(f"{load.param}_{('even', 'odd')[index]}") if twin is None else None
            if twin is not None:
                hint = self._flow.nodes[twin].name or f"{load.param}_{('even', 'odd')[index]}"
                text = self._node_names.setdefault((twin, bool(scope.axes)), self._names.fresh(hint))
            assert text is not None
            both.append(Name(text, address.dims, self._flow.nodes[number].type.kind))
        fill = self._fill(number, both[0].kind) if mask or looked else None
        storage, cache = self._storage(load), self._cache(number, scope)
        scope.statements.append(LoadTile(tuple(both), wide, (*mask, *looked), fill, storage, cache))
        for index in (0, 1):
            twin = self._twin(load, index)
            if twin is not None:
                scope.values[twin] = self._guarded(both[index], looked, scope)
        return scope.values[number]

    def _twin(self, load: Load, index: int) -> NodeId | None:
        """The live load of the neighbour `index` of a pair."""
        for number in sorted(self._live):
            expr = self._flow.nodes[number].expr
            if isinstance(expr, Load) and expr.pair is not None and load.pair is not None:
                same = (expr.param, expr.positions, expr.pair.dim, expr.pair.step)
                if same == (load.param, load.positions, load.pair.dim, load.pair.step) and expr.pair.index == index:
                    return number
        return None

    def _guarded(self, name: Name, looked: tuple[Condition, ...], scope: Scope) -> Value:
        """A value looked up out of range is NaN; an integer one stays 0, the fill of its load."""
        if not looked or name.kind is not Kind.REAL:
            return name
        scope.statements.append(Assign(name, Masked(name, looked, float("nan"), name.dims, name.kind)))
        return name

    def _cache(self, number: NodeId, scope: Scope) -> str | None:
        """What is read again stays in the cache; measured, it pays for rows that are read once, too.

        The threads of a row in registers all read its tables, which are smaller than its tile: then these stay.
        """
        if not self._is_of_row(number):
            return None
        if self._stage.stream:
            again = not scope.last_read or not self._in_loop(self._flow.nodes[number].type.axes)
            return "evict_last" if again else "evict_first"
        if 0 < self._tile_axes(number) < self._full:
            return "evict_last"
        looked_up = bool(flow_operands(self._flow.nodes[number].expr))
        return None if self._has_tables or looked_up else "evict_last"

    def _store(self, store: Store, scope: Scope) -> None:
        if store.pair is not None and store.pair.index == 1 and self._mate(store, 0) is not None:
            return
        mate = self._mate(store, 1) if store.pair is not None else None
        values = self._stored((store,) if mate is None else (store, mate), scope)
        address, mask, looked = self._access(store.target, store.positions, scope)
        if store.pair is not None:
            step = store.pair.step * self._target.strides(store.target)[store.pair.dim]
            if mate is None:
                shifted = Along((), sympy.Integer(store.pair.index) * store.pair.step, step / store.pair.step)
                address = Address(address.pointer, (*address.along, shifted), address.dims)
            else:
                address = Address(address.pointer, address.along, address.dims, step)
        guards = self._grid.absent(store_axes(self._flow, store), scope)
        dtype = self._target.dtype(store.element)
        first = self._grid.first_programs(store)
        if first is not None:
            body = StoreTile(tuple(values), address, (*mask, *looked), dtype)
            scope.statements.append(Branch(((first, (body,)),)))
            return
        scope.statements.append(StoreTile(tuple(values), address, (*mask, *looked, *guards), dtype))

    def _stored(self, stores: tuple[Store, ...], scope: Scope) -> list[Value]:
        """The values of an access, all of them in the storage type it writes if a cast put them there, or none."""
        values = [self._value(store.value, scope) for store in stores]
        exprs = [self._flow.nodes[store.value].expr for store in stores]
        done = all(isinstance(e, Cast) and e.dtype == s.element for e, s in zip(exprs, stores, strict=True))
        return values if done else [self._widened(value) for value in values]

    def _mate(self, store: Store, index: int) -> Store | None:
        for other in self._flow.stores:
            if other.pair is not None and store.pair is not None and other.pair.index == index:
                here = (store.target, store.positions, store.pair.dim)
                if (other.target, other.positions, other.pair.dim) == here:
                    return other
        return None

    def _position_axes(self, positions: tuple[Position, ...]) -> tuple[Axis, ...]:
        return tuple(axis for p in positions if isinstance(p, Affine) for axis in p.axes)

    def _access(
        self, tensor: str, positions: tuple[Position, ...], scope: Scope
    ) -> tuple[Address, tuple[Condition, ...], tuple[Condition, ...]]:
        """Address of an access, the masks of its axes and the range checks of its looked-up positions."""
        row: list[Along] = []
        tile: list[Along] = []
        looked: list[Condition] = []
        for position, stride in zip(positions, self._target.strides(tensor), strict=True):
            if isinstance(position, Lookup):
                index = self._named(position.index, scope)
                looked.append(InRange(index, position.size, looked_up=True))
                offset = AsWhole(index, Whole.INDEX, index.dims)
                (row if self._is_row(index) else tile).append(Along(((offset, sympy.S.One),), sympy.S.Zero, stride))
                continue
            terms = [(scope.index(axis), factor) for axis, factor in position.terms]
            here = tuple(term for term in terms if self._is_row(term[0]))
            rest = tuple(term for term in terms if not self._is_row(term[0]))
            if here:
                row.append(Along(here, sympy.S.Zero, stride))
            if rest or position.offset != 0:
                tile.append(Along(rest, position.offset, stride))
        pointer = self._row_pointer(tensor, tuple(row), scope)
        dims = self._order({*pointer.dims, *(dim for along in tile for value, _ in along.terms for dim in value.dims)})
        mask = self._mask(self._position_axes(positions), dims, scope)
        return Address(pointer, tuple(tile), dims), mask, tuple(looked)

    def _is_row(self, index: Value) -> bool:
        return set(index.dims) <= {"row"}

    def _named(self, number: NodeId, scope: Scope) -> Value:
        value = self._widened(self._value(number, scope))
        if isinstance(value, Name):
            return value
        home = scope.home(number, self._in_loop(self._flow.nodes[number].type.axes))
        name = self._assign(number, value, home)
        home.values[number] = name
        return name

    def _row_pointer(self, tensor: str, row: tuple[Along, ...], scope: Scope) -> Name:
        pointer = Name(f"{tensor}_ptr")
        if not row:
            return pointer
        home = scope if self._is_optional(tensor) else _outermost(scope)
        if any(self._defined_in_branch(value, home) for along in row for value, _ in along.terms):
            home = scope
        key = (tensor, row)
        known = scope
        while known is not None:
            if key in known.pointers:
                return known.pointers[key]
            if known.parent is None:
                break
            known = known.parent
        dims = self._order({dim for along in row for value, _ in along.terms for dim in value.dims})
        name = Name(self._names.fresh(f"{tensor}_row"), dims)
        home.statements.append(Point(name, Address(pointer, row, dims)))
        home.pointers[key] = name
        return name

    def _defined_in_branch(self, value: Value, root: Scope) -> bool:
        value = value.arg if isinstance(value, AsWhole) else value
        return value not in root.indices.values() and value not in root.values.values()

    def _is_optional(self, tensor: str) -> bool:
        return any(param.name == tensor and param.optional for param in self._target.graph.tensors)

    def _mask(self, axes: tuple[Axis, ...], dims: Dims, scope: Scope) -> tuple[Condition, ...]:
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
            mask_dims = self._order({dim for m in masks for dim in m.dims})
            name = MaskName(
                self._names.fresh("mask_" + "_".join(m.text.removesuffix("_mask") for m in masks)), mask_dims
            )
            home.statements.append(Let(name, tuple(masks)))
            home.combined[key] = name
        return (home.combined[key],)

    # Scratch

    def _load_partial(self, number: NodeId, partial: Partial, scope: Scope) -> Value:
        node = self._flow.nodes[number]
        scratch = self._scratch_name(partial.scratch)
        row = [(scope.index(a), factor) for a, factor in self._scratch_terms(partial.axes)]
        lane = self._grid.split_lanes(self._root)
        along = Along((*row, (lane, sympy.S.One)), sympy.S.Zero, sympy.S.One)
        dims = self._order({dim for value, _ in along.terms for dim in value.dims})
        mask = self._mask(partial.axes, dims, scope)
        op = partial.op
        identity = REDUCTIONS[op].identity
        parts = Name(self._names.fresh(f"{self._hint(number)}_parts"), dims, node.type.kind)
        address = Address(Name(f"{scratch}_ptr"), (along,), dims)
        scope.statements.append(LoadTile((parts,), address, mask, identity if mask else None))
        kept = tuple(dim for dim in dims if dim != "split")
        return self._assign(number, Fold(op, parts, ("split",), kept, node.type.kind), scope)

    def _store_partial(self, name: str, number: NodeId, axes: tuple[Axis, ...]) -> None:
        value = self._value(number, self._root)
        scratch = self._scratch_name(name)
        terms = [(self._root.index(a), factor) for a, factor in self._scratch_terms(axes)]
        split = self._grid.split_index
        along = Along((*terms, (split, sympy.S.One)), sympy.S.Zero, sympy.S.One)
        dims = self._order({dim for v, _ in along.terms for dim in v.dims})
        mask = self._mask(axes, dims, self._root)
        address = Address(Name(f"{scratch}_ptr"), (along,), dims)
        self._root.statements.append(StoreTile((value,), address, mask, ElementOf(scratch)))

    def _scratch_terms(self, axes: tuple[Axis, ...]) -> list[tuple[Axis, sympy.Expr]]:
        splits = sympy.Symbol("SPLITS", integer=True, positive=True)
        return [(axis, product_extent(axes[place + 1 :]) * splits) for place, axis in enumerate(axes)]

    def _scratch_name(self, name: str) -> str:
        if name not in self._scratch:
            self._scratch.append(name)
        return name

    # The end

    def _finished(self, name: str, doc: str) -> Kernel:
        loaded = {n.expr.param for i in self._live if isinstance((n := self._flow.nodes[i]).expr, Load)}
        stored = {store.target for store in self._flow.stores}
        graph = self._target.graph
        used = loaded | stored
        pointers = [p.name for p in graph.tensors if p.name in used]
        pointers += [o.name for o in graph.outputs if o.name in stored]
        scalars = [n.expr.param for i in sorted(self._live) if isinstance((n := self._flow.nodes[i]).expr, Scalar)]
        selectors = [n.expr for i in sorted(self._live) if isinstance((n := self._flow.nodes[i]).expr, Choose)]
        flags = dict.fromkeys(c.selector.upper() for c in selectors if c.cases[0][0] not in (GIVEN, OMITTED))
        return Kernel(
            name,
            doc,
            (*pointers, *self._scratch),
            tuple(dict.fromkeys(scalars)),
            self._grid.integers(self._root.statements),
            self._grid.structure,
            (*self._grid.blocks, *([EARLY] if self._deferred else [])),
            tuple(flags),
            tuple(self._root.statements),
        )


def _argument_names(target: Target) -> set[str]:
    """The names the kernel's arguments take, which no variable may have."""
    graph = target.graph
    tensors = [*(tensor.name for tensor in graph.tensors), *(output.name for output in graph.outputs)]
    scalars = [param.name for param in graph.params if not isinstance(param, TensorParam)]
    return {*(f"{name}_ptr" for name in tensors), *scalars, *(solve.name for solve in graph.solves)}


def _looped(header: LoopHeader, body: tuple[Statement, ...]) -> Statement:
    if header.condition:
        return Branch(((header.condition, body),))
    return Loop(header.var, header.start, header.stop, header.step, header.sizes, body)


def _merged(op: str, total: Name, value: Value) -> Value:
    return Apply(_MERGE[op], (total, value), total.dims, total.kind)


def _outermost(scope: Scope) -> Scope:
    while scope.parent is not None:
        scope = scope.parent
    return scope


def _condition(selector: str, case: str) -> str:
    if case in (GIVEN, OMITTED):
        return f"{selector}_ptr is{'' if case == OMITTED else ' not'} None"
    return f'{selector.upper()} == "{case}"'


def _size(value: Value) -> int:
    match value:
        case Apply(args=args):
            return 1 + sum(map(_size, args))
        case Widened(arg) | AsWhole(arg):
            return 1 + _size(arg)
        case _:
            return 0
