"""Plans as text: which axis of each stage goes where."""

from __future__ import annotations

from collections.abc import Iterator

from fusec.ir.flow import Flow
from fusec.ir.multiply import Sums
from fusec.ir.scaled import ScaledOperand
from fusec.ir.schedule import Gemm, GemmScaled, GemmStage, GemmTma, Group, Library, Schedule
from fusec.ir.show_flow import flow_lines, show_access
from fusec.ir.stage import Stage
from fusec.ir.tensor_map import Matrix, TensorMap, TensorMaps
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
    swapped = isinstance(plan, Gemm) and bool(plan.few)
    for stage in plan.stages:
        yield from (INDENT + line for line in _stage(stage, whole, swapped))


def _library(plan: Library) -> Iterator[str]:
    made = f"library {_matrix(plan.out)} = {_matrix(plan.a)} by {_matrix(plan.b)}"
    yield f"{made} in {plan.precision}" if plan.precision != "ieee" else made
    yield f"  rows {_axes(plan.rows) or 'none'}; columns {_axes(plan.columns) or 'none'}; over {_axes(plan.inner)}"
    if plan.batch:
        yield f"  for each {_axes(plan.batch)}"
    if plan.addend is not None:
        yield f"  adds {_matrix(plan.addend)}"
    if plan.sums is not Sums.SINGLE:
        scales = (_matrix(scale) for scale in plan.scales if scale is not None)
        of = f" of groups {_axes(plan.groups)}" if plan.groups else ""
        yield f"  sums {plan.sums.value}; {', '.join((f'scales{of}', *scales))}"


def _matrix(matrix: Matrix) -> str:
    return f"{matrix.tensor}{show_access(matrix.positions)}"


def _stage(stage: Stage, whole: Flow | None, swapped: bool) -> Iterator[str]:
    yield f"stage {stage.kernel}: {'; '.join(_places(stage, swapped))}"
    if stage.flow != whole:
        results = tuple(partial.value for partial in stage.partials)
        yield from (INDENT + line for line in flow_lines(stage.flow, results))
    if isinstance(stage, GemmTma):
        yield from (INDENT + line for line in _maps(stage.maps, stage.flow))
    if isinstance(stage, GemmScaled):
        for product in stage.products:
            yield f"{INDENT}multiplies {_operand(product.a)} by {_operand(product.b)} for %{product.value}"
    for partial in stage.partials:
        yield f"{INDENT}{partial.workspace}[{_axes(partial.axes)}] = {partial.op} so far, %{partial.value}"


def _operand(operand: ScaledOperand) -> str:
    """Digits and scales as they lie in memory, each with its format."""
    digits, scales = operand.digits, operand.scales
    if scales is None:
        return f"{digits.tensor}{show_access(digits.positions)} in {digits.format}"
    of = f"{scales.tensor}{show_access(scales.positions)} in {scales.format}{', signed' if scales.signed else ''}"
    return f"{digits.tensor}{show_access(digits.positions)} in {digits.format} with {of}"


def _maps(maps: TensorMaps, flow: Flow) -> Iterator[str]:
    """What TMA loads and stores; the matrices of one tensor map have an `and` between them."""
    for product in maps.products:
        dots = " and ".join(f"%{number}" for number in product.dots)
        halves = ", in halves" if maps.is_halved else ""
        yield f"TMA loads {_tiles(product.a)} by {_tiles(product.b)} for {dots}{halves}"
    for place, tiles in maps.stores:
        yield f"TMA stores {_tiles(tiles)}, %{flow.stores[place].value}"


def _tiles(tiles: TensorMap) -> str:
    return f"{' and '.join(matrix.tensor for matrix in tiles.matrices)}[{_axes(tiles.axes)}]"


def _places(stage: Stage, swapped: bool) -> Iterator[str]:
    """Where each axis goes, after their order in memory; a contraction has them in that of its tiles."""
    if not isinstance(stage, GemmStage):
        yield f"in memory {_axes(stage.order)}" if stage.order else "no axes"
    if stage.rows:
        yield f"{'lanes' if stage.lanes else 'programs'} {_axes(stage.rows)}"
    if isinstance(stage, GemmStage):
        yield f"tiles {stage.n} by {stage.m}" if swapped else f"tiles {stage.m} by {stage.n}"
    elif stage.block is not None:
        yield f"blocks {stage.block}"
    if stage.tile:
        yield f"registers {_axes(stage.tile)}"
    if stage.loop:
        yield f"loop {_axes(stage.loop)}{', split' if stage.is_split else ''}"


def _axes(axes: tuple[Axis, ...]) -> str:
    return ", ".join(map(str, axes))
