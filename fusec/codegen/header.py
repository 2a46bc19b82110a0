"""The docstring of a generated file: its ops, the plans of each, and what a plan moves against the least possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from textwrap import dedent, fill

from fusec.codegen.signature import tensor_text
from fusec.ir.flow import axes_text
from fusec.ir.graph import Graph
from fusec.ir.partition import LibraryProduct
from fusec.ir.program import BuiltChain, BuiltGroup, BuiltPlan, Program
from fusec.ir.schedule import Plan, Shape
from fusec.passes.schedule.traffic import crossings, excess_traffic, least_traffic

WIDTH = 116
_AGAIN = "What registers do not hold is read again after each reduction that the result waits for."


def summary(programs: tuple[Program, ...]) -> str:
    """The docstring as text, its first line alone."""
    names = [f"`{program.graph.name}`" for program in programs]
    title = [f"The ops {', '.join(names[:-1])} and {names[-1]}."] if len(programs) > 1 else []
    return "\n\n".join([*title, *(part for program in programs for part in _op(program)), *_note(programs)])


def _op(program: Program) -> Iterator[str]:
    """What an op is for, and its plans: a paragraph each for plans that stand instead of one another."""
    yield dedent(program.graph.doc).strip() or f"{program.graph.name}, as its spec says."
    if program.once:
        yield _prepared(program.once)
    for chain in program.chains:
        yield "\n".join(_chain(chain, program.graph.name))
    other = "Other plans" if program.chains else "Plans"
    for group in program.groups:
        yield from _group(group, program.graph.name, f"{other} of `{program.graph.name}`")
    for group in program.last:
        yield from _group(
            group, program.graph.name, f"Written last, from what is kept until then: {' and '.join(group.outputs)}"
        )


def _note(programs: tuple[Program, ...]) -> Iterator[str]:
    plans = (plan for program in programs for plan in program.plans)
    if any(excess_traffic(plan.plan) for plan in plans):
        yield _AGAIN


def _prepared(once: Graph) -> str:
    """What is computed once, and the memory it takes."""
    weights = ", ".join(tensor.name for tensor in once.tensors)
    words = (
        f"Computed once from {weights} and kept as long as they live unchanged, where one of the next plans is taken:"
    )
    return "\n".join([fill(words, WIDTH), *(f"  prepared  {one.name}: {tensor_text(one)}" for one in once.outputs)])


def _chain(chain: BuiltChain, op: str) -> Iterator[str]:
    """The steps of a plan with products in the library, or with contractions of what is stored."""
    without = f", without {' and '.join(chain.omitted)}" if chain.omitted else ""
    what = "products in the vendor's library" if chain.products else "contractions of what is stored"
    yield f"With {what}{without}, one after another:"
    for step in chain.steps:
        if isinstance(step, LibraryProduct):
            yield f"  library   {step.a.tensor} by {step.b.tensor} to {step.out.tensor}"
        elif step in chain.contracting:
            yield f"  contract  {' and '.join(step.outputs)} from {_read(step)}, the first that fits:"
            yield from (f"  {line}" for line in _table(step.plans, op))
        else:
            yield f"  kernel    {' and '.join(step.outputs)} from {_read(step)}"


def _group(group: BuiltGroup, op: str, title: str) -> Iterator[str]:
    if group.plans:
        least = least_traffic(group.plans[0].plan)
        first = ", the first that fits," if len(group.plans) > 1 or group.apart else ""
        words = f"{title}{first} with what each launches and moves; the least is {least}:"
        yield "\n".join([fill(words, WIDTH), *_table(group.plans, op, not group.apart)])
    if group.apart:
        twice = _repeated(group)
        yield fill(f"Else each output apart{f', which moves {twice} once more' if twice else ''}.", WIDTH)
        for inner in group.apart:
            yield from _group(inner, op, f"Plans for {' and '.join(inner.outputs)}")
    if group.alone:
        empty = " or ".join(map(str, group.absent))
        yield from _group(group.alone, op, f"Plans for {' and '.join(group.alone.outputs)} where {empty} is empty")


def _read(group: BuiltGroup) -> str:
    """The tensors that a group reads."""
    return ", ".join(name for name in crossings(next(group.all_plans()).plan) if name not in group.outputs)


def _repeated(group: BuiltGroup) -> str:
    """The tensors that several of the groups apart move."""
    moved = Counter(name for inner in group.apart for name in crossings(inner.plans[0].plan))
    return " + ".join(name if times == 2 else f"{times - 1} {name}" for name, times in moved.items() if times > 1)


def _table(plans: tuple[BuiltPlan, ...], op: str, fallback: bool = True) -> list[str]:
    """A line for each plan: when it is taken, what it launches, and what it moves."""
    lines = []
    for plan in plans:
        excess = excess_traffic(plan.plan)
        taken = "else" if fallback and plan is plans[-1] and len(plans) > 1 else _taken(plan.plan)
        lines.append((plan.plan.name, taken, _launches(plan, op), f"the least + {excess}" if excess else "the least"))
    widths = [max(len(line[place]) for line in lines) for place in range(3)]
    return [
        "  " + "  ".join([*(text.ljust(width) for text, width in zip(line[:3], widths, strict=True)), line[3]])
        for line in lines
    ]


def _launches(plan: BuiltPlan, op: str) -> str:
    """The kernels of a plan, without the name of the op that theirs begin with."""
    return ", ".join(kernel.name.removeprefix(f"_{op}_") for kernel in plan.kernels)


def _taken(plan: Plan) -> str:
    """When a plan is taken, in a few words. The rules themselves are in `fusec.runtime.select`."""
    stage = plan.stages[0]
    few = f"{axes_text(plan.few[:1])} are few" if plan.few else ""
    match plan.shape:
        case Shape.ROWS if stage.block is not None:
            return f"registers hold {axes_text(stage.tile)} of many {stage.block}"
        case Shape.ROWS:
            return f"{axes_text(stage.tile)} is short"
        case Shape.RESIDENT | Shape.TILED | Shape.JOINT:
            held = f"registers hold {axes_text(stage.tile)}"
            return f"one row, {held}" if plan.few else held
        case Shape.STREAMED:
            return "one row" if plan.few else "many rows, or none very long"
        case Shape.SPLIT:
            return "few long rows"
        case Shape.DEALT:
            return f"{few}, and tiles as well"
        case Shape.SWAPPED:
            return few
        case Shape.PERSISTENT:
            return "TMA can move them"
        case Shape.PRODUCT | Shape.BLOCKED:
            return "always"
