"""GEMV: dots as sums of products in rows, for few rows and where tensor cores have no such product.

Before: `dot(x, w, over=K)`; after: `sum(x * w, over=K)`. Operands are then not rounded where `precision=T` would permit
it. A row that registers hold is a loop of one step: both schedules launch one kernel. Relies on resolved views.
"""

from __future__ import annotations

from dataclasses import replace

from fusec.ir.builder import Builder
from fusec.ir.expressions import (
    Dot,
    Elementwise,
    FlowExpr,
    NodeId,
    Reduce,
    lookups,
    operands,
    with_lookups,
    with_operands,
)
from fusec.ir.flow import Flow, Store
from fusec.ir.schedule import Gemv, Resident, RowLoop
from fusec.ir.types import Axis, ValueType, union
from fusec.passes.schedule.known import Known
from fusec.passes.schedule.rows import rows
from fusec.passes.schedule.survey import Survey, survey


def gemv(facts: Survey, known: Known, label: str, few: tuple[Axis, ...]) -> tuple[Gemv, ...]:
    """The schedules for few positions of some axes, none of which has to take every call."""
    plans = rows(survey(expand_dots(facts.flow)), known, label)
    loops = [replace(plan, kernel=f"gemv{label}") for plan in plans if isinstance(plan, RowLoop)]
    held = [replace(plan, kernel=f"gemv{label}") for plan in plans if isinstance(plan, Resident)]
    in_one_step = (Gemv(replace(row, loop_of=loop), few) for row in held for loop in loops)
    return (*in_one_step, *(Gemv(loop, few) for loop in loops))


def expand_dots(flow: Flow) -> Flow:
    """The same flow without dots."""
    builder = Builder[FlowExpr]()
    new: list[NodeId] = []
    for node in flow.nodes:
        args = tuple(new[n] for n in operands(node.expr))
        if isinstance(node.expr, Dot):
            axes = union(*(builder[n].type.axes for n in args))
            product = builder.add(Elementwise("mul", args), ValueType(node.type.element, axes), span=node.span)
            expr: FlowExpr = Reduce("sum", product, node.expr.axes)
        else:
            expr = with_operands(node.expr, args)
        new.append(builder.add(expr, node.type, node.name, node.span))
    return Flow(builder.nodes, tuple(_moved(store, new) for store in flow.stores))


def _moved(store: Store, new: list[NodeId]) -> Store:
    positions = with_lookups(store.positions, tuple(new[n] for n in lookups(store.positions)))
    return replace(store, positions=positions, value=new[store.value])
