"""Build the kernel of a stage: sweeps over its loop axes, each with the loads, arithmetic and reductions it needs.

Before: a `Stage` (what to compute, which axis goes where); after: a `Kernel` with every name, address and mask.
A reduction over a loop axis ends a sweep; what depends on it waits for the next one. A row in registers needs
no sweeps: every value is computed once. Relies on resolved views and a checked plan.
"""

from __future__ import annotations

from dataclasses import replace

from fusec.ir import schedule
from fusec.ir.expressions import GIVEN, OMITTED, Choose, Dot, Load, NodeId, Scalar, lookups
from fusec.ir.flow import Store, store_axes, store_inputs
from fusec.ir.graph import reachable
from fusec.ir.kernel import (
    ColumnSums,
    Combine,
    Elementwise,
    Gemm,
    GemmRoles,
    GemmScaled,
    GemmTma,
    Kernel,
    Multiply,
    Results,
    RowLoop,
    RowTile,
    Skeleton,
    SplitRows,
    Step,
    Sweep,
)
from fusec.ir.multiply import Sums, sums_of
from fusec.ir.stage import PartialResult, Stage
from fusec.ir.statements import Assign, Branch, FirstPrograms, LoadTile, Put, Statement, StoreTile, every
from fusec.ir.tile_values import Name
from fusec.ir.types import product_extent
from fusec.passes.kernel.addresses import Addresses
from fusec.passes.kernel.ahead import loaded_ahead
from fusec.passes.kernel.blocks import BEGIN, END, EVICT, HELD, OVERLAP, PREFETCH, VEC, VECTOR
from fusec.passes.kernel.epilogue import Epilogue, cone
from fusec.passes.kernel.facts import Facts
from fusec.passes.kernel.grid import Grid
from fusec.passes.kernel.held import held_tiles, is_held
from fusec.passes.kernel.loads import Loads
from fusec.passes.kernel.named import aligned_sizes, types
from fusec.passes.kernel.naming import Naming
from fusec.passes.kernel.once import with_pointers_once
from fusec.passes.kernel.reductions import Reductions
from fusec.passes.kernel.roles import RoleTiles
from fusec.passes.kernel.scaled import ScaledTiles
from fusec.passes.kernel.scope import Names, Scope
from fusec.passes.kernel.stores import Stores
from fusec.passes.kernel.target import Target
from fusec.passes.kernel.tma import TmaTiles
from fusec.passes.kernel.touching import touched
from fusec.passes.kernel.unused import without_unused
from fusec.passes.kernel.values import Values
from fusec.passes.kernel.vectors import with_vectors
from fusec.passes.schedule.survey import depths

_EARLY_OWN, _EARLY_LOADS = 4, 3
"""More tiles than this, of the row and in all, loaded before they are needed, cost more than their latency is worth."""


def build_kernel(stage: Stage, target: Target, name: str, doc: str) -> Kernel:
    """The kernel of `stage`, called `name`."""
    return _KernelBuilder(stage, target).build(name, doc)


_FAMILIES: dict[type[Stage], type[Skeleton]] = {
    schedule.Elementwise: Elementwise,
    schedule.Tile: RowTile,
    schedule.Rows: RowTile,
    schedule.Resident: RowTile,
    schedule.RowLoop: RowLoop,
    schedule.PartialRows: SplitRows,
    schedule.ColumnSums: ColumnSums,
    schedule.Combine: Combine,
    schedule.GemmTile: Gemm,
    schedule.GemmTma: GemmTma,
    schedule.GemmRoles: GemmRoles,
    schedule.GemmScaled: GemmScaled,
}
"""The skeleton that the kernel of a stage has."""


def _accessed(stage: Stage) -> frozenset[str]:
    """The tensors to which a kernel has pointers, or maps of what it stores."""
    stored = (store.target for store in stage.flow.stores)
    exprs = (stage.flow.nodes[number].expr for number in stage.flow.live)
    is_by_maps = isinstance(stage, schedule.GemmTma | schedule.GemmRoles)
    return frozenset((*stored, *(e.param for e in exprs if isinstance(e, Load) and not is_by_maps)))


