"""Plans as text: which axis of each stage goes where."""

from __future__ import annotations

from collections.abc import Iterator

from fusec.ir.flow import Flow
from fusec.ir.multiply import Sums
from fusec.ir.schedule import Group, Library, Schedule
from fusec.ir.show_flow import flow_lines, show_access
from fusec.ir.stage import Matrix, Stage, TensorMap, TensorMaps
from fusec.ir.types import Axis

INDENT = "  "


def show_group(group: Group) -> str:
    """A group with its plans and their stages; a stage shows its nodes where they are not those of the group."""
    return "\n".join(_group(group))


def _group(group: Group) -> Iterator[str]:
    yield f"group {', '.join(group.outputs)}"
    stages = [stage for plan in group.plans[:1] for stage in plan.stages]
    whole = stages[0].flow if stages else None
    for plan in group.plans:
        yield from (INDENT + line for line in _plan(plan, whole))
    for part in group.apart:
        yield from (INDENT + line for line in ["where that does not fit:", *_group(part)])
    if group.alone is not None:
        yield from (INDENT + line for line in [f"without any {_axes(group.absent)}:", *_group(group.alone)])


def _plan(plan: Schedule, whole: Flow | None) -> Iterator[str]:
    if isinstance(plan, Library):
        yield from _library(plan)
        return
    yield f"plan {plan.name}: {plan.words}"
    for stage in plan.stages:
        yield from (INDENT + line for line in _stage(stage, whole))


def _library(plan: Library) -> Iterator[str]:
    made = f"library {_matrix(plan.out)} = {_matrix(plan.a)} by {_matrix(plan.b)}"
    yield f"{made} in {plan.precision}" if plan.precision != "ieee" else made
    yield f"  rows {_axes(plan.rows) or 'none'}; columns {_axes(plan.columns) or 'none'}; over {_axes(plan.inner)}"
    if plan.batch:
        yield f"  for each {_axes(plan.batch)}"
    if plan.addends:
        yield f"  adds {', '.join(map(_matrix, plan.addends))}"
    if plan.sums is not Sums.SINGLE:
        scales = (_matrix(scale) for scale in plan.scales if scale is not None)
        of = f" of groups {_axes(plan.groups)}" if plan.groups else ""
        yield f"  sums {plan.sums.value}; {', '.join((f'scales{of}', *scales))}"


def _matrix(matrix: Matrix) -> str:
    return f"{matrix.tensor}{show_access(matrix.positions)}"


def _stage(stage: Stage, whole: Flow | None) -> Iterator[str]:
    yield f"stage {stage.name}: {'; '.join(_places(stage))}"
    if stage.flow != whole:
        results = tuple(partial.value for partial in stage.partials)
        yield from (INDENT + line for line in flow_lines(stage.flow, results))
    if stage.maps is not None:
        yield from (INDENT + line for line in _boxes(stage.maps, stage.flow))
    for partial in stage.partials:
        yield f"{INDENT}{partial.scratch}[{_axes(partial.axes)}] = {partial.op} so far, %{partial.value}"


def _boxes(boxes: TensorMaps, flow: Flow) -> Iterator[str]:
    """What is multiplied and stored in boxes; the matrices of one box have an `and` between them."""
    for product in boxes.products:
        dots = " and ".join(f"%{number}" for number in product.dots)
        halves = ", in halves" if boxes.is_halved else ""
        yield f"boxes {_box(product.side)} by {_box(product.block)} for {dots}{halves}"
    for place, box in boxes.stores:
        yield f"box {_box(box)} for the store of %{flow.stores[place].value}"


def _box(box: TensorMap) -> str:
    return f"{' and '.join(matrix.tensor for matrix in box.matrices)}[{_axes(box.axes)}]"


def _places(stage: Stage) -> Iterator[str]:
    """Where each axis goes, after their order in memory; a contraction has them in that of its tiles."""
    if stage.side is None:
        yield f"in memory {_axes(stage.order)}" if stage.order else "no axes"
    if stage.rows:
        yield f"{'lanes' if stage.lanes else 'programs'} {_axes(stage.rows)}"
    if stage.side is not None:
        yield f"tiles {stage.side} by {stage.block}"
    elif stage.block is not None:
        yield f"blocks {stage.block}"
    if stage.tile:
        yield f"registers {_axes(stage.tile)}"
    if stage.stream:
        yield f"loop {_axes(stage.stream)}{', dealt out' if stage.split else ''}"


def _axes(axes: tuple[Axis, ...]) -> str:
    return ", ".join(map(str, axes))
