"""The extents a benchmark runs at: those the user gives, the rest chosen to move some hundred megabytes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from itertools import chain
from math import prod

from fusec.commands.outcome import UsageError
from fusec.extents.room import LEAD, Room
from fusec.extents.signature import Signature
from fusec.ir.graph import ChoiceParam, Graph
from fusec.testing.cases import Case, counts

ROW = 4096
"""The extent of a row that is one axis, and of the sides of matrices that are multiplied.

A row of several axes, or one that is taken in halves as a head is, gets `PART` for each of them.
"""

PART = 128

ELEMENTS = 2**26
"""The most elements any one tensor gets by default, unless one row needs more."""

MOST, FEWER = 14, (0, 4, 8, 11)
"""Powers of two of the extents outside of rows: the largest, and those of a sweep below it."""


def parse(sizes: list[str]) -> tuple[dict[str, int], tuple[int, ...] | None]:
    """`N=4096` and `...=8x2048` as extents by axis and the extents of `...`. Raises `UsageError` for anything else."""
    extents: dict[str, int] = {}
    lead: tuple[int, ...] | None = None
    for text in sizes:
        name, _, value = text.partition("=")
        try:
            numbers = tuple(int(part) for part in value.split("x"))
        except ValueError:
            raise UsageError(f"--size {text}: write AXIS=EXTENT, for instance N=4096 or ...=8x2048") from None
        if name == "...":
            lead = numbers
        else:
            extents[name] = prod(numbers)
    return extents, lead


def choose(graph: Graph, sizes: list[str], dtypes: Mapping[str, str]) -> Case:
    """A call of the op at the sizes given, with normally distributed values and every default.

    Raises `UsageError` for an axis or a dtype that the op does not have, or extents that break its conditions.
    """
    given, lead = parse(sizes)
    return _at(graph, given, lead, _largest(graph, given, lead, dtypes), dtypes)


def sweep(graph: Graph, dtypes: Mapping[str, str]) -> list[Case]:
    """Calls from one row up to as many as `choose` gives; sizes that the op cannot have are left out."""
    largest = _largest(graph, {}, None, dtypes)
    found = []
    for exponent in (*(fewer for fewer in FEWER if fewer < largest), largest):
        with suppress(UsageError):
            found.append(_at(graph, {}, None, exponent, dtypes))
    return found


def _largest(graph: Graph, given: Mapping[str, int], lead: tuple[int, ...] | None, dtypes: Mapping[str, str]) -> int:
    """The power of two that axes outside of rows have by default. Raises `UsageError` as `_at` does for one row."""
    room = max(ELEMENTS, max(counts(graph, _at(graph, given, lead, 0, dtypes))))
    for exponent in reversed(range(1, MOST + 1)):
        with suppress(UsageError):
            if max(counts(graph, _at(graph, given, lead, exponent, dtypes))) <= room:
                return exponent
    return 0


def _at(
    graph: Graph, given: Mapping[str, int], lead: tuple[int, ...] | None, exponent: int, dtypes: Mapping[str, str]
) -> Case:
    """A call with the extents that are given, and a power of two outside of rows."""
    signature = Signature.of(graph)
    unknown = [name for name in given if name not in (*signature.free, *signature.bound)]
    if unknown:
        axes = ", ".join((*signature.free, *(["..."] if signature.has_lead else [])))
        raise UsageError(f"{graph.name} has no axis {', '.join(unknown)}; it has {axes}")
    inner = _inner(graph, signature)
    outer = [name for name in signature.free if name not in signature.inner]
    extents = {**inner, **dict.fromkeys(outer, 2**exponent), **given}
    return case_of(graph, signature, extents, lead or (2**exponent,), dtypes)


def _inner(graph: Graph, signature: Signature) -> dict[str, int]:
    """The extents of the axes of rows and matrices."""
    inner = [name for name in signature.free if name in signature.inner]
    contracted = {axis for dot in graph.dots.values() for axis in dot.axes}
    matrices = [param.dims for param in graph.tensors if contracted.intersection(chain(*param.dims))]
    sides = {str(dim[0]) for dims in matrices for dim in dims if len(dim) == 1}
    whole = sides if sides else set(inner) if len(inner) == 1 else set()
    return {name: ROW if name in whole and signature.divisors[name] == 1 else PART for name in inner}


def case_of(
    graph: Graph,
    signature: Signature,
    extents: Mapping[str, int],
    lead: tuple[int, ...],
    dtypes: Mapping[str, str],
    omitted: tuple[str, ...] = (),
) -> Case:
    """A call with these extents, plain otherwise. Raises `UsageError` where the op cannot have them, or a dtype."""
    room = Room(signature, rows=2**62, elements=2**62)
    lead = lead if signature.has_lead else ()
    room.extents.update(extents)
    if signature.has_lead:
        room.extents[LEAD] = prod(lead)
    if not room.settle():
        raise UsageError(f"{graph.name} cannot have these extents: {extents}")
    chosen = {}
    for variable in graph.variables:
        names = [option.name for option in variable.options]
        name = dtypes.get(variable.name, "bf16" if "bf16" in names else names[0])
        if name not in names:
            raise UsageError(f"--dtype {variable.name}={name}: it is one of {', '.join(names)}")
        chosen[variable.name] = name
    return Case(
        op=graph.name,
        seed=0,
        extents={name: extent for name, extent in room.extents.items() if name != LEAD},
        lead=lead,
        dtypes=chosen,
        picks={p.name: p.default or p.options[0] for p in graph.params if isinstance(p, ChoiceParam)},
        omitted=omitted,
    )
