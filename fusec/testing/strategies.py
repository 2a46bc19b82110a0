"""Hypothesis strategies: calls of any op, drawn from its graph alone.

Only the structure of a call is drawn (extents, dtypes, layouts, kinds of values, a seed), so drawing and shrinking are
quick; the numbers themselves come from the seed, see `cases.build`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from random import Random
from typing import TypeVar

from hypothesis import assume
from hypothesis import strategies as st

from fusec.extents.conditions import Formula
from fusec.extents.room import LEAD, Room
from fusec.extents.signature import Signature
from fusec.ir.expressions import Dot
from fusec.ir.graph import ChoiceParam, DimParam, Graph, ScalarParam, TensorParam
from fusec.ir.multiply import Sums, sums_of
from fusec.ir.reach import reaches
from fusec.ir.types import Kind, product_extent
from fusec.testing.cases import Case
from fusec.testing.layouts import BOXED, LAYOUTS, OVERLAPPING
from fusec.testing.positions import positions
from fusec.testing.values import VALUES

T = TypeVar("T")

INNER = (1, 2, 3, 4, 5, 7, 8, 11, 13, 16, 17, 19, 31, 33, 37, 64, 65, 70, 100, 127, 129, 150, 255, 300, 500, 1000, 1100)
"""Extents of axes along which one program works: 1, primes, powers of two, and a little or a lot beside them."""

OUTER = (1, 2, 3, 5, 7, 8, 13, 16)
"""Extents of the other axes."""


BOXED_INNER = (8, 16, 24, 40, 64, 72, 128, 136, 200)
"""Extents of axes whose tiles TMA can move: whole tiles and parts of one."""

BOXED_INNER_OF_8_BITS = (16, 32, 48, 64, 80, 128, 144, 208)
"""The same where an element is a byte: rows of whole 16 bytes."""

BOXED_OUTER = (1, 3, 17, 64, 129)
"""Extents of axes that it counts rows by."""

LIBRARY_INNER = (16, 32, 48, 64, 80, 128)
"""Extents of axes that the vendor's library takes in products of 8 bits."""

LIBRARY_OUTER = (17, 18, 20, 24, 31, 32, 33, 40, 1, 2, 3)
"""Extents of rows, most of them more than it wants of integers."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a call may hold, so that the interpreter is done in a fraction of a second."""

    rows: int = 16
    """Positions of all axes that spread over programs together."""
    elements: int = 4096
    """Elements of any one tensor."""
    inner: tuple[int, ...] = INNER
    outer: tuple[int, ...] = OUTER
    """What extents are drawn from."""
    leading: int = 0
    """How many axes `...` stands for at least."""
    multiple: int = 1
    """Of what those of inner axes are multiples, where they are free to be."""
    boxed: bool = False
    """Whether that `1 + N` is one of `inner` is as good as that `N` is."""


@st.composite
def cases(draw: st.DrawFn, graph: Graph, budget: Budget = Budget()) -> Case:
    """Calls of the op `graph` that satisfy its signature."""
    seed = draw(st.integers(0, 2**31))
    extents, lead = _extents(draw, graph, budget, Random(seed))
    tensors = graph.tensors
    found = positions(graph)
    layouts = {param.name: draw(st.sampled_from(_layouts(param, found))) for param in tensors}
    plain = draw(st.booleans())
    values = {param.name: "normal" if plain else draw(st.sampled_from(_values(param, found))) for param in tensors}
    scalars = {param.name: draw(_scalars(param)) for param in graph.params if isinstance(param, ScalarParam)}
    dropped = [name for name in _may_be_omitted(graph) if draw(st.booleans())]
    dropped = _reached(graph, extents, dropped)
    return Case(
        op=graph.name,
        seed=seed,
        extents=extents,
        lead=lead,
        dtypes={variable.name: draw(st.sampled_from(variable.options)).name for variable in graph.variables},
        layouts={name: layout for name, layout in layouts.items() if layout != "contiguous"},
        values={name: kind for name, kind in values.items() if kind != "normal"},
        picks={
            param.name: draw(st.sampled_from(param.options)) for param in graph.params if isinstance(param, ChoiceParam)
        },
        scalars=scalars,
        omitted=tuple(dropped),
    )


_TMA = Budget(rows=129, elements=1 << 15, inner=BOXED_INNER, outer=BOXED_OUTER, boxed=True)
_TMA_OF_8_BITS = replace(_TMA, inner=BOXED_INNER_OF_8_BITS, multiple=16)
_PRODUCTS = Budget(
    rows=80, elements=1 << 13, inner=LIBRARY_INNER, outer=LIBRARY_OUTER, leading=1, multiple=16, boxed=True
)


@st.composite
def tma_cases(draw: st.DrawFn, graph: Graph, budget: Budget | None = None) -> Case:
    """Calls of an op with dots whose operands TMA can move, with a few among them that it cannot."""
    case = draw(cases(graph, budget or (_TMA_OF_8_BITS if _multiplies_8_bits(graph) else _TMA)))
    if draw(st.sampled_from(_often(False, [True], 4))):
        return case
    narrow = {
        v.name: [each.name for each in v.options if each.kind is Kind.REAL and each.bits == 16] for v in graph.variables
    }
    return replace(
        case,
        dtypes={name: draw(st.sampled_from(narrow[name] or [dtype])) for name, dtype in case.dtypes.items()},
        layouts={name: layout for name, layout in case.layouts.items() if layout in BOXED},
    )


