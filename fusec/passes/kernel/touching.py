"""Touching: scales and zero points of groups are asked for before the loop of a gemm whose steps take a group each.

Loads of several steps are under way at once where each thread loads 4 bytes or more, and a step has less of these:
each would wait for memory. Before the loop the cache is told of all of them, some steps at a time. Of 64 rows by
weights of 4 bits it saves 8 to 13 per cent on an H200; products of 8 bits, which leave less time, it cost 3.
"""

from __future__ import annotations

from fusec.ir.axis_words import index_name
from fusec.ir.expressions import Load, lookups
from fusec.ir.kernel import Touched
from fusec.ir.multiply import Sums, sums_of
from fusec.ir.schedule import GemmTile
from fusec.ir.statements import AxisIndex, Branch, Given, Let, Statement, Touch
from fusec.ir.tile_values import InRange, MaskName, Name
from fusec.ir.types import Axis, Kind, extent
from fusec.passes.kernel.addresses import Addresses
from fusec.passes.kernel.facts import Facts
from fusec.passes.kernel.scope import Names, Scope
from fusec.passes.kernel.target import Target

_STEPS = 32
"""Groups that a program asks for at a time."""


def touched(facts: Facts, target: Target, addresses: Addresses, names: Names, scope: Scope) -> Touched | None:
    """What is asked for before the loop of a stage, if its steps take groups and load something of each."""
    groups = _groups(facts)
    loads = [] if groups is None else _of_groups(facts, target, groups)
    if groups is None or not loads:
        return None
    index = Name(names.fresh(f"{index_name(groups)}_ahead"), (str(groups),), Kind.INT)
    mask = MaskName(names.fresh(f"{index.text}_mask"), index.dims)
    ahead = Scope(scope, indices={groups: index}, masks={groups: mask})
    touches: list[Statement] = []
    for load in loads:
        access = addresses.access(load.param, load.positions, {}, ahead)
        made = ahead.taken()
        touches += [each for each in made if isinstance(each, Let)]  # The next tensor has the same mask.
        rest = (*(each for each in made if not isinstance(each, Let)), Touch(access.address, access.conditions))
        touches += [Branch(((Given(load.param), rest),))] if target.is_optional(load.param) else rest
    inside = InRange(index, extent(groups))
    return Touched(extent(groups), AxisIndex(index, str(_STEPS), Let(mask, (inside,))), tuple(touches))


def _groups(facts: Facts) -> Axis | None:
    """The axis of the groups that the steps of a loop take, if it is one."""
    stage = facts.stage
    if not isinstance(stage, GemmTile) or not stage.takes_groups or len(stage.loop) > 2:
        return None
    sums = {sums_of(facts.nodes, dot) for dot in stage.dots.values()}
    return stage.loop[0] if sums == {Sums.SINGLE} else None


def _of_groups(facts: Facts, target: Target, groups: Axis) -> list[Load]:
    """Loads that have one element for what is whole of a group, of tensors that nothing writes."""
    stage = facts.stage
    whole = {*stage.loop, *stage.tile} - {groups}
    found: dict[tuple[object, ...], Load] = {}
    for number in facts.live:
        expr, axes = facts.nodes[number].expr, set(facts.nodes[number].type.axes)
        if not isinstance(expr, Load) or groups not in axes or axes & whole:
            continue
        if expr.pair is None and not lookups(expr.positions) and not target.graph.tensor(expr.param).mutable:
            found.setdefault((expr.param, expr.positions), expr)
    return list(found.values())
