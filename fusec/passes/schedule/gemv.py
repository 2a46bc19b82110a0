"""GEMV: dots as sums of products in rows, for few rows and where tensor cores have no such product.

Before: `dot(x, w, over=K)`; after: `sum(x * w, over=K)`. Operands are then not rounded where `precision=T` would permit
it. A row that registers hold is a loop of one step: both schedules launch one kernel. Relies on resolved views.
"""

from __future__ import annotations

from dataclasses import replace

from fusec.ir.builder import Builder
from fusec.ir.expressions import (
    BOTH,
    Dot,
    Elementwise,
    FlowExpr,
    Load,
    NodeId,
    Reduce,
    lookups,
    operands,
    with_lookups,
    with_operands,
)
from fusec.ir.flow import Flow, FlowBuilder, FlowNode, Store, two_apart
from fusec.ir.graph import reachable
from fusec.ir.multiply import I8
from fusec.ir.schedule import Gemv, Resident, RowLoop
from fusec.ir.types import Axis, Computed, Kind, ValueType, union, without
from fusec.passes.schedule.known import Known
from fusec.passes.schedule.rows import rows
from fusec.passes.schedule.survey import Survey, survey


def gemv(facts: Survey, known: Known, label: str, few: tuple[Axis, ...]) -> tuple[Gemv, ...]:
    """The schedules for few positions of some axes, none of which has to take every call."""
    expanded = survey(expand_dots(facts.flow))
    if (several := _several_rows(facts, expanded, f"gemv{label}")) is not None:
        return (Gemv(several, few, narrow=True),)
    plans = rows(expanded, known, label)
    loops = [replace(plan, kernel=f"gemv{label}") for plan in plans if isinstance(plan, RowLoop)]
    held = [replace(plan, kernel=f"gemv{label}") for plan in plans if isinstance(plan, Resident)]
    in_one_step = (Gemv(replace(row, loop_of=loop), few) for row in held for loop in loops)
    return (*in_one_step, *(Gemv(loop, few) for loop in loops))


def _several_rows(facts: Survey, expanded: Survey, name: str) -> RowLoop | None:
    """The schedule of several rows of a matrix to a program, where each takes fewer bytes than the vector beside it.

    Programs read the vector from the cache: for every row alone that would be most of what they read.
    """
    nodes, flow = facts.flow.nodes, facts.flow
    dots = [expr for n in flow.live if isinstance(expr := nodes[n].expr, Dot)]
    narrow = (axis for axis in reversed(expanded.kept) if all(_is_narrow(flow, dot, axis) for dot in dots))
    block = next(narrow, None)
    if block is None:
        return None
    if any(node.type.kind is Kind.INT for n in flow.live if isinstance((node := nodes[n]).expr, Dot)):
        return None  # Threads add integers up in 64 bits, of which they hold one row.
    rows = without(expanded.kept, (block,))
    outer = next(axis for axis in expanded.inner if axis in expanded.reduced)
    rest = without(expanded.inner, (outer,))
    # Triton gives threads that are neighbours the last dimensions: of groups those along which a row of the matrix is
    # contiguous, so that a thread has a part of the vector once, for all rows of a program.
    order = (block, outer, *rest) if rest else (outer, block)
    return RowLoop(name, expanded.flow, (*rows, *order), rows, tile=rest, block=block, loop=(outer,))


def _is_narrow(flow: Flow, dot: Dot, block: Axis) -> bool:
    """Whether the operand with an axis is read in fewer bytes than the other one, which lacks it."""
    nodes = flow.nodes
    matrix, vector = (dot.a, dot.b) if block in nodes[dot.a].type.axes else (dot.b, dot.a)
    if block in nodes[vector].type.axes or block not in nodes[matrix].type.axes:
        return False
    wide, thin = (_bits_of(flow, operand, dot.axes) for operand in (vector, matrix))
    return 0 < thin <= I8.bits and thin < wide


def _bits_of(flow: Flow, operand: NodeId, over: tuple[Axis, ...]) -> int:
    """Bits that are read at each position of what is contracted, in the narrowest types that a caller may choose."""
    found: dict[str, int] = {}
    for number in reachable(flow.nodes, (operand,)):
        node = flow.nodes[number]
        element, expr = node.type.element, node.expr
        if isinstance(expr, Load) and set(over) <= set(node.type.axes) and not isinstance(element, Computed):
            times = 2 if expr.pair is not None and expr.pair.index == BOTH else 1
            bits = times * min(option.bits for option in element.options)
            found[expr.param] = max(found.get(expr.param, 0), bits)
    return sum(found.values())


def expand_dots(flow: Flow) -> Flow:
    """The same flow without dots."""
    builder = Builder[FlowExpr]()
    new: list[NodeId] = []
    for node in flow.nodes:
        args = tuple(new[n] for n in operands(node.expr))
        if isinstance(node.expr, Dot):
            new.append(_sum_of_products(flow, node, new, builder))
        else:
            new.append(builder.add(with_operands(node.expr, args), node.type, node.name, node.span))
    return Flow(builder.nodes, tuple(_moved(store, new) for store in flow.stores))


def _sum_of_products(flow: Flow, node: FlowNode, new: list[NodeId], builder: FlowBuilder) -> NodeId:
    """A dot: the sum of the products at each position, or of the first and the second ones there, each by itself.

    A product is then added as it is made; of two, the sum would be made first.
    """
    assert isinstance(node.expr, Dot)
    axes = node.expr.axes
    pairs = list(zip(*(_elements(flow, each, new, builder) for each in (node.expr.a, node.expr.b)), strict=True))
    sums: list[NodeId] = []
    for a, b in pairs:
        type = ValueType(node.type.element, union(builder[a].type.axes, builder[b].type.axes))
        product = builder.add(Elementwise("mul", (a, b)), type, span=node.span)
        name = node.name if len(pairs) == 1 else None
        sums.append(builder.add(Reduce("sum", product, axes), node.type, name, node.span))
    if len(sums) == 1:
        return sums[0]
    return builder.add(Elementwise("add", tuple(sums)), node.type, node.name, node.span)


def _elements(flow: Flow, number: NodeId, new: list[NodeId], builder: FlowBuilder) -> tuple[NodeId, ...]:
    """What an operand of a dot has at each position: one element, or two."""
    found = two_apart(flow.nodes, number)
    if not found:
        return (new[number],)
    node = flow.nodes[number]
    moved = [new[part] if isinstance(part, NodeId) else part for part in found]
    looked = tuple(new[operand] for operand in operands(node.expr))
    return tuple(
        part if isinstance(part, NodeId) else builder.add(with_operands(part, looked), node.type, node.name)
        for part in moved
    )


def _moved(store: Store, new: list[NodeId]) -> Store:
    positions = with_lookups(store.positions, tuple(new[n] for n in lookups(store.positions)))
    return replace(store, positions=positions, value=new[store.value])