@lru_cache
def _multiplies_8_bits(graph: Graph) -> bool:
    dots = (node.expr for node in graph.nodes if isinstance(node.expr, Dot))
    return any(sums_of(graph.nodes, dot) is not Sums.SINGLE for dot in dots)


@st.composite
def library_cases(draw: st.DrawFn, graph: Graph, budget: Budget = Budget()) -> Case:
    """Calls of an op with dots that the library makes: of 16 bits and more in any layout, of 8 bits of some extents."""
    return draw(
        cases(graph, budget) if draw(st.sampled_from(_often(False, [True], 3))) else tma_cases(graph, _PRODUCTS)
    )


def reaching(kind: str, graph: Graph, budget: Budget = Budget()) -> st.SearchStrategy[Case]:
    """Calls of an op that take its plans of a kind, on the chip of `forcing.CHIPS` of that name."""
    match kind:
        case "tma":
            return tma_cases(graph)
        case "library":
            return library_cases(graph, budget)
        case _:
            return cases(graph, budget)


def _extents(draw: st.DrawFn, graph: Graph, budget: Budget, random: Random) -> tuple[dict[str, int], tuple[int, ...]]:
    signature = _signature(graph)
    room = Room(signature, budget.rows, budget.elements)
    lead: tuple[int, ...] = ()
    if signature.has_lead:
        for _ in range(draw(st.integers(budget.leading, 3))):
            fitting = [extent for extent in (*budget.outer, 0) if extent * prod(lead) <= budget.rows]
            lead = (*lead, draw(st.sampled_from(fitting)))
        room.extents[LEAD] = prod(lead)
    empty = draw(st.sampled_from(_often(None, [name for name in signature.free if name not in signature.positive], 15)))
    # In any order, so that it is not always the first axis which uses the budget up.
    for name in random.sample(signature.free, len(signature.free)):
        pool = (0,) if name == empty else budget.inner if name in signature.inner else budget.outer
        added = (0, *(signature.added.get(name, ()) if budget.boxed else ()))
        allowed = room.allowed(name, [extent - more for more in added for extent in pool if extent >= more])
        if name in signature.inner:
            whole = [extent for extent in allowed if any((extent + more) % budget.multiple == 0 for more in added)]
            allowed = whole or allowed
        assume(allowed)
        room.extents[name] = draw(st.sampled_from(allowed))
    assume(room.settle())
    return {name: extent for name, extent in room.extents.items() if name != LEAD}, lead


_signature = lru_cache(Signature.of)


def _often(plain: T, others: Sequence[T], times: int = 1) -> list[T]:
    """`plain` `times` times as often as `others`, and the first choice when a failing case is made small."""
    return [plain] * (times * len(others) or 1) + list(others)


def _layouts(param: TensorParam, found: Mapping[str, object]) -> list[str]:
    single = param.mutable or param.name in found
    return _often("contiguous", [name for name in LAYOUTS if not (single and name in OVERLAPPING)][1:])


def _values(param: TensorParam, found: Mapping[str, object]) -> list[str]:
    if param.name in found:
        return ["normal", "stray"]
    if param.element.kind is Kind.BOOL:
        return ["normal"]
    if param.element.kind is Kind.INT:
        return ["normal", "zeros", "huge"]
    return list(VALUES)


def _reached(graph: Graph, extents: Mapping[str, int], omitted: list[str]) -> list[str]:
    """The tensors that may be omitted together: tables are as long as they are read without them."""
    for reach in _reaches(graph):
        if {*reach.omitted} <= {*omitted} and not {*reach.given} & {*omitted}:
            room = product_extent(graph.tensor(reach.param).dims[reach.dim])
            size, needed = (Formula.of(value)(extents) for value in (room, reach.size))
            others = ({_size(graph, name, place, extents) for name, place in group} for group in reach.mistaken)
            if size < needed or (size > needed and {size} in others):
                assume(reach.omitted)
                omitted = [name for name in omitted if name not in reach.omitted]
    return omitted


def _size(graph: Graph, name: str, place: int, extents: Mapping[str, int]) -> int:
    return Formula.of(product_extent(graph.tensor(name).dims[place]))(extents)


_reaches = lru_cache(reaches)


def _scalars(param: ScalarParam) -> st.SearchStrategy[float | int | bool]:
    usual: list[float | int | bool] = [] if param.default is None else [param.default]
    match param.dtype.kind:
        case Kind.REAL:
            return st.sampled_from(usual * 3 + [1.0, 0.125, 1e-3, 2.5])
        case Kind.INT:
            return st.sampled_from(usual * 3 + [1, 0, 3])
        case Kind.BOOL:
            return st.booleans()


def _may_be_omitted(graph: Graph) -> list[str]:
    """Optional tensors that no extent follows from, and extents that are solved when left out."""
    solving = {solve.param for solve in graph.solves if solve.dim is not None}
    names = []
    for param in graph.params:
        match param:
            case TensorParam(optional=True) if param.name not in solving:
                names.append(param.name)
            case DimParam(inferred=True):
                names.append(param.name)
            case _:
                pass
    return names
