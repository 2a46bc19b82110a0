"""Justify: for every reduction of a plan, where it went, the rule that put it there, and the rules refused.

Decides nothing: it reads a graph before and after `commute` and a finished plan, and says in words what happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusec.ir.flow import FlowNode, flow_reachable, store_operands
from fusec.ir.graph import Cast, Elementwise, Graph, Merge, Node, NodeId, Part, Reduce, Rename, operands
from fusec.ir.plan import Plan, Stage
from fusec.ir.types import Axis
from fusec.passes.plan.account import row_facts
from fusec.passes.plan.commute import is_positive, reduces_over
from fusec.passes.plan.survey import depths

_LIBRARY = ("exp", "exp2", "sin", "cos", "tanh", "erf", "sigmoid", "log")

_ADDITIVE = ("add", "sub", "maximum", "minimum")
"""Operations that a factor of all their operands passes through."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a reduction went: its words in the spec, its place, the rules applied, and those refused, with reasons."""

    reduction: str
    place: str
    applied: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def justify(plan: Plan, before: Graph, after: Graph) -> tuple[Placement, ...]:
    """A placement per reduction and stage of the plan; `before` and `after` are the graphs around `commute`."""
    return tuple(
        Placement(
            _words(node), _place(stage, number), _applied(stage, number, before, after), _refused(stage, number, after)
        )
        for stage in plan.stages
        for number, node in _reductions(stage)
    )


def live_registers(stage: Stage) -> str:
    """How many registers the row of a stage is expected to keep alive, as a formula over its tile.

    One register of 32 bits for each element of every tensor needed after the last reduction, and one for the value
    being computed; 16 more for addresses and indices, 32 where exp, sin or cos are computed.
    """
    held = row_facts(stage).held
    nodes = stage.flow.nodes
    costly = any(isinstance(node.expr, Elementwise) and node.expr.op in _LIBRARY for node in nodes)
    axes = [axis for axis in stage.tile if axis not in stage.stream]
    tile = " * ".join([*map(str, axes), *(["chunk"] if stage.stream else [])]) or "1"
    return f"about {held + 1} * {tile} / threads + {32 if costly else 16}"


def _reductions(stage: Stage) -> list[tuple[NodeId, FlowNode]]:
    """The reductions that some store of the stage, or a partial result it leaves, depends on."""
    flow = stage.flow
    roots = [n for store in flow.stores for n in store_operands(store)]
    roots += [partial.value for partial in stage.partials]
    needed = sorted(flow_reachable(flow.nodes, tuple(roots)))
    return [(number, flow.nodes[number]) for number in needed if isinstance(flow.nodes[number].expr, Reduce)]


def why_not_commuted(nodes: tuple[Node, ...], number: NodeId) -> str | None:
    """The first condition that keeps what a reduction waits for from leaving it; None when it waits for nothing."""
    reduce = nodes[number].expr
    assert isinstance(reduce, Reduce)
    value = reduce.arg
    if not reduces_over(nodes, value, reduce.axes):
        return None
    while True:
        node = nodes[value]
        if not _spans(nodes, value, reduce.axes):
            proved = reduce.op == "sum" or is_positive(nodes, value)
            return None if proved else f"{_words(node)} is not proved positive"
        waiting = [n for n in operands(node.expr) if reduces_over(nodes, n, reduce.axes)]
        match node.expr:
            case Cast(dtype=dtype):
                return f"the declared cast to {dtype} stands in between"
            case Elementwise(op="mul" | "abs" | "neg"):
                value = waiting[0]
            case Elementwise(op="div", args=(above, _)) if waiting == [above]:
                value = above
            case Elementwise(op=op, args=args) if op in _ADDITIVE and all(
                n in waiting and _spans(nodes, n, reduce.axes) for n in args
            ):
                value = waiting[0]
            case Elementwise(op=op) if op in _ADDITIVE:
                return f"{_words(node)} does not multiply all of it, and only a factor can leave"
            case Part() | Merge() | Rename():
                value = waiting[0]
            case _:
                return f"a factor does not pass through {_words(node)}"


def _spans(nodes: tuple[Node, ...], value: NodeId, axes: tuple[Axis, ...]) -> bool:
    return any(axis in nodes[value].type.axes for axis in axes)


def _place(stage: Stage, number: NodeId) -> str:
    node = stage.flow.nodes[number]
    assert isinstance(node.expr, Reduce)
    looped = [axis for axis in node.expr.axes if axis in stage.stream]
    if stage.split and looped:
        return f"{stage.name}: split over programs along {_names(looped)}, partial results combined in fixed order"
    if looped:
        sweep, sweeps = depths(stage.flow, stage.stream)[number], max(depths(stage.flow, stage.stream).values())
        return f"{stage.name}: streamed along {_names(looped)}, sweep {sweep} of {sweeps}"
    return f"{stage.name}: in registers"


def _applied(stage: Stage, number: NodeId, before: Graph, after: Graph) -> tuple[str, ...]:
    flow = stage.flow
    node = flow.nodes[number]
    assert isinstance(node.expr, Reduce)
    rules = []
    axes = node.expr.axes
    depth = depths(flow, axes)
    shared = [
        _words(other)
        for place, other in _reductions(stage)
        if isinstance(other.expr, Reduce) and place != number and set(other.expr.axes) == set(axes)
        if depth[place] == depth[number]
    ]
    if shared:
        rules.append(f"merge: one sweep with {', '.join(dict.fromkeys(shared))}")
    if _waits(stage, number, before) and not _waits(stage, number, after):
        rules.append("commute: the factor it waited for left it, so it shares the earlier sweep")
    return tuple(rules)


def _refused(stage: Stage, number: NodeId, after: Graph) -> tuple[str, ...]:
    reasons = (why_not_commuted(after.nodes, same) for same in _same(stage, number, after))
    return tuple(f"commute: {reason}" for reason in dict.fromkeys(reasons) if reason)


def _waits(stage: Stage, number: NodeId, graph: Graph) -> bool:
    """Whether the reduction, as it stands in `graph`, needs the result of another over the same axes."""
    found = [graph.nodes[same].expr for same in _same(stage, number, graph)]
    return any(isinstance(expr, Reduce) and reduces_over(graph.nodes, expr.arg, expr.axes) for expr in found)


def _same(stage: Stage, number: NodeId, graph: Graph) -> list[NodeId]:
    """The reductions of `graph` that come from the same words of the spec: where a function has several, the one."""
    here = _alike(stage.flow.nodes, stage.flow.nodes[number])
    there = _alike(graph.nodes, stage.flow.nodes[number])
    return [there[here.index(number)]] if len(here) == len(there) else there


def _alike(nodes: Sequence[FlowNode | Node], node: FlowNode) -> list[NodeId]:
    """The reductions of the same kind, from the same words, in order."""
    assert isinstance(node.expr, Reduce)
    places = [(n, one.span, one.expr) for n, one in enumerate(nodes)]
    return [n for n, span, expr in places if isinstance(expr, Reduce) and expr.op == node.expr.op and span == node.span]


def _words(node: FlowNode | Node) -> str:
    """`amax in quantize(x, f8e4m3, over=N)`: the operation, and the words of the spec that it comes from."""
    expr = node.expr
    op = expr.op if isinstance(expr, Elementwise | Reduce) else type(expr).__name__.lower()
    text = " ".join(node.span.text.split()) if node.span else node.name or ""
    return text if text.startswith(f"{op}(") else f"{op} in {text}" if text else op


def _names(axes: list[Axis]) -> str:
    return ", ".join(map(str, axes))
