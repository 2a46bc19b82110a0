"""Calls with long sums: dots of thousands of random products, in which fewer digits than those of f32 come to light.

Positive numbers of f32 lie a little above numbers of tf32, and sums of normal ones of 16 bits are far smaller than the
sums of their sizes: what is lost is many times the bound (`numerics.accumulation`).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from fusec.extents.room import LEAD, Room
from fusec.extents.signature import Signature, names
from fusec.ir.expressions import Dot
from fusec.ir.graph import ChoiceParam, Graph, ScalarParam
from fusec.ir.types import Axis, Kind
from fusec.numerics.accumulation import LONG
from fusec.testing.cases import Case, shape, size

SHORT = 8
"""Extents of the other axes."""

ODD, WHOLE = 3, 24
"""What sums have more than a round number of products: they are odd, or come in whole boxes of which one is a rest."""

_KINDS = ((24, "positive"), (10, "normal"), (24, "normal"), (10, "positive"))
"""Bits of the fraction that operands have, or the nearest to it, and their values."""


def contracted(graph: Graph) -> tuple[tuple[Axis, ...], ...]:
    """What the dots of a graph are summed over."""
    return tuple(dict.fromkeys(node.expr.axes for node in graph.nodes if isinstance(node.expr, Dot)))


def long_calls(graph: Graph, length: int, every: bool = False) -> Iterator[Case]:
    """Calls in which one of the dots is about so long: with positive numbers of f32 and normal ones of 16 bits.

    Or with `every` kind of both. All other axes are short, or some of them are 1, as where a vector is multiplied.
    """
    found = dict.fromkeys(
        (tuple(extents.items()), lead) for axes in contracted(graph) for extents, lead in _extents(graph, axes, length)
    )
    for items, lead in found:
        for mantissa, values in _KINDS if every else _KINDS[:2]:
            yield _case(graph, dict(items), lead, mantissa, values)


def results(graph: Graph, case: Case) -> int:
    """How many elements a call gives back."""
    return sum(prod(shape(case, output.dims)) for output in graph.outputs)


def _case(graph: Graph, extents: dict[str, int], lead: tuple[int, ...], mantissa: int, values: str) -> Case:
    real = [param.name for param in graph.tensors if param.element.kind is Kind.REAL]
    scalars = [param for param in graph.params if isinstance(param, ScalarParam)]
    choices = [param for param in graph.params if isinstance(param, ChoiceParam)]
    return Case(
        op=graph.name,
        seed=1,
        extents=extents,
        lead=lead,
        dtypes={
            each.name: min(each.options, key=lambda option: abs(option.mantissa - mantissa)).name
            for each in graph.variables
        },
        values=dict.fromkeys(real, values) if values != "normal" else {},
        picks={param.name: param.options[0] for param in choices},
        scalars={param.name: 1 if param.default is None else param.default for param in scalars},
    )


def _extents(graph: Graph, axes: tuple[Axis, ...], length: int) -> Iterator[tuple[dict[str, int], tuple[int, ...]]]:
    signature = Signature.of(graph)
    contracting = [name for axis in axes for name in names(axis)]
    free = [name for name in signature.free if name not in contracting]
    outer = {LEAD, *(name for name in free if name not in signature.inner)}
    for more in (ODD, WHOLE):
        for ones in (set[str](), outer, *({name} for name in (LEAD, *free))):
            found = _fitting(signature, contracting, length + more, ones)
            if found is not None and size(_sized(found), axes) >= LONG:
                lead = found.pop(LEAD, None)
                yield found, () if lead is None else (lead,)


def _sized(extents: dict[str, int]) -> Case:
    return Case(op="", seed=0, extents=extents)


def _fitting(signature: Signature, contracting: list[str], length: int, ones: set[str]) -> dict[str, int] | None:
    """Extents of which the last one of those contracted makes a sum about so long, others are short, and some 1."""
    room = Room(signature, SHORT**2, 32 * length)
    if signature.has_lead:
        room.extents[LEAD] = 1 if LEAD in ones else SHORT
    long = dict.fromkeys(contracting[-1:], length)
    for name in contracting[-1:]:
        if name in signature.bound:
            # Another axis, and a known number of it.
            formula = signature.bound[name]
            long = {each: max(length // max(formula({}), 1), 1) for each in formula.names}
    for name in sorted(signature.free, key=lambda name: name not in long):
        wanted = long.get(name, 1 if name in ones else SHORT)
        allowed = [number for number in room.allowed(name, (wanted, 4, 2, 1)) if number]
        if not allowed:
            return None
        room.extents[name] = min(allowed, key=lambda number: abs(number - wanted))
    return room.extents if room.settle() else None
