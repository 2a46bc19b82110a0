"""`fusec explain`: how an op becomes kernels, and every representation on the way when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from fusec.codegen.host_table import table_lines
from fusec.commands.find import OpArgument, SpecsOption, find_op
from fusec.commands.outcome import DebugOption, JsonOption, UsageError, describe, print_json, reporting, tell_warnings
from fusec.driver.compile import plan_records
from fusec.driver.record import PlanRecord
from fusec.ir.flow import Flow
from fusec.ir.graph import Graph
from fusec.ir.partition import Chain, LibraryProduct, Split
from fusec.ir.program import BuiltChain, BuiltGroup, BuiltPlan, HostTable, Program
from fusec.ir.schedule import Group
from fusec.ir.show import show_graph
from fusec.ir.show_flow import show_flow
from fusec.ir.show_kernel import show_kernel
from fusec.ir.show_module import show_module
from fusec.ir.show_partition import show_chain
from fusec.ir.show_schedule import show_group
from fusec.ir.sizes import size_text
from fusec.ir.types import product_text
from fusec.passes.explain.justify import Contraction, Placement, Reduction, Rule, contractions, justify, placements
from fusec.passes.graph.add_up import shared_sums
from fusec.passes.graph.marks import marked
from fusec.passes.partition.postpone import Postponed
from fusec.passes.pipeline import StepReport, compile_graph
from fusec.passes.schedule.registers import residency, widest
from fusec.passes.schedule.traffic import crossings
from fusec.passes.warnings import warnings_of

ELEMENTS = 16
"""Elements of a tile that a thread has, for an estimate of its registers: plans give it 8 to 32."""

EPILOG = """[bold]Examples[/bold]

fusec explain rmsnorm_quantize

fusec explain rmsnorm_quantize --ir commute

fusec explain rmsnorm_quantize --ir all

[bold]Exit codes[/bold]

0 explained · 1 the spec is wrong · 2 wrong usage, or no such op · 4 a fault of fusec"""


def run(
    op: OpArgument,
    specs: SpecsOption = Path("specs"),
    ir: Annotated[str | None, typer.Option(help="Show what this step made, or `all` steps.")] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Explain the plans of an op: its kernels, what each moves, where every reduction went and why."""
    with reporting(as_json, debug):
        _, _, graph = find_op(op, specs)
        warnings = warnings_of([graph])
        steps = [StepReport("elaborate", graph, 0.0)]
        compile_graph(graph, steps.append)
        shown, explained = chosen(steps, ir), explain(graph)
        if as_json:
            plain = {**asdict(explained), "ir": {step.name: show(step.result) for step in shown}}
            print_json({**plain, "warnings": list(map(describe, warnings))})
            return
        tell_warnings(warnings)
        if ir:
            for step in shown:
                print(f"--- {step.name} ({step.seconds * 1e3:.1f} ms)\n{show(step.result)}\n")
        else:
            print("\n".join([title(graph), *lines(explained)]))


def chosen(steps: Sequence[StepReport], ir: str | None) -> list[StepReport]:
    """The steps that `--ir` asks for. Raises `UsageError` for a step that there is not."""
    if ir is None:
        return []
    found = [step for step in steps if ir in (step.name, "all")]
    if not found:
        raise UsageError(f"no step {ir}; there are {', '.join(step.name for step in steps)} and all")
    return found


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
    """The reductions and dots of an op, with the rules applied to and refused for each, its plans and modules."""

    op: str
    reductions: tuple[Reduction, ...]
    dots: tuple[Contraction, ...]
    plans: tuple[PlanExplanation, ...]
    chains: tuple[ChainExplanation, ...]
    prepared: Preparation | None
    last: tuple[LastWrite, ...]
    modules: tuple[tuple[str, ...], ...]


