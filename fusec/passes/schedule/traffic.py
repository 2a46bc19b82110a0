"""Traffic: how often a plan reads and writes each tensor, against the least that any plan can do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from fusec.ir.expressions import Dot, Load, NodeId, Reduce, operands
from fusec.ir.flow import store_inputs
from fusec.ir.graph import reachable
from fusec.ir.schedule import Schedule
from fusec.ir.stage import Stage
from fusec.passes.schedule.registers import at_most, widest
from fusec.passes.schedule.survey import depths


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What decides how long a row stays in registers.

    `inputs` tensors have a value for every element of every row, the one of the `widest` elements comes in `parts`
    equal parts. A row is `compact` when little else shares its registers: no parts, one tensor at most that all rows
    share, and nothing needed both before and after the last reduction but the inputs.
    """

    inputs: int
    widest: str
    parts: int
    compact: bool


def row_facts(stage: Stage) -> RowFacts:
    """The facts of a resident stage."""
    flow, live = stage.flow, stage.live
    loads = [(node.expr.param, node.type) for n in live if isinstance((node := flow.nodes[n]).expr, Load)]
    full = max((len(type.axes) for _, type in loads), default=0)
    wide = Counter(param for param, type in loads if len(type.axes) == full)
    before = _params(stage, tuple(n for n in live if isinstance(flow.nodes[n].expr, Reduce)), through=True)
    held = before & _params(stage, flow.roots, through=False)
    shared = {param for param, type in loads if set(stage.tile) <= set(type.axes)} - set(wide)
    elements = {param: type.element for param, type in loads}
    largest = max(wide, key=lambda param: (widest(elements[param]), at_most(0)(elements[param])), default="")
    parts = max(wide[largest], 1)
    compact = parts == 1 and len(shared) <= 1 and len(held) <= len(wide)
    return RowFacts(len(wide), largest, parts, compact)


def sweeps(stage: Stage) -> int:
    """How often a loop walks a row."""
    depth = depths(stage.flow, stage.loop)
    return 1 + max((depth[n] for store in stage.flow.stores for n in store_inputs(store)), default=0)


def _params(stage: Stage, roots: tuple[NodeId, ...], through: bool) -> set[str]:
    """The tensors with tile axes below `roots`; reductions are looked `through` or stopped at."""
    nodes = stage.flow.nodes
    below = reachable(nodes, roots, into=lambda number: through or not isinstance(nodes[number].expr, Reduce))
    loads = ((expr.param, nodes[n].type.axes) for n in below if isinstance(expr := nodes[n].expr, Load))
    return {param for param, axes in loads if any(axis in stage.tile for axis in axes)}


def traffic(plan: Schedule) -> str:
    """The tensors a plan moves, each as often as it crosses memory: `2 x + weight + y`."""
    return _sum(crossings(plan))


def least_traffic(plan: Schedule) -> str:
    """The same with every tensor once, and twice where it is read and written in place."""
    return _sum(Counter(dict.fromkeys(_read(plan), 1)) + _written(plan))


def excess_traffic(plan: Schedule) -> str:
    """What a plan moves above the least: empty where every tensor that is read is read once."""
    return _sum(Counter({name: times - 1 for name, times in _read(plan).items() if times > 1}))


def crossings(plan: Schedule) -> Counter[str]:
    """How often each tensor crosses memory."""
    return _read(plan) + _written(plan)


def _read(plan: Schedule) -> Counter[str]:
    count: Counter[str] = Counter()
    for stage in plan.stages:
        count.update(_reads(stage))
    return count


def _written(plan: Schedule) -> Counter[str]:
    """Every result crosses memory once."""
    return Counter(dict.fromkeys((store.target for stage in plan.stages for store in stage.flow.stores), 1))


def _reads(stage: Stage) -> Counter[str]:
    """How many sweeps of a stage read each tensor; outside of a loop every tensor is read once."""
    flow = stage.flow
    depth = depths(flow, stage.loop)
    sweeps: dict[str, set[int]] = {}
    ends = [n for n, node in enumerate(flow.nodes) if isinstance(node.expr, Reduce | Dot)]
    roots = [(n, depth[n] - 1) for n in ends if stage.loop and set(_reduce(stage, n).axes) & set(stage.loop)]
    roots += [(n, max(depth[m] for m in store_inputs(store))) for store in flow.stores for n in store_inputs(store)]
    roots += [(partial.value, 0) for partial in stage.partials if not stage.loop]
    for root, sweep in roots:
        for number in _within(stage, root):
            expr = flow.nodes[number].expr
            if isinstance(expr, Load):
                looped = any(axis in stage.loop for axis in flow.nodes[number].type.axes)
                sweeps.setdefault(expr.param, set()).add(sweep if looped else 0)
    return Counter({param: len(found) for param, found in sweeps.items()})


def _within(stage: Stage, root: NodeId) -> frozenset[NodeId]:
    """What is computed in the sweep of `root`: the way down stops at reductions that ended earlier sweeps."""
    nodes = stage.flow.nodes

    def goes_on(number: NodeId) -> bool:
        expr = nodes[number].expr
        return not (isinstance(expr, Reduce | Dot) and set(expr.axes) & set(stage.loop))

    ends = isinstance(nodes[root].expr, Reduce | Dot)
    return reachable(nodes, operands(nodes[root].expr) if ends else (root,), into=goes_on)


def _reduce(stage: Stage, number: NodeId) -> Reduce | Dot:
    expr = stage.flow.nodes[number].expr
    assert isinstance(expr, Reduce | Dot)
    return expr


def _sum(count: Counter[str]) -> str:
    return " + ".join(name if times == 1 else f"{times} {name}" for name, times in count.items())
