"""The explanation of an op as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from fusec.ir.graph import Graph
from fusec.passes.explain.justify import Rule
from fusec.passes.explain.op import ELEMENTS, ChainExplanation, Explanation


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
    for quantised in explained.quantised:
        yield from ("", f"quantised {quantised.number}: {quantised.words}")
        yield from (f"    placed     {place}" for place in quantised.places)
    for number, plan in enumerate(explained.plans, 1):
        yield from ("", f"plan {number}, {plan.plan.name}: {plan.plan.words}")
        yield from (f"    kernel     {kernel}" for kernel in plan.plan.kernels)
        again = f"a program reads {plan.plan.excess} again" if plan.plan.excess else "a program, each once"
        yield f"    moves      {plan.plan.moved}: {again}; --size tells the bytes of a call"
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
    place = "in the vendor's library" if chain.library else "of tiles that TMA may load"
    yield from ("", f"products {place}, where that is faster{without}:")
    yield from (f"    step       {step}" for step in chain.steps)
