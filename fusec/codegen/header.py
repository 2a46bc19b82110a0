"""The docstring of a generated file: its ops, the plans of each, and what a plan moves against the least possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from textwrap import dedent, fill

from fusec.codegen.signature import tensor_text
from fusec.ir.graph import Graph
from fusec.ir.plan import LibraryProduct
from fusec.ir.program import BuiltChain, BuiltGroup, BuiltPlan, Program
from fusec.passes.plan.account import crossings, excess_traffic, least_traffic

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
        yield "\n".join(_chain(chain))
    other = "Other plans" if program.chains else "Plans"
    for group in program.groups:
        yield from _group(group, f"{other} of `{program.graph.name}`")
    for group in program.last:
        yield from _group(group, f"Written last, from what is kept until then: {' and '.join(group.outputs)}")


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


def _chain(chain: BuiltChain) -> Iterator[str]:
    """The steps of a plan with products in the library, or with contractions of what is stored."""
    without = f", without {' and '.join(chain.omitted)}" if chain.omitted else ""
    what = "products in the vendor's library" if chain.products else "contractions of what is stored"
    yield f"With {what}{without}, one after another:"
    for step in chain.steps:
        if isinstance(step, LibraryProduct):
            yield f"  library   {step.a.tensor} by {step.b.tensor} to {step.out.tensor}"
        elif step in chain.contracting:
            yield f"  contract  {' and '.join(step.outputs)} from {_read(step)}, the first that fits:"
            yield from (f"  {line}" for line in _table(step.plans))
        else:
            yield f"  kernel    {' and '.join(step.outputs)} from {_read(step)}"


def _group(group: BuiltGroup, title: str) -> Iterator[str]:
    if group.plans:
        least = least_traffic(group.plans[0].plan)
        first = ", the first that fits," if len(group.plans) > 1 or group.apart else ""
        words = f"{title}{first} and the bytes each moves; the least is {least}:"
        yield "\n".join([fill(words, WIDTH), *_table(group.plans)])
    if group.apart:
        twice = _repeated(group)
        yield fill(f"Else each output apart{f', which moves {twice} once more' if twice else ''}.", WIDTH)
        for inner in group.apart:
            yield from _group(inner, f"Plans for {' and '.join(inner.outputs)}")
    if group.alone:
        empty = " or ".join(map(str, group.absent))
        yield from _group(group.alone, f"Plans for {' and '.join(group.alone.outputs)} where {empty} is empty")


def _read(group: BuiltGroup) -> str:
    """The tensors that a group reads."""
    return ", ".join(name for name in crossings(next(group.all_plans()).plan) if name not in group.outputs)


def _repeated(group: BuiltGroup) -> str:
    """The tensors that several of the groups apart move."""
    moved = Counter(name for inner in group.apart for name in crossings(inner.plans[0].plan))
    return " + ".join(name if times == 2 else f"{times - 1} {name}" for name, times in moved.items() if times > 1)


def _table(plans: tuple[BuiltPlan, ...]) -> list[str]:
    wide = max(len(plan.plan.words) for plan in plans)
    long = max(9, *(len(plan.plan.shape.value) for plan in plans))
    rows = []
    for plan in plans:
        excess = excess_traffic(plan.plan)
        moved = f"the least + {excess}" if excess else "the least"
        rows.append(f"  {plan.plan.shape.value:{long}} {plan.plan.words:{wide}}  {moved}")
    return rows
