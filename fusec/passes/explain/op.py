"""How an op becomes kernels: its plans, what each moves and holds, and where every reduction and dot went and why."""

from __future__ import annotations

from dataclasses import dataclass

from fusec.ir.graph import Graph
from fusec.ir.partition import FUSED, LIBRARY, Partition
from fusec.ir.program import Program
from fusec.ir.schedule import GemmStage, Schedule
from fusec.ir.show_module import show_module
from fusec.ir.types import product_text
from fusec.passes.explain.justify import Contraction, Placement, Reduction, contractions, justify, placements
from fusec.passes.explain.plans import PlanRecord, plan_records
from fusec.passes.explain.quantised import Quantisation, quantisations
from fusec.passes.graph.add_up import shared_sums
from fusec.passes.graph.marks import marked
from fusec.passes.pipeline import compile_graph
from fusec.passes.runner import StepReport
from fusec.passes.schedule.registers import residency, widest
from fusec.passes.schedule.traffic import crossings

ELEMENTS = 16
"""Elements of a tile that a thread has, for an estimate of its registers: plans give it 8 to 32."""


@dataclass(frozen=True, slots=True)
class Registers:
    """The registers of a thread: a formula of the tile's sizes, and their number at `ELEMENTS` elements a thread."""

    formula: str
    count: int


@dataclass(frozen=True, slots=True)
class PlanExplanation:
    """A plan, where it puts the reductions, and by stage the registers that a thread is expected to hold."""

    plan: PlanRecord
    reductions: tuple[Placement, ...]
    registers: dict[str, Registers]


@dataclass(frozen=True, slots=True)
class ChainExplanation:
    """A plan of several steps, in words, with its products in the `library` or not, for calls without some tensors."""

    omitted: tuple[str, ...]
    library: bool
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preparation:
    """The tensors that chains read and that are computed once from the `weights`, each with its type and axes."""

    weights: tuple[str, ...]
    tensors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LastWrite:
    """A tensor that is written when everything else is done, why, and what its new values are `kept` in till then."""

    tensor: str
    reason: str
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The reductions and dots of an op, with the rules applied to and refused for each, its plans and modules.

    Also where plans quantise, and why there.
    """

    op: str
    reductions: tuple[Reduction, ...]
    dots: tuple[Contraction, ...]
    quantised: tuple[Quantisation, ...]
    plans: tuple[PlanExplanation, ...]
    chains: tuple[ChainExplanation, ...]
    prepared: Preparation | None
    last: tuple[LastWrite, ...]
    modules: tuple[tuple[str, ...], ...]


def explain(graph: Graph, written: Program) -> Explanation:
    """The explanation of an op that compiles, and is `written` to a file, where its kernels have their last names."""
    steps: list[StepReport] = []
    program = compile_graph(marked(graph), steps.append, kernels=False)
    made = {step.name: step.result for step in steps}
    plans = (_plan(plan, record) for plan, record in zip(program.plans, plan_records(written), strict=True))
    (whole,) = (each for each in made["resolve_views"] if each.name == FUSED)
    flow = whole.steps[0].flow
    assert flow is not None
    reductions = justify(graph, made["simplify"], flow)
    chains = tuple(map(_chain, program.cut))
    dots = contractions(graph, made["commute"])
    modules = tuple(tuple(show_module(module)) for module in graph.modules)
    return Explanation(
        graph.name,
        reductions,
        dots,
        quantisations(graph, written),
        tuple(plans),
        chains,
        _prepared(program.once),
        _last(program),
        modules,
    )


def _prepared(once: Graph | None) -> Preparation | None:
    if once is None:
        return None
    made = (f"{one.name}: {one.element}[{', '.join(map(product_text, one.dims))}]" for one in once.outputs)
    return Preparation(tuple(tensor.name for tensor in once.tensors), tuple(made))


def _last(program: Program) -> tuple[LastWrite, ...]:
    sums = shared_sums(program.spelled)
    made = {one.name: f"{one.name}: {one.element}[{', '.join(map(product_text, one.dims))}]" for one in program.waiting}
    found: list[LastWrite] = []
    for group in program.last_groups:
        read = {name for plan in group.all_plans() for name in crossings(plan)}
        kept = tuple(text for name, text in made.items() if name in read)
        for name in group.outputs:
            several = "several values may be added to it at one place, which the first writer of the place adds up"
            found.append(LastWrite(name, several if name in sums else "it is read elsewhere than it is written", kept))
    return tuple(found)


def _chain(partition: Partition) -> ChainExplanation:
    steps = (
        f"{plan.out.tensor} = {plan.a.tensor} by {plan.b.tensor}, in the library"
        if (plan := group.library) is not None
        else f"{' and '.join(group.outputs)}, in kernels"
        for group in partition.groups
    )
    return ChainExplanation(partition.omits, partition.name == LIBRARY, tuple(steps))


def _plan(plan: Schedule, record: PlanRecord) -> PlanExplanation:
    # What a product holds are the tiles that its launcher chooses; the resource gate says what they take.
    rows = (stage for stage in plan.stages if not isinstance(stage, GemmStage))
    held = {stage.kernel: residency(stage, widest) for stage in rows}
    registers = {name: Registers(str(found), found.registers(ELEMENTS)) for name, found in held.items()}
    return PlanExplanation(record, placements(plan), registers)
