"""Ahead: what a step of groups needs first is loaded a step before, as zero points of numbers of 4 bits.

Loads of several steps are under way at once where each thread loads 4 bytes or more, and a step has less of these: it
would wait for memory before its first product. What is needed behind the sums of a group arrives while these are made.
"""

from __future__ import annotations

from dataclasses import replace

from fusec.ir.axis_words import index_name
from fusec.ir.expressions import NodeId, Reduce, operands
from fusec.ir.graph import reachable
from fusec.ir.kernel import Ahead
from fusec.ir.schedule import RowLoop
from fusec.ir.statements import Assign, AxisIndex, Let
from fusec.ir.tile_values import InRange, MaskName, Name
from fusec.ir.types import Axis, Kind, extent
from fusec.passes.kernel.facts import Facts
from fusec.passes.kernel.grid import Grid
from fusec.passes.kernel.scope import Names, Scope
from fusec.passes.kernel.values import Values


def loaded_ahead(facts: Facts, grid: Grid, names: Names, values: Values, body: Scope) -> Ahead | None:
    """What the steps of a loop load one step ahead. In the `body` of the loop it has names of its own."""
    stage = facts.stage
    if not isinstance(stage, RowLoop) or not stage.walks_groups:
        return None
    (groups,) = stage.loop
    numbers = _needed_first(facts, groups)
    if not numbers:
        return None
    index = Name(names.fresh(f"next_{index_name(groups)}"), (str(groups),), Kind.INT)
    mask = MaskName(names.fresh(f"{index.text}_mask"), index.dims)
    scope = Scope(body.parent, indices={groups: index}, masks={groups: mask})
    taken: list[Assign] = []
    for number in numbers:
        value = values.value(number, scope)
        assert isinstance(value, Name)
        body.values[number] = now = replace(value, text=names.fresh(f"{value.text}_now"))
        taken.append(Assign(now, value))
    inside = Let(mask, (InRange(index, extent(groups)),))
    return Ahead(AxisIndex(index, grid.size_of(groups), inside), scope.taken(), tuple(taken))


def _needed_first(facts: Facts, groups: Axis) -> list[NodeId]:
    """Loads of one element for each group that the sums over a group are made of."""
    nodes, tile = facts.nodes, set(facts.stage.tile)
    sums = [n for n in facts.live if isinstance(expr := nodes[n].expr, Reduce) and tile & set(expr.axes)]
    made_of = reachable(nodes, [operand for n in sums for operand in operands(nodes[n].expr)])
    of_groups = (n for n in facts.free_loads() if n in made_of and groups in nodes[n].type.axes)
    return [n for n in of_groups if not tile & set(nodes[n].type.axes)]
