"""Facts about a stage that decide how its kernel is written: what is live, read where, and by how many."""

from __future__ import annotations

from fusec.ir.expressions import Cast, Choose, Const, Dot, Load, NodeId, Partial, Reduce, operands
from fusec.ir.flow import Flow, Store, store_axes
from fusec.ir.graph import reachable
from fusec.ir.stage import Stage
from fusec.ir.types import Axis
from fusec.passes.kernel.integers import long_values
from fusec.passes.kernel.narrowing import kept_apart
from fusec.passes.kernel.padding import choose_padding
from fusec.passes.kernel.target import Target


class Facts:
    """A stage and what follows from it. `live` nodes are needed; `long` ones are integers that need 64 bits.

    Those kept `apart` are widened by their bits. `full` is the largest number of tile axes of any load; a `table` has
    some of them. What is read and written is `in_place`.
    """

    def __init__(self, stage: Stage, target: Target) -> None:
        self.stage = stage
        self.flow = stage.flow
        self.nodes = stage.flow.nodes
        self._roots = stage.flow.roots
        self.live = stage.live
        self.order = _order(stage.flow, stage.live)
        self.long = long_values(stage.flow, target.graph)
        self.padding = choose_padding(stage.flow, self.live, target.has_infinity)
        self.apart = kept_apart(stage.flow, self.live)
        self._uses = self._count_uses()
        self._only: dict[tuple[NodeId, NodeId], frozenset[NodeId]] = {}
        self._read_in_loop = {m for n in self.live if self.is_looped(n) for m in operands(self.nodes[n].expr)}
        loads = [n for n in self.live if isinstance(self.nodes[n].expr, Load)]
        stored = {store.target for store in stage.flow.stores}
        self.in_place = {expr.param for n in loads if isinstance(expr := self.nodes[n].expr, Load)} & stored
        self.full = max(map(self.tile_axes, loads), default=0)
        self.has_tables = any(self.is_table(n) and self.is_of_row(n) for n in loads)
        self._dots = stage.dots
        self.multiplies = bool(self._dots)
        casts = {n for n in self.live if isinstance(self.nodes[n].expr, Cast)}
        self.rounds = any(m in casts for n in self.live for m in operands(self.nodes[n].expr))
        self.has_reduction = any(isinstance(self.nodes[n].expr, Reduce) for n in self.live)

    # Where a value belongs

    def in_loop(self, axes: tuple[Axis, ...]) -> bool:
        """Whether one of the axes is walked in a loop."""
        return any(axis in self.stage.loop for axis in axes)

    def is_looped(self, number: NodeId) -> bool:
        """Whether a value changes from one step of the loop to the next."""
        return self.in_loop(self.nodes[number].type.axes)

    def ends_sweep(self, number: NodeId) -> bool:
        """Whether a node is a reduction over all axes of the loop that it depends on."""
        expr = self.nodes[number].expr
        return isinstance(expr, Reduce | Dot) and self.in_loop(expr.axes) and not self.is_looped(number)

    def is_multiplied(self, number: NodeId) -> bool:
        """Whether a dot reads a node."""
        return any(number in (dot.a, dot.b) for dot in self._dots.values())

    def is_only_multiplied(self, number: NodeId) -> bool:
        """Whether dots alone read a node, as a factor."""
        readers = [expr for n in self.live if number in operands(expr := self.nodes[n].expr)]
        return number not in self._roots and all(isinstance(expr, Dot) for expr in readers)

    def is_of_row(self, number: NodeId) -> bool:
        """Whether a value differs from row to row."""
        return any(axis in self.stage.spread for axis in self.nodes[number].type.axes)

    def is_whole(self, number: NodeId) -> bool:
        """Whether a value has all the axes of the tile that any load has."""
        return self.tile_axes(number) == self.full

    def is_table(self, number: NodeId) -> bool:
        """Whether a value has some axes of the tile, and fewer than the largest load."""
        return 0 < self.tile_axes(number) < self.full

    def tile_axes(self, number: NodeId) -> int:
        """How many axes of the tile a value has."""
        return sum(axis in self.stage.tile for axis in self.nodes[number].type.axes)

    def is_inlined(self, number: NodeId) -> bool:
        """Whether an expression stands inside of its only user; what a loop needs from outside has a line outside."""
        hoisted = self.stage.loop and not self.is_looped(number) and number in self._read_in_loop
        return self._uses[number] == 1 and self.nodes[number].name is None and not hoisted

    # What needs what

    def free_loads(self) -> list[NodeId]:
        """Loads, and choices between loads and constants, that wait for no reduction and stand in no other choice."""
        nodes = self.nodes
        choices = [n for n in self.live if isinstance(nodes[n].expr, Choose)]
        inside = {m for n in choices for case in operands(nodes[n].expr) for m in self.only_for(case, n)}
        found = [n for n in choices if all(isinstance(nodes[c].expr, Load | Const) for c in operands(nodes[n].expr))]
        found += [n for n in self.live if self._is_loaded(n)]
        waits = [n for n in self.live if isinstance(nodes[n].expr, Reduce | Partial) and not self._is_loaded(n)]
        free = (n for n in found if n not in inside and reachable(nodes, (n,)).isdisjoint(waits))
        return sorted(free, key=self.order.__getitem__)

    def _is_loaded(self, number: NodeId) -> bool:
        """Whether a value is an element of a tensor, or of a product."""
        expr = self.nodes[number].expr
        return isinstance(expr, Load) or (isinstance(expr, Partial) and expr.as_product)

    def outside(self, choose: NodeId) -> tuple[NodeId, ...]:
        """What the cases of a choice read and that is not computed for one of them alone."""
        found: dict[NodeId, None] = {}
        for case in operands(self.nodes[choose].expr):
            only, stack, seen = self.only_for(case, choose), [case], set[NodeId]()
            while stack:
                number = stack.pop()
                if number not in only:
                    found[number] = None
                elif number not in seen:
                    seen.add(number)
                    stack += reversed(operands(self.nodes[number].expr))
        return tuple(found)

    def only_for(self, case: NodeId, choose: NodeId) -> frozenset[NodeId]:
        """The nodes that nothing but this case of the choice needs."""
        if (case, choose) not in self._only:
            self._only[case, choose] = self._needed_only_for(case, choose)
        return self._only[case, choose]

    def _needed_only_for(self, case: NodeId, choose: NodeId) -> frozenset[NodeId]:
        inside = reachable(self.nodes, (case,))
        users: dict[NodeId, set[NodeId]] = {n: set() for n in inside}
        for number in self.live:
            for operand in operands(self.nodes[number].expr):
                if operand in users:
                    users[operand].add(number)
        twice = operands(self.nodes[choose].expr).count(case) > 1
        only: set[NodeId] = set() if twice or case in self._roots or users[case] - {choose} else {case}
        for number in sorted(inside, reverse=True):
            if number != case and number not in self._roots and users[number] and users[number] <= only:
                only.add(number)
        return frozenset(only)

    def shows_empty(self, axes: tuple[Axis, ...]) -> bool:
        """Whether anything is stored when some of these axes have no element."""
        stored = [store_axes(self.flow, store) for store in self.flow.stores]
        stored += [partial.axes for partial in self.stage.partials]
        return any(not set(axes) <= set(others) for others in stored)

    # Neighbours that one access moves

    def twin(self, load: Load, index: int) -> NodeId | None:
        """The live load of the neighbour `index` of a pair."""
        for number in self.live:
            expr = self.nodes[number].expr
            if isinstance(expr, Load) and expr.pair is not None and load.pair is not None:
                same = (expr.param, expr.positions, expr.pair.dim, expr.pair.step)
                if same == (load.param, load.positions, load.pair.dim, load.pair.step) and expr.pair.index == index:
                    return number
        return None

    def mate(self, store: Store, index: int) -> Store | None:
        """The store of the neighbour `index` of a pair."""
        for other in self.flow.stores:
            if other.pair is not None and store.pair is not None and other.pair.index == index:
                here = (store.target, store.positions, store.pair.dim)
                if (other.target, other.positions, other.pair.dim) == here:
                    return other
        return None

    def _count_uses(self) -> dict[NodeId, int]:
        roots = (*self._roots, *(partial.value for partial in self.stage.partials))
        uses = dict.fromkeys(range(len(self.nodes)), 0)
        for number in (*roots, *(m for n in self.live for m in operands(self.nodes[n].expr))):
            uses[number] += 1
        return uses


def _order(flow: Flow, live: list[NodeId]) -> dict[NodeId, int]:
    """The order in which results need nodes, of which numbers say nothing: two outputs alike have kernels alike."""
    found: dict[NodeId, int] = {}
    stack = [(number, False) for number in reversed((*flow.roots, *live))]
    while stack:
        number, is_ready = stack.pop()
        if number in found:
            continue
        if is_ready:
            found[number] = len(found)
        else:
            stack.append((number, True))
            stack += [(operand, False) for operand in reversed(operands(flow.nodes[number].expr))]
    return found
