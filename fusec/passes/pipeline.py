"""The passes from a graph to kernels, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from fusec.ir.fixed_extents import fixed_extents
from fusec.ir.graph import Graph
from fusec.ir.partition import FUSED, LAST, LIBRARY, STORED, VECTOR, Intermediate, Partition, Step
from fusec.ir.program import HostTable, Program
from fusec.ir.rename import renamed
from fusec.ir.reserved import avoid_reserved
from fusec.ir.verify_host import verify_host
from fusec.ir.verify_partition import verify_schedules
from fusec.passes.graph.add_up import add_up, shared_sums
from fusec.passes.graph.commute import commute
from fusec.passes.graph.defer import defer
from fusec.passes.graph.reciprocate import reciprocate
from fusec.passes.graph.regroup import regroup
from fusec.passes.graph.resolve_views import resolve_views
from fusec.passes.graph.round_weights import round_weights, rounded_within
from fusec.passes.graph.simplify import simplify
from fusec.passes.host.table import host_table
from fusec.passes.kernel.kernels import build_kernels
from fusec.passes.partition.alternatives import partition
from fusec.passes.partition.from_values import from_values
from fusec.passes.partition.operands import multiplies_stored
from fusec.passes.partition.postpone import Postponed, postpone
from fusec.passes.partition.prepare import prepare
from fusec.passes.partition.scales import as_the_library_scales
from fusec.passes.runner import Runner, StepReport
from fusec.passes.schedule.known import Known
from fusec.passes.schedule.late_reads import late_reads
from fusec.passes.schedule.long_rows import matrix_axes
from fusec.passes.schedule.steps import schedule

GRAPH_STEPS: tuple[Callable[[Graph], Graph], ...] = (simplify, commute, regroup, defer, reciprocate)
"""The rewrites of a graph. Each keeps what `reference.evaluate` computes, which the tests hold it to."""

_UNDEFERRED = (simplify, commute, regroup, reciprocate)
"""Those of an op whose dots are steps of their own: their operands are stored anyway, so nothing is deferred."""


def compile_graph(graph: Graph, watch: Callable[[StepReport], None] | None = None, *, kernels: bool = True) -> Program:
    """All kernels of an op. `watch` is told of every step; a fault becomes an `InternalError` that names the step.

    Without `kernels` it ends with the schedules. Which writes in place have to wait for a last step is seen from these;
    then there are others.
    """
    steps: list[StepReport] = []
    run = Runner(steps.append)
    passed, graph = graph, run.checked("round_weights", round_weights, graph)
    summed = run.checked("add_up", add_up, graph)
    waiting = shared_sums(summed)
    while True:
        steps.clear()
        program = _compiled(run, graph, summed, waiting, kernels)
        late = _late(program)
        if not late:
            break
        waiting |= late
    table = run("host_table", _table, program) if kernels else None
    forms = tuple(run.checked("round_weights", rounded_within, form) for form in program.forms)
    if watch:
        for step in steps:
            watch(step)
    return replace(program, graph=passed, forms=forms, table=table)


def _compiled(run: Runner, graph: Graph, summed: Graph, waiting: frozenset[str], kernels: bool) -> Program:
    """The kernels of an op, `summed` where no sum in place is to be made by several, with some writes `waiting`."""
    postponed = run("postpone", lambda given: postpone(given, waiting), summed) if waiting else Postponed(summed)
    first = postponed.first
    fused = undeferred = _rewritten(run, first, GRAPH_STEPS)
    names = avoid_reserved(first)
    spelled, split = renamed(first, names), None
    partitions: tuple[Partition, ...] = (Partition(FUSED, (Step(renamed(fused, names)),)),)
    if first.dots:
        undeferred = _undeferred(run, first, fused)
        split = run("prepare", prepare, renamed(undeferred, names))
        partitions = (*run("partition", partition, split.each), *partitions)
    if postponed.last:
        last = run.checked("simplify", simplify, postponed.last)
        partitions = (*partitions, Partition(LAST, (Step(renamed(last, names)),)))
    known = _known(spelled)
    partitions = run("resolve_views", lambda given: tuple(map(_resolved, given)), partitions)
    partitions = run("schedule", lambda given: _scheduled(given, known), partitions)
    built = run("build_kernels", lambda given: build_kernels(given, known.extents), partitions) if kernels else {}
    used = {partition.name for partition in partitions}
    is_whole, is_cut = bool(used & {FUSED, VECTOR}), bool(used & {STORED, LIBRARY})
    is_same = undeferred is fused
    if first is not graph:
        # What the plans compute, with all writes in place.
        fused, undeferred = (_rewritten(run.checked, graph, steps) for steps in (GRAPH_STEPS, _UNDEFERRED))
    forms = ((fused,) if is_whole else ()) + ((undeferred,) if is_cut and not (is_whole and is_same) else ())
    if LIBRARY in used:
        forms += tuple(scaled for scaled in as_the_library_scales(undeferred) if scaled not in forms)
    prepared = split if is_cut else None
    return Program(
        graph,
        forms=forms,
        spelled=renamed(graph, names) if postponed.last else spelled,
        partitions=tuple(partition for partition in partitions if partition.name != LAST),
        known=tuple(known.extents.items()),
        once=prepared.once if prepared else None,
        from_values=from_values(prepared, graph, names) if prepared and STORED in used and not postponed.last else None,
        computed=spelled if postponed.last else None,
        waiting=_waiting(postponed, spelled, names),
        last=next((partition.steps[0] for partition in partitions if partition.name == LAST), None),
        built=built,
    )


def _resolved(partition: Partition) -> Partition:
    steps = (replace(step, flow=resolve_views(step.graph)) for step in partition.steps)
    return replace(partition, steps=tuple(steps))


def _scheduled(partitions: tuple[Partition, ...], known: Known) -> tuple[Partition, ...]:
    made = schedule(partitions, known)
    for each in made:
        verify_schedules(each, known.extents)
    return made


def _table(program: Program) -> HostTable:
    table = host_table(program)
    verify_host(program, table)
    return table


def _known(graph: Graph) -> Known:
    """What schedules are told. Rows of an op with f64, which has no products in tiles, are split as any others."""
    wide = graph.may_be_wide
    return Known(fixed_extents(graph), frozenset() if wide else matrix_axes(graph), wide)


def _undeferred(run: Runner, graph: Graph, fused: Graph) -> Graph:
    """The form of an op whose dots are steps of their own.

    Their operands are stored anyway, so nothing is to be deferred there, unless only what stays has a type to store.
    """
    found = _rewritten(run.checked, graph, _UNDEFERRED)
    return fused if multiplies_stored(fused) and not multiplies_stored(found) else found


def _rewritten(run: Callable[..., Graph], graph: Graph, steps: tuple[Callable[[Graph], Graph], ...]) -> Graph:
    """What some rewrites make of a graph, one after the other; `run` tells of them or not."""
    for step in steps:
        graph = run(step.__name__, step, graph)
    return graph


def _waiting(postponed: Postponed, spelled: Graph, names: Mapping[str, str]) -> tuple[Intermediate, ...]:
    """What is stored until the last step, which is an output of all others."""
    held = {names.get(tensor.name, tensor.name) for tensor in postponed.held}
    outputs = (output for output in spelled.outputs if output.name in held)
    return tuple(Intermediate(output.name, output.element, output.dims) for output in outputs)


def _late(program: Program) -> frozenset[str]:
    """The tensors that a schedule of the program might read after they were written."""
    sequences = [partition.groups for partition in program.partitions]
    found = late_reads(program.multiplying, sequences, dict(program.known))
    params = zip(program.graph.params, program.multiplying.params, strict=True)
    return frozenset(param.name for param, spelled in params if spelled.name in found)
