"""The steps from a graph to kernels, in order, and the runner that checks, times and shows each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sympy

from fusec.diagnostics import InternalError, SpecError
from fusec.ir.expressions import Dot
from fusec.ir.graph import Graph, reachable
from fusec.ir.kernel import Kernel
from fusec.ir.partition import Chain, Intermediate, LibraryProduct, Split
from fusec.ir.program import BuiltChain, BuiltGroup, BuiltPlan, HostTable, Program
from fusec.ir.rename import renamed
from fusec.ir.reserved import avoid_reserved
from fusec.ir.schedule import Group, Plan, Shape, Stage
from fusec.ir.types import Axis
from fusec.ir.verify import verify_graph
from fusec.ir.verify_host import verify_host
from fusec.ir.verify_kernel import verify_kernel
from fusec.ir.verify_schedule import verify_contraction, verify_groups
from fusec.passes.graph.add_up import add_up, shared_sums
from fusec.passes.graph.commute import commute
from fusec.passes.graph.defer import defer
from fusec.passes.graph.omit import omit
from fusec.passes.graph.reciprocate import reciprocate
from fusec.passes.graph.resolve_views import resolve_views
from fusec.passes.graph.simplify import simplify
from fusec.passes.host.table import host_table
from fusec.passes.kernel.build import build_kernel
from fusec.passes.kernel.target import Target
from fusec.passes.partition.intermediates import multiplies_stored
from fusec.passes.partition.postpone import Postponed, postpone
from fusec.passes.partition.prepare import prepare
from fusec.passes.partition.store_operands import store_operands
from fusec.passes.partition.unfuse import unfuse
from fusec.passes.schedule.gemv import expand_dots
from fusec.passes.schedule.late_reads import late_reads
from fusec.passes.schedule.long_rows import matrix_axes
from fusec.passes.schedule.place import place, place_dots


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step made of its input, and how long it took in seconds."""

    name: str
    result: Any
    seconds: float


GRAPH_STEPS: tuple[Callable[[Graph], Graph], ...] = (simplify, commute, defer, reciprocate)
"""The rewrites of a graph. Each keeps what `reference.evaluate` computes, which the tests hold it to."""

_UNDEFERRED = (simplify, commute, reciprocate)
"""Those of an op whose products are steps of their own: their operands are stored anyway, so nothing is deferred."""


def compile_graph(graph: Graph, watch: Callable[[StepReport], None] | None = None) -> Program:
    """All kernels of an op. `watch` is told of every step; a fault becomes an `InternalError` that names the step.

    Which writes in place have to wait for a last step is seen from the plans; then there are other plans.
    """
    steps: list[StepReport] = []
    run = _Runner(steps.append)
    summed = run.checked("add_up", add_up, graph)
    waiting = shared_sums(summed)
    while True:
        steps.clear()
        program = _compiled(run, graph, summed, waiting)
        late = _late(program)
        if not late:
            break
        waiting |= late
    table = _Runner(steps.append)("host_table", _table, program)
    if watch:
        for step in steps:
            watch(step)
    return replace(program, table=table)


def _table(program: Program) -> HostTable:
    table = host_table(program)
    verify_host(program, table)
    return table


def _compiled(run: _Runner, graph: Graph, summed: Graph, waiting: frozenset[str]) -> Program:
    """The kernels of an op, `summed` where no sum in place is to be made by several, with some writes `waiting`."""
    postponed = run("postpone", lambda given: postpone(given, waiting), summed) if waiting else Postponed(summed)
    first = postponed.first
    lowered = first
    for step in GRAPH_STEPS:
        lowered = run(step.__name__, step, lowered)
    names = avoid_reserved(first)
    spelled = renamed(first, names)
    known = fixed_extents(spelled)
    flow = run("resolve_views", resolve_views, renamed(lowered, names))
    # Kernels of an op that may have f64 compute in f64, which the matrix unit does not.
    wide = first.may_be_wide
    # An op with f64 has no products in tiles, and its rows are split as any others.
    matrices = frozenset[Axis]() if wide else matrix_axes(spelled)
    groups = run("place", lambda flow: place(expand_dots(flow) if wide else flow, known, matrices=matrices), flow)
    dots = any(isinstance(first.nodes[n].expr, Dot) for n in reachable(first.nodes, first.roots))
    apart = _apart(run, first, lowered) if dots else lowered
    split = run("prepare", prepare, renamed(apart, names)) if dots else None
    libraries, boxed = _chains(run, split, groups, known, wide) if split else ((), None)
    if boxed:
        # A few rows are multiplied faster where nothing else is computed in the same loop.
        groups = tuple(map(_without_few, groups))
    built = run("build_kernels", lambda groups: _build(groups, Target(spelled, known)), groups)
    straight = [library for library in libraries if library.ends_in_library]
    others = [library for library in libraries if not library.ends_in_library]
    chains = (*straight, *([boxed] if boxed else []), *others)
    both = bool(chains) and apart is not lowered
    once = split.once if split and chains else None
    program = Program(graph, (), spelled, built, tuple(known.items()), chains, once)
    if first is not graph:
        # What the plans compute, with all writes in place.
        lowered, apart = (_rewritten(run, graph, steps) for steps in (GRAPH_STEPS, _UNDEFERRED))
    program = replace(program, forms=(lowered, apart) if both else (lowered,))
    return _with_last(run, program, postponed, names, known) if postponed.last else program