def explain(graph: Graph) -> Explanation:
    """The explanation of an op that compiles."""
    steps: list[StepReport] = []
    program = compile_graph(marked(graph), steps.append)
    made = {step.name: step.result for step in steps}
    built = program.plans
    plans = (_plan(plan, record) for plan, record in zip(built, plan_records(program), strict=True))
    reductions = justify(graph, made["simplify"], made["resolve_views"])
    chains = tuple(map(_chain, program.chains))
    dots = contractions(graph, made["commute"])
    modules = tuple(tuple(show_module(module)) for module in graph.modules)
    return Explanation(
        graph.name, reductions, dots, tuple(plans), chains, _prepared(program.once), _last(program), modules
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
    for group in program.last:
        read = {name for plan in group.all_plans() for name in crossings(plan.plan)}
        kept = tuple(text for name, text in made.items() if name in read)
        for name in group.outputs:
            several = "several values may be added to it at one place, which the first writer of the place adds up"
            found.append(LastWrite(name, several if name in sums else "it is read elsewhere than it is written", kept))
    return tuple(found)


def _chain(chain: BuiltChain) -> ChainExplanation:
    steps = (
        f"{step.out.tensor} = {step.a.tensor} by {step.b.tensor}, in the library"
        if isinstance(step, LibraryProduct)
        else f"{' and '.join(step.outputs)}, in kernels"
        for step in chain.steps
    )
    return ChainExplanation(chain.omitted, bool(chain.products), tuple(steps))


def _plan(built: BuiltPlan, record: PlanRecord) -> PlanExplanation:
    # What a product holds are the tiles that its launcher chooses; the resource gate says what they take.
    held = {stage.name: residency(stage, widest) for stage in built.plan.stages if stage.side is None}
    registers = {name: Registers(str(found), found.registers(ELEMENTS)) for name, found in held.items()}
    return PlanExplanation(record, placements(built.plan), registers)


def title(graph: Graph) -> str:
    """An op and the first line of its description."""
    return f"{graph.name}: {graph.doc.strip().splitlines()[0] if graph.doc.strip() else 'no description'}"


def lines(explained: Explanation) -> Iterator[str]:
    """An explanation in words."""
    for reduction in explained.reductions:
        yield from ("", f"reduction {reduction.number}: {reduction.words}", *_rules(reduction.rules))
    for dot in explained.dots:
        yield from ("", f"dot {dot.number}: {dot.words}")
        yield from ([f"    multiplies {dot.multiplied}"] if dot.multiplied else [])
        yield from _rules(dot.rules)
    for number, plan in enumerate(explained.plans, 1):
        yield from ("", f"plan {number}, {plan.plan.name}: {plan.plan.words}")
        yield from (f"    kernel     {kernel}" for kernel in plan.plan.kernels)
        above = f"{plan.plan.excess} above the least" if plan.plan.excess else "the least possible"
        yield f"    moves      {plan.plan.moved}: {above}"
        several = len(plan.registers) > 1
        for stage, held in plan.registers.items():
            about = f"about {held.count} with {ELEMENTS} elements of a tile to a thread: {held.formula}"
            yield f"    registers  {about}{f' ({stage})' if several else ''}"
        for placement in plan.reductions:
            yield f"    reduction {placement.reduction}  {placement.place}{f' ({placement.stage})' if several else ''}"
    if explained.prepared:
        yield from ("", f"computed once from {', '.join(explained.prepared.weights)}, for the products below:")
        yield from (f"    prepared   {tensor}" for tensor in explained.prepared.tensors)
    for write in explained.last:
        yield from ("", f"{write.tensor} is written last: {write.reason}")
        yield from (f"    kept       {tensor}" for tensor in write.kept)
    for chain in explained.chains:
        yield from _chain_lines(chain)
    for module in explained.modules:
        yield ""
        yield from (f"  {line}" if place else line for place, line in enumerate(module))


def _rules(rules: tuple[Rule, ...]) -> Iterator[str]:
    return (f"    {rule.name:<10} {'' if rule.applied else 'refused: '}{rule.reason}" for rule in rules)


def _chain_lines(chain: ChainExplanation) -> Iterator[str]:
    without = f", without {' and '.join(chain.omitted)}" if chain.omitted else ""
    place = "in the vendor's library" if chain.library else "of tiles in boxes"
    yield from ("", f"products {place}, where that is faster{without}:")
    yield from (f"    step       {step}" for step in chain.steps)


def show(
    result: Graph | Flow | Split | Postponed | Chain | BuiltChain | HostTable | tuple[Group | BuiltGroup, ...] | None,
) -> str:
    """What a step made, as text."""
    match result:
        case HostTable(table, computed):
            sizes = [f"{key} = {size_text(value)}" for key, value in computed]
            return "\n".join([*sizes, *table_lines("", table, {})])
        case Graph():
            return show_graph(result)
        case Split(once, each):
            return "\n".join([*(["once:", show_graph(once), "in every call:"] if once else []), show_graph(each)])
        case Postponed(first, _, last):
            return "\n".join([show_graph(first), *(["last:", show_graph(last)] if last else [])])
        case Flow():
            return show_flow(result)
        case Chain() | None:
            return show_chain(result)
        case BuiltChain():
            groups = [group.placed for group in result.contracting]
            shown = [f"{show_flow(group.plans[0].stages[0].flow)}\n{show_group(group)}" for group in groups]
            return "\n\n".join([*shown, *(show_kernel(kernel) for plan in result.boxed for kernel in plan.kernels)])
    plans = [plan for group in result if isinstance(group, BuiltGroup) for plan in group.all_plans()]
    kernels = {kernel.name: kernel for plan in plans for kernel in plan.kernels}
    return "\n\n".join(
        [show_group(group) for group in result if isinstance(group, Group)] + [*map(show_kernel, kernels.values())]
    )