class _KernelBuilder:
    def __init__(self, stage: Stage, target: Target) -> None:
        stage = stage.whole
        self._target = target = replace(target, accessed=_accessed(stage))
        self._facts = Facts(stage, target)
        self._root = Scope(None)
        self._family = _FAMILIES[type(stage)]
        self._names = names = Names(target.argument_names | self._family.variables)
        self._grid = Grid(stage, target, names)
        self._naming = Naming(stage.flow, names)
        self._addresses = Addresses(target, self._grid, names)
        self._reductions = Reductions(self._facts, self._grid)
        loads = Loads(self._facts, target, self._grid, self._naming, self._addresses)
        self._values = Values(self._facts, target, self._grid, self._naming, loads, self._reductions)
        self._stores = Stores(self._facts, target, self._grid, self._addresses, self._values)
        made = cone(self._facts, target)
        about = (self._facts, target, self._grid, self._addresses, self._values)
        self._epilogue = Epilogue(made, *about) if made else None
        self._tma: TmaTiles | RoleTiles | None = None
        if isinstance(stage, schedule.GemmTma):
            self._tma = TmaTiles(stage, self._facts, target, self._grid, self._naming)
        if isinstance(stage, schedule.GemmRoles):
            self._tma = RoleTiles(stage, self._facts, target, self._grid, self._naming)
        self._scaled: ScaledTiles | None = None
        if isinstance(stage, schedule.GemmScaled):
            self._scaled = ScaledTiles(stage, target, self._grid, self._naming, self._addresses)

    def build(self, name: str, doc: str) -> Kernel:
        self._grid.begin(self._root)
        return self._finished(name, doc, with_pointers_once(self._skeleton()))

    def _skeleton(self) -> Skeleton:
        grid, family = self._grid, self._family
        if self._tma is not None:
            return self._gemm_tma(self._tma) if isinstance(self._tma, TmaTiles) else self._gemm_roles(self._tma)
        if self._scaled is not None:
            return self._gemm_scaled(self._scaled)
        about = (grid.block, grid.rows)
        if family is Elementwise:
            return Elementwise(*about, self._load_early(), self._results(self._outside()))
        if family is RowTile or family is Combine:
            return family(*about, grid.tile, self._load_early(), self._results(self._outside()))
        sweeps = self._sweeps()
        if family is Gemm:
            return self._gemm(sweeps)
        if family is RowLoop:
            is_plain = not grid.tile and grid.block is None
            sweeps = held_tiles(sweeps, self._names) if is_plain else sweeps
            staged = isinstance(stage := self._facts.stage, schedule.RowLoop) and stage.walks_groups
            loop = RowLoop(*about, grid.tile, None, sweeps, self._results(self._outside()), is_held(sweeps), staged)
            return with_vectors(loop, self._target) if is_plain else loop
        assert family is SplitRows or family is ColumnSums
        return family(*about, grid.tile, sweeps, self._results(self._outside()))

    def _gemm(self, sweeps: tuple[Sweep, ...]) -> Gemm:
        """Tiles of the results, or of the sums that programs which share a tile leave."""
        facts, grid, root = self._facts, self._grid, self._root
        assert grid.m is not None
        assert grid.n is not None
        about, sums = (grid.m, grid.n, grid.rows, sweeps), self._sums
        if not sums:
            return Gemm(*about, (), (), self._results(self._outside()))
        # Each in a scope of its own: one of the two is left out when the kernel is compiled.
        whole, shares = (Scope(root, only=frozenset(facts.live)) for _ in range(2))
        results = self._results(self._outside(), whole)
        for partial in sums:
            self._stores.partial(partial, shares)
        return Gemm(*about, root.taken(), shares.taken(), results)

    @property
    def _sums(self) -> tuple[PartialResult, ...]:
        """What programs that share a tile of a gemm leave."""
        stage = self._facts.stage
        return stage.sums if isinstance(stage, schedule.GemmTile) else ()

    def _outside(self) -> list[Store]:
        """The stores outside of loops."""
        facts = self._facts
        return [store for store in facts.flow.stores if not facts.in_loop(store_axes(facts.flow, store))]

    def _load_early(self) -> tuple[Statement, ...]:
        """Load first what waits for nothing, so that it arrives together.

        What belongs to a row comes from memory, so it always goes first. What all rows share waits in the cache: it
        goes first where that is a short list of whole tiles, and otherwise if few rows leave registers to spare.
        """
        facts = self._facts
        within = self._epilogue.cone.within if self._epilogue else ()
        loads = [number for number in facts.free_loads() if number not in within]
        own = [n for n in loads if facts.is_of_row(n)]
        shared = [n for n in loads if n not in own]
        plain = [n for n in shared if isinstance(facts.nodes[n].expr, Load)]
        if sum(map(facts.is_whole, own)) > _EARLY_OWN:
            return ()
        if sum(map(facts.is_whole, (*own, *plain))) <= _EARLY_LOADS:
            own = sorted((*own, *plain), key=facts.order.__getitem__)
        for number in own:
            self._values.value(number, self._root)
        # An index of a row's own look-up is there already.
        late = [n for n in shared if self._root.known(n) is None] if facts.has_reduction else []
        if late:
            self._values.load_if_few(late, self._root)
        return self._root.taken()

    def _gemm_tma(self, tma: TmaTiles) -> GemmTma:
        """The loop over what the dots contract, whose tiles TMA brings, and the epilogue of a tile or of its halves."""
        stage, grid, root = self._facts.stage, self._grid, self._root
        walk = grid.walk()
        assert walk is not None
        assert isinstance(stage, schedule.GemmTma)
        assert grid.m is not None
        body = Scope(root, axes=stage.loop)
        tma.multiply(body)
        halved = grid.n is None
        # A scope of its own: there are registers for what is made of half a tile.
        behind = Scope(None, indices=dict(root.indices), masks=dict(root.masks)) if halved else root
        totals = tma.results(behind)
        n = grid.n or grid.cut(stage.n, behind)
        results = self._results(list(self._facts.flow.stores), behind)
        return without_unused(GemmTma(grid.m, n, grid.rows, walk, totals, body.taken(), halved, results))

    def _gemm_roles(self, roles: RoleTiles) -> GemmRoles:
        """The sums of one half of a tile, and their epilogue."""
        stage, grid, root = self._facts.stage, self._grid, self._root
        walk, stores = grid.walk(), list(self._facts.flow.stores)
        assert walk is not None
        assert isinstance(stage, schedule.GemmRoles)
        assert grid.m is not None
        halved = stage.is_halved
        # A scope of its own: there are registers for what is made of half a tile.
        behind = Scope(None, indices=dict(root.indices), masks=dict(root.masks)) if halved else root
        totals = (roles.total(behind),)
        n = grid.n or grid.cut(stage.n, behind)
        about = (grid.m, n, grid.rows, walk, roles.operands, totals, stage.sums is Sums.PARTS, halved)
        scaled = roles.scaled(self._values, root)
        across = product_extent(stage.rows) if stage.scales and stage.rows else None
        return without_unused(GemmRoles(*about, scaled, across, roles.stored, self._results(stores, behind)))

    def _gemm_scaled(self, scaled: ScaledTiles) -> GemmScaled:
        """The loop over groups, whose digits and scales are multiplied as they are stored, and the epilogue."""
        grid, root = self._grid, self._root
        walk = grid.walk()
        assert walk is not None
        assert grid.m is not None
        assert grid.n is not None
        body = Scope(root, axes=self._facts.stage.loop)
        totals = scaled.multiply(body)
        about = (grid.m, grid.n, grid.rows, root.taken(), walk, totals, body.taken())
        return GemmScaled(*about, self._results(list(self._facts.flow.stores)))

    def _results(self, stores: list[Store], scope: Scope | None = None) -> Results:
        """Write stores. Where one goes to a tensor that is read as well, all threads have read before any writes."""
        facts, scope = self._facts, scope or self._root
        if self._epilogue and set(self._epilogue.cone.stores) <= set(stores):
            self._epilogue.call(scope, self._naming)
        read: tuple[Statement, ...] = ()
        waits = any(store.target in facts.in_place for store in stores)
        if waits:
            for store in stores:
                self._values.value(store.value, scope)
                self._values.indices(lookups(store.positions), scope)
            read = scope.taken()
        for store in stores:
            if self._tma is not None and self._tma.is_put(store):
                self._tma.put(store, self._values.value(store.value, scope), scope)
            else:
                self._stores.store(store, scope)
        if scope is self._root:
            for partial in facts.stage.partials:
                self._stores.partial(partial, scope)
        made = scope.taken()
        return Results(read, waits, made) if waits else Results(*_before_stores(made))

    def _sweeps(self) -> tuple[Sweep, ...]:
        facts = self._facts
        depth = depths(facts.flow, facts.stage.loop)
        ends = {n: depth[n] - 1 for n in facts.live if facts.ends_sweep(n)}
        stores = [store for store in facts.flow.stores if facts.in_loop(store_axes(facts.flow, store))]
        waits = [max(depth[n] for n in store_inputs(store)) for store in stores]
        order = sorted({*ends.values(), *waits})
        # What is read in a later sweep is not written before. What that one loads in any case is stored then: loads of
        # a step do not overtake the stores of another.
        loaded = self._loaded([store for store, wait in zip(stores, waits, strict=True) if wait == order[-1]])
        is_last = [s.target in facts.in_place or self._loaded([s]) <= loaded for s in stores]
        waits = [order[-1] if last else wait for last, wait in zip(is_last, waits, strict=True)]
        return tuple(
            self._sweep(
                [n for n, end in ends.items() if end == sweep],
                [store for store, wait in zip(stores, waits, strict=True) if wait == sweep],
                sweep == order[-1],
            )
            for sweep in order
        )

    def _loaded(self, stores: list[Store]) -> set[NodeId]:
        """What of each step is loaded for some stores, other than for what is reduced before them."""
        facts, roots = self._facts, [number for store in stores for number in store_inputs(store)]
        found = reachable(facts.nodes, roots, into=facts.is_looped)
        return {n for n in found if isinstance(facts.nodes[n].expr, Load) and facts.is_looped(n)}

    def _sweep(self, ends: list[NodeId], outs: list[Store], last: bool) -> Sweep:
        """One pass over the loop axes."""
        body = Scope(self._root, axes=self._facts.stage.loop, last_read=last)
        outer, index = self._grid.step(body)
        ahead = loaded_ahead(self._facts, self._grid, self._names, self._values, body)
        accumulators: dict[NodeId, Name] = {}
        dots: list[Multiply] = []
        for number in ends:
            expr = self._facts.nodes[number].expr
            if isinstance(expr, Dot):
                dots.append(self._dot(number, expr, body))
                self._root.values[number] = dots[-1].total
            else:
                accumulators[number] = self._step(number, body)
        values = body.taken()
        step = Step(outer, index, self._grid.both, tuple(dots), values, self._results(outs, body))
        before = self._root.taken()
        asked = touched(self._facts, self._target, self._addresses, self._names, self._root)
        before += self._root.taken()
        for number, total in accumulators.items():
            folded = self._reductions.folded(number, total)
            self._root.values[number] = total
            if folded != total:
                self._root.values[number] = self._naming.assign(number, folded, self._root)
        return Sweep(before, asked, ahead, self._grid.walk(), step, self._root.taken())

    def _dot(self, number: NodeId, dot: Dot, body: Scope) -> Multiply:
        """What a step multiplies. Its operands are computed before, and whatever is before them."""
        a, b = self._values.factors(dot, body)
        dims = self._grid.order({dim for factor in (a, b) for dim in factor.dims} - set(map(str, dot.axes)))
        total = Name(self._naming.of(number, self._root), dims, self._facts.nodes[number].type.kind)
        return Multiply(body.taken(), a, b, total, dot.precision, sums_of(self._facts.nodes, dot))

    def _step(self, number: NodeId, body: Scope) -> Name:
        """Add to an accumulator, which is started before the loop."""
        value = self._values.reduced(number, body)
        start = self._reductions.start(number, value)
        total = Name(self._naming.of(number, self._root), start.dims, start.kind)
        self._root.statements.append(Assign(total, start))
        body.statements.append(Assign(total, self._reductions.step(number, total, value)))
        return total

    def _is_put(self, store: Store) -> bool:
        return self._tma is not None and self._tma.is_put(store)

    def _finished(self, name: str, doc: str, skeleton: Skeleton) -> Kernel:
        graph, exprs = self._target.graph, [self._facts.nodes[n].expr for n in self._facts.live]
        stored = {store.target for store in self._facts.flow.stores if not self._is_put(store)}
        loads = [(n, expr) for n, expr in zip(self._facts.live, exprs, strict=True) if isinstance(expr, Load)]
        loaded = {expr.param for n, expr in loads if not (self._tma and self._facts.is_only_multiplied(n))}
        choices = [expr for expr in exprs if isinstance(expr, Choose)]
        # A tensor that may be left out selects a case, also where no case reads it.
        selectors = {expr.selector for expr in choices if expr.cases[0][0] in (GIVEN, OMITTED)}
        nodes = tuple(every(skeleton))
        used = {*loaded, *stored, *selectors, *types(nodes)}
        pointers = [name for name in graph.stored if name in used]
        integers = self._grid.integers(skeleton)
        chained = self._target.chained
        marked, shares = aligned_sizes(nodes), bool(self._sums)
        aligned = tuple(name for name in integers if name in marked)
        flags = dict.fromkeys(expr.selector.upper() for expr in choices if expr.selector not in selectors)
        return Kernel(
            name,
            doc,
            (*pointers, *([] if shares else self._addresses.workspaces)),
            tuple(dict.fromkeys(expr.param for expr in exprs if isinstance(expr, Scalar))),
            integers,
            aligned,
            self._grid.structure,
            (
                *self._grid.blocks,
                *([PREFETCH] if self._values.has_deferred else []),
                *([HELD] if isinstance(skeleton, RowLoop) and skeleton.may_hold else []),
                *([VECTOR] if isinstance(skeleton, RowLoop) and skeleton.stored else []),
                *([EVICT] if any(isinstance(one, LoadTile) and one.cache == EVICT for one in nodes) else []),
                *([VEC] if aligned else []),
                *([OVERLAP] if chained else []),
            ),
            tuple(flags),
            skeleton,
            self._facts.rounds,
            chained,
            self._tma.names if self._tma else (),
            (BEGIN, END, *self._tma.flips) if self._tma else (),
            tuple(self._addresses.workspaces) if shares else (),
        )


def _before_stores(statements: tuple[Statement, ...]) -> tuple[tuple[Statement, ...], bool, tuple[Statement, ...]]:
    """The statements before the first store, without a wait, and those from it on."""
    first = next((place for place, one in enumerate(statements) if _stores(one)), len(statements))
    return statements[:first], False, statements[first:]


def _stores(statement: Statement) -> bool:
    if isinstance(statement, Branch):
        return isinstance(statement.cases[0][0], FirstPrograms)
    return isinstance(statement, StoreTile | Put)