def _with_last(
    run: _Runner, program: Program, postponed: Postponed, names: Mapping[str, str], known: dict[str, int]
) -> Program:
    """The program with a last step, which writes in place what the others have kept."""
    assert postponed.last is not None
    last = renamed(run.checked("simplify", simplify, postponed.last), names)
    flow = run.checked("resolve_views", resolve_views, last)
    groups = run("place_last", lambda flow: place(flow, known, "__write"), flow)
    made = {names.get(held.name, held.name) for held in postponed.held}
    waiting = (output for output in program.spelled.outputs if output.name in made)
    return replace(
        program,
        spelled=renamed(program.graph, names),
        computed=program.spelled,
        waiting=tuple(Intermediate(output.name, output.element, output.dims) for output in waiting),
        last=run("build_last", lambda groups: _build(groups, Target(last, known)), groups),
    )


def _late(program: Program) -> frozenset[str]:
    """The tensors that a plan of the program might read after they were written."""
    ways = [program.groups, *(chain.groups for chain in program.chains)]
    sequences = [tuple(group.placed for group in way) for way in ways]
    found = late_reads(program.multiplying, sequences, dict(program.known))
    params = zip(program.graph.params, program.multiplying.params, strict=True)
    return frozenset(param.name for param, spelled in params if spelled.name in found)


def _apart(run: _Runner, graph: Graph, lowered: Graph) -> Graph:
    """The form of an op whose products are steps of their own.

    Their operands are stored anyway, so nothing is to be deferred there, unless only what stays has a type to store.
    """
    apart = _rewritten(run, graph, _UNDEFERRED)
    return lowered if multiplies_stored(lowered) and not multiplies_stored(apart) else apart


def _chains(
    run: _Runner, split: Split, groups: tuple[Group, ...], known: dict[str, int], wide: bool
) -> tuple[tuple[BuiltChain, ...], BuiltChain | None]:
    """The plans with every product in the library, and the one with contractions of what is stored.

    There is none of the latter for an op that is `wide`, whose kernels have no tiles in the matrix unit.
    """
    general = run("unfuse", unfuse, split.each)
    libraries = _libraries(split.each, general, known) if general else ()
    held = None if wide else run("store_operands", store_operands, split.each)
    vectors = not any(plan.few for group in groups for plan in group.plans)
    if held is None:
        return libraries, None
    # What reads a prepared tensor is another kernel than what computes it in every call.
    only = "__ready" if split.once else ""
    return libraries, run("place_dots", lambda held: _boxed(held, libraries, known, vectors, only), held)


def _without_few(group: Group) -> Group:
    """The group without the plans whose tiles have a few rows as columns."""
    plans = tuple(plan for plan in group.plans if plan.shape not in (Shape.SWAPPED, Shape.DEALT))
    alone = _without_few(group.alone) if group.alone else None
    return replace(group, plans=plans, apart=tuple(map(_without_few, group.apart)), alone=alone)


def _boxed(
    held: Chain, libraries: tuple[BuiltChain, ...], known: dict[str, int], vectors: bool, only: str
) -> BuiltChain | None:
    """The plan whose contractions take their operands in boxes; None where one of them cannot.

    With `vectors` it has a plan for these as well. The names of kernels of an `only` step end in that.
    """
    steps: list[BuiltGroup | LibraryProduct] = []
    written = {name: kernel for library in libraries for name, kernel in _kernels(library).items()}
    contracts = [isinstance(s, Graph) and any(isinstance(node.expr, Dot) for node in s.nodes) for s in held.steps]
    matrices = frozenset[Axis]().union(*(matrix_axes(step) for step in held.steps if isinstance(step, Graph)))
    for place_of, step in enumerate(held.steps):
        assert isinstance(step, Graph)
        target, flow = Target(step, known, chained=True), resolve_views(step)
        label = "__before" if not place_of and not contracts[0] else f"__step{place_of}" if len(contracts) > 1 else only
        if contracts[place_of]:
            group = place_dots(flow, known, label, vectors)
            if isinstance(group, str):
                return None
            verify_contraction(group)
            steps.append(_build_group(group, target))
            continue
        built = _build(place(flow, known, label, matrices=matrices), target)
        own = {kernel.name: kernel for group in built for plan in group.all_plans() for kernel in plan.kernels}
        if any(written.get(name, kernel) != kernel for name, kernel in own.items()):
            built = _build(place(flow, known, f"__step{place_of}", matrices=matrices), target)
        steps += built
    return BuiltChain((), held.held, tuple(steps))


