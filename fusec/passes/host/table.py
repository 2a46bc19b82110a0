"""Host table: the plans of an op as the data that its calls are planned by.

Before: a program, every plan with its kernels. After: `Plans` (`ir/host/`), and what of extents is computed for it.
Decides what the rules for tiles and launches have to know of each plan; no rule is evaluated here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fusec.ir.arguments import extent_names, has_lead, scalar_names, settings
from fusec.ir.expressions import Affine, Index, Input, Load, Position, Size
from fusec.ir.flow import LEAD_AXES
from fusec.ir.graph import Graph, Output, TensorParam
from fusec.ir.host.dtypes import TORCH_NAMES
from fusec.ir.host.names import Name
from fusec.ir.host.plans import Library, Partition, Plans, Step, Tuned, Workspace
from fusec.ir.host.schedules import Matrix as View
from fusec.ir.layout import sum_strides
from fusec.ir.multiply import Sums
from fusec.ir.partition import Intermediate
from fusec.ir.partition import Partition as Cut
from fusec.ir.program import HostTable, Program
from fusec.ir.repeat import repeated
from fusec.ir.schedule import GemmTile, Group
from fusec.ir.schedule import Library as Product
from fusec.ir.stage import Stage
from fusec.ir.tensor_map import Matrix
from fusec.ir.types import Axis, DTypeVar, Storage, product_extent
from fusec.passes.host.keys import Keys
from fusec.passes.host.schedules import Scheduler
from fusec.passes.host.tuned import choosing, chosen_outputs

SIZES, PREPARE = "sizes", "prepare"
"""Stand for what the generated file calls the function of sizes, and the object that prepares weights."""


def host_table(program: Program) -> HostTable:
    """The table of an op."""
    graph, kept = program.spelled, program.kept
    named: tuple[TensorParam | Output | Intermediate, ...] = (*graph.tensors, *graph.outputs, *kept)
    keys = Keys({tensor.name: tensor.dims for tensor in named})
    scheduler = Scheduler(keys, _bytes(program), program)
    sized = {*(output.name for output in graph.outputs), *(each.name for each in kept), *repeated(graph)}
    stages = [stage for plan in program.plans for stage in plan.stages]
    walks = any(has_lead(tensor.dims) for tensor in graph.tensors)
    plans = Plans(
        extents=" ".join(extent_names(graph)),
        scalars=" ".join(scalar_names(graph)),
        settings=" ".join(settings(graph)),
        mutated=" ".join(tensor.name for tensor in graph.tensors if tensor.mutable),
        strides={tensor.name: keys.tensor(tensor.name, tensor.name in sized) for tensor in named},
        vec=" ".join(dict.fromkeys(_aligned(program, keys))),
        flat=keys.axes(() if kept else _flat_axes(stages)),
        repeats=" ".join(repeated(graph)),
        reduces_lead=walks and any(a in LEAD_AXES for stage in stages for a in (*stage.tile, *stage.loop)),
        workspace={each.name: Workspace(keys.shape(each.name), _dtype(each.element), each.innermost) for each in kept},
        partitions=tuple(_partition(partition, keys, scheduler) for partition in program.cut),
        steps=tuple(_step(group, keys, scheduler) for group in program.groups if program.whole not in program.cut),
        waiting=" ".join(each.name for each in program.waiting),
        last=tuple(_step(group, keys, scheduler) for group in program.last_groups),
        rounded=tuple(Name(kernel.name) for kernel in program.kernels if kernel.rounded),
        prepare=Name(PREPARE) if program.once else None,
        told=" ".join(program.once.untold) if program.once else "",
        cast={tensor.name: str(tensor.element) for tensor in graph.tensors if tensor.passed},
        tuned=_tuned(program, keys),
    )
    computed = tuple(keys.computed.items())
    return HostTable(replace(plans, sizes=Name(SIZES) if computed else None), computed)


def _aligned(program: Program, keys: Keys) -> Iterator[str]:
    """What divides where rows begin and end; rows of sums begin where those before them end."""
    tiles = {stage.whole: None for plan in program.plans for stage in plan.stages}
    sums = [partial for tile in tiles if isinstance(tile, GemmTile) for partial in tile.sums]
    ends = {stride.name: keys.axis(p.axes[-1]) for p in sums for stride in sum_strides(p.workspace, p.axes)}
    yield from (ends.get(name, name) for kernel in program.kernels for name in kernel.aligned)


def _bytes(program: Program) -> dict[str, str]:
    """What tells the bytes of an element of each tensor: its name, that of a dtype, or a number."""
    told = {tensor.name: "4" if tensor.optional else tensor.name for tensor in program.spelled.tensors}
    for kept in program.kept:
        element = kept.element
        told[kept.name] = element.name if isinstance(element, DTypeVar) else str(element.bits // 8)
    return told | {output.name: output.name for output in program.spelled.outputs}


def _dtype(element: Storage) -> str | Name:
    """A dtype: that of a type variable by its name, or one of torch."""
    return element.name if isinstance(element, DTypeVar) else Name(TORCH_NAMES[element.name])


def _partition(cut: Cut, keys: Keys, scheduler: Scheduler) -> Partition:
    steps = (_library(group.library, keys) if group.library else _step(group, keys, scheduler) for group in cut.groups)
    held = " ".join(tensor.name for tensor in cut.holds)
    return Partition(tuple(steps), " ".join(cut.omits), held, " ".join(_copies(cut)))


def _copies(cut: Cut) -> Iterator[str]:
    """The workspaces that hold an argument as it is, each computed by itself."""
    held = {tensor.name for tensor in cut.holds}
    for step in cut.steps:
        graph = step.graph
        for output in graph.outputs:
            expr = graph.nodes[output.value].expr
            if output.name not in held or not isinstance(expr, Input) or not _has(graph, expr.param):
                continue
            given = graph.tensor(expr.param)
            if given.element == output.element and not (given.optional or given.mutable or has_lead(given.dims)):
                yield f"{output.name}={given.name}"


def _has(graph: Graph, name: str) -> bool:
    return any(tensor.name == name for tensor in graph.tensors)


def _library(product: Product, keys: Keys) -> Library:
    seen = (
        (product.a, (*product.batch, *product.rows, *product.inner)),
        (product.b, (*product.batch, *product.columns, *product.inner)),
        (product.out, (*product.batch, *product.rows, *product.columns)),
    )
    a, b, out = (keys.matrix(matrix, axes) for matrix, axes in seen)

    def scale(matrix: Matrix | None, axes: tuple[Axis, ...]) -> str | View:
        return keys.matrix(matrix, axes) if matrix is not None else ""

    return Library(
        a,
        b,
        out,
        rows=keys.axes(product.rows),
        columns=keys.axes(product.columns),
        inner=keys.axes(product.inner),
        batch=keys.axes(product.batch),
        tf32=product.precision == "tf32",
        in_8_bits=_IN_8_BITS.get(product.sums, ""),
        row_scale=scale(product.scales[0], (*product.rows, *product.groups)),
        column_scale=scale(product.scales[1], (*product.columns, *product.groups)),
        groups=keys.axes(product.groups),
        addend=keys.matrix(product.addend, seen[2][1]) if product.addend is not None else "",
    )


_IN_8_BITS = {Sums.PARTS: "f8", Sums.FAST: "fast", Sums.WHOLE: "i8"}


def _step(group: Group, keys: Keys, scheduler: Scheduler) -> Step:
    return Step(
        " ".join(group.outputs),
        scheduler.schedules(tuple(plan for plan in group.plans if not isinstance(plan, Product))),
        apart=tuple(_step(inner, keys, scheduler) for inner in group.apart),
        absent=keys.axes(group.absent),
        alone=_step(group.alone, keys, scheduler) if group.alone else None,
    )


def _tuned(program: Program, keys: Keys) -> Tuned | None:
    about = choosing(program.spelled)
    if about is None:
        return None
    return Tuned(keys.axes(about.rows), " ".join(about.case), " ".join(sorted(chosen_outputs(program.multiplying))))


def _flat_axes(stages: list[Stage]) -> tuple[Axis, ...]:
    """The axes that are walked as one where every tensor is gapless: an op treats all of its elements alike."""
    orders = {stage.order for stage in stages}
    if len(orders) != 1 or any(stage.tile for stage in stages):
        return ()
    axes = orders.pop()
    named = all(str(axis).isidentifier() for axis in axes)
    return axes if len(axes) > 1 and named and all(_is_uniform(stage, axes) for stage in stages) else ()


def _is_uniform(stage: Stage, axes: tuple[Axis, ...]) -> bool:
    """Whether a stage treats all elements alike: every access is of all axes in memory order, or of none."""
    total = product_extent(axes)
    for node in stage.flow.nodes:
        match node.expr:
            case Index():
                return False
            case Size(value) if not (value.is_Integer or value == total):
                return False
            case Load(positions=positions, pair=pair):
                if pair is not None or not _is_whole(positions, axes):
                    return False
    stores = [store for store in stage.flow.stores if store.positions]
    return all(store.pair is None and _is_whole(store.positions, axes) for store in stores)


def _is_whole(positions: tuple[Position, ...], axes: tuple[Axis, ...]) -> bool:
    affine = [position for position in positions if isinstance(position, Affine)]
    walked = tuple(axis for position in affine for axis in position.axes)
    return len(affine) == len(positions) and walked == axes and all(position.offset == 0 for position in affine)
