"""Late reads: the `mut` tensors that some plan might read after they were written.

Kernels run one after another, the programs of one in no order. A tensor that is written in place is safe to read in
kernels before, and in the one that writes it if every program reads there nothing but what it alone writes: at the same
positions, which differ from program to program. Within a program all loads come before the first store, see
`kernel/build.py`. What is read anywhere else has to be written in a step of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fusec.ir.expressions import Load, NodeId, Pair, Position, lookups
from fusec.ir.fixed_extents import known_extent
from fusec.ir.flow import Store
from fusec.ir.graph import Graph
from fusec.ir.schedule import Group, Schedule
from fusec.ir.stage import Stage


def late_reads(graph: Graph, sequences: Iterable[tuple[Group, ...]], known: dict[str, int]) -> frozenset[str]:
    """The tensors written by `graph` that one of several sequences of groups reads too late."""
    writes = [write.param for write in graph.scatters]
    judge = _Judge(frozenset(writes), frozenset(name for name in writes if writes.count(name) > 1), known)
    return frozenset(name for groups in sequences for name in judge.in_turn(groups))


@dataclass(frozen=True, slots=True)
class _Judge:
    """The tensors that are `written` in place, some by `several` statements, and the extents that the spec fixes."""

    written: frozenset[str]
    several: frozenset[str]
    known: dict[str, int]

    def in_turn(self, groups: tuple[Group, ...]) -> set[str]:
        """What groups read too late that run one after another, each by one of its plans."""
        found, before = set[str](), set[str]()
        for group in groups:
            stages = [stage for plan in group.all_plans() for stage in plan.stages]
            found |= before.intersection(*([set().union(*map(self._loaded, stages))] if stages else [()]))
            before |= set().union(*map(self._stored, stages))
            found |= set().union(*map(self._in_plan, group.plans)) | self.in_turn(group.apart)
            found |= self.in_turn((group.alone,)) if group.alone else set()
        return found

    def _in_plan(self, plan: Schedule) -> set[str]:
        found, before = set[str](), set[str]()
        for stage in plan.stages:
            loaded, stored = self._loaded(stage), self._stored(stage)
            found |= loaded & before
            found |= {name for name in loaded & stored if name in self.several or not self._reads_its_own(stage, name)}
            before |= stored
        return found

    def _reads_its_own(self, stage: Stage, name: str) -> bool:
        """Whether each program of a stage reads of a tensor nothing but what it alone writes."""
        stores = [store for store in stage.flow.stores if store.target == name]
        spread = {axis for axis in stage.spread if known_extent(axis, self.known) != 1}
        if any(lookups(store.positions) and not store.once for store in stores):
            return False
        places = {_place(store) for store in stores}
        loads = _loads(stage, name)
        return all(_place(load) in places and spread <= set(stage.flow.nodes[n].type.axes) for n, load in loads)

    def _loaded(self, stage: Stage) -> set[str]:
        return {name for name in self.written if _loads(stage, name)}

    def _stored(self, stage: Stage) -> set[str]:
        return {store.target for store in stage.flow.stores} & self.written


def _loads(stage: Stage, name: str) -> list[tuple[NodeId, Load]]:
    found = ((n, stage.flow.nodes[n].expr) for n in stage.live)
    return [(n, expr) for n, expr in found if isinstance(expr, Load) and expr.param == name]


def _place(access: Load | Store) -> tuple[tuple[Position, ...], Pair | None]:
    """Where an access is; one of two neighbours stands for both, which are read together."""
    pair = access.pair
    return access.positions, None if pair is None else Pair(pair.dim, pair.step, 0)