def _libraries(graph: Graph, general: Chain, known: dict[str, int]) -> tuple[BuiltChain, ...]:
    """The plans with every product in the library: one for all calls, and before it one for calls that need less."""
    matrices = matrix_axes(graph)
    found = _library(general, known, matrices)

    def shorter(omitted: set[str]) -> Chain | None:
        # Not checked: a value that omitted tensors gave an axis has it still.
        special = unfuse(simplify(omit(graph, frozenset(omitted))))
        return special if special and len(special.steps) < len(general.steps) else None

    omitted = {tensor.name for tensor in graph.tensors if tensor.optional}
    for name in sorted(omitted):
        if shorter(omitted - {name}):
            omitted.remove(name)
    special = shorter(omitted)
    if special is None or not set(special.held) <= set(general.held):
        return (found,)
    first = _library(special, known, matrices, tuple(sorted(omitted)))
    # Kernels of one name are written once.
    return (first, found) if _kernels(first).items() <= _kernels(found).items() else (found,)


def _kernels(library: BuiltChain) -> dict[str, Kernel]:
    return {kernel.name: kernel for kernel in library.kernels}


def _library(
    unfused: Chain, known: dict[str, int], matrices: frozenset[Axis], omitted: tuple[str, ...] = ()
) -> BuiltChain:
    steps: list[BuiltGroup | LibraryProduct] = []
    for place_of, step in enumerate(unfused.steps):
        if isinstance(step, LibraryProduct):
            steps.append(step)
        else:
            target, label = Target(step, known, chained=True), _label(unfused.steps, place_of)
            fresh = frozenset(held.name for held in unfused.held)
            steps += _build(place(resolve_views(step), known, label, fresh, matrices), target)
    return BuiltChain(omitted, unfused.held, tuple(steps))


def _label(steps: tuple[Graph | LibraryProduct, ...], place_of: int) -> str:
    """What the names of a step's kernels end in. A kernel of another plan ends in its outputs, or in nothing."""
    products = [other for other, step in enumerate(steps) if isinstance(step, LibraryProduct)]
    if place_of < products[0]:
        return "__before"
    return "__after" if place_of > products[-1] else f"__between{place_of}"


def fixed_extents(graph: Graph) -> dict[str, int]:
    """The extents that constraints such as `L == 128` fix."""
    fixed: dict[str, int] = {}
    for constraint in graph.constraints:
        sides = (constraint.left, constraint.right)
        for one, other in (sides, sides[::-1]):
            if constraint.relation == "==" and isinstance(one, sympy.Symbol) and isinstance(other, sympy.Integer):
                fixed[str(one.name)] = int(other)
    return fixed


class _Runner:
    def __init__(self, watch: Callable[[StepReport], None]) -> None:
        self._watch = watch

    def __call__(self, name: str, step: Callable[[Any], Any], given: Any) -> Any:
        """What a step makes, which `watch` is told of."""
        start = time.perf_counter()
        result = self.checked(name, step, given)
        self._watch(StepReport(name, result, time.perf_counter() - start))
        return result

    def checked(self, name: str, step: Callable[[Any], Any], given: Any) -> Any:
        """What a step makes, whose graphs are well formed: else an error names the step and the rule that it broke."""
        try:
            result = step(given)
        except (SpecError, InternalError):
            raise
        except Exception as fault:
            raise InternalError(name, f"{type(fault).__name__}: {fault}", repr(given)) from fault
        for graph in _graphs_in(result):
            verify_graph(graph, name)
        return result


def _graphs_in(result: object) -> tuple[Graph, ...]:
    """The graphs that a step made; it may have divided one."""
    match result:
        case Graph():
            return (result,)
        case Split(once, each):
            return (each,) if once is None else (once, each)
        case Postponed(first, _, last):
            return (first,) if last is None else (first, last)
        case Chain(steps=steps):
            return tuple(step for step in steps if isinstance(step, Graph))
        case _:
            return ()


def _rewritten(run: _Runner, graph: Graph, steps: tuple[Callable[[Graph], Graph], ...]) -> Graph:
    """What some rewrites make of a graph, one after the other."""
    for step in steps:
        graph = run.checked(step.__name__, step, graph)
    return graph


def _build(groups: tuple[Group, ...], target: Target) -> tuple[BuiltGroup, ...]:
    verify_groups(groups, target.known)
    return tuple(_build_group(group, target) for group in groups)


def _build_group(group: Group, target: Target) -> BuiltGroup:
    plans = tuple(
        BuiltPlan(plan, tuple(_kernel(stage, _within(target, plan), plan.words) for stage in plan.stages))
        for plan in group.plans
    )
    alone = _build_group(group.alone, target) if group.alone else None
    apart = tuple(_build_group(inner, target) for inner in group.apart)
    return BuiltGroup(group.outputs, plans, apart, group.absent, alone)


def _within(target: Target, plan: Plan) -> Target:
    """What the kernels of a plan are built for."""
    return replace(target, chained=target.chained or plan.shape in (Shape.DEALT, Shape.COLUMNS))


def _kernel(stage: Stage, target: Target, words: str) -> Kernel:
    return verify_kernel(build_kernel(stage, target, f"_{target.graph.name}_{stage.name}", words))
