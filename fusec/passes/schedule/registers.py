"""Registers: how many each thread of a stage is expected to hold at the fullest point, from the plan alone.

A reduction is a point that every thread waits at: what is computed before it and needed after it has to stay. Between
two reductions a thread has the tiles it loads there under way; what it computes from them it computes element by
element, and not before it is needed. A loop keeps only its accumulators from one step to the next.

What is stored in bytes beside a wider output lies in the layout of that one, and changes it for its store: all threads
wait for that as well, so that they have all of it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, inf

from fusec.ir.expressions import (
    Const,
    Elementwise,
    FlowExpr,
    Index,
    Load,
    MaxOf,
    NodeId,
    Reduce,
    Scalar,
    Size,
    operands,
)
from fusec.ir.flow import LEAD_AXES, FlowNode, store_axes, store_inputs
from fusec.ir.graph import reachable
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.stage import Stage
from fusec.ir.types import Axis, Computed, Element, Kind, union
from fusec.passes.schedule.survey import depths

_OVERHEAD = 16
"""Registers for addresses, indices and the element being computed."""

_REDUCED_ARGUMENTS = 32
"""The same for a periodic function (sine, cosine), which first brings its argument into one period."""


_BYTE = 8 / 32
"""Words of an element that is stored in a byte."""


@dataclass(frozen=True, slots=True)
class Held:
    """Tiles of the same shape that a thread holds: their dimensions, and 32-bit words for each of their elements."""

    dims: tuple[str, ...]
    words: float

    def __str__(self) -> str:
        return " * ".join([*([f"{self.words:g}"] if self.words != 1 else []), *self.dims]) or "0"


@dataclass(frozen=True, slots=True)
class Residency:
    """What a thread holds between each two reductions of a stage, and the registers it needs beside."""

    points: tuple[tuple[Held, ...], ...]
    overhead: int

    def registers(self, elements: int) -> int:
        """The registers of a thread that has so many elements of the largest tiles, and one of each smaller tile."""
        largest = max((len(held.dims) for point in self.points for held in point), default=0)
        counts = (sum(ceil(h.words * (elements if len(h.dims) == largest else 1)) for h in p) for p in self.points)
        return self.overhead + max(counts, default=0)

    @property
    def words(self) -> float:
        """The 32-bit words for each element of the largest tiles, where these take most."""
        largest = max((len(held.dims) for point in self.points for held in point), default=0)
        return max((sum(h.words for h in p if len(h.dims) == largest) for p in self.points), default=0)

    def __str__(self) -> str:
        fullest = max(self.points, key=lambda point: sorted(((len(h.dims), h.words) for h in point), reverse=True))
        tiles = " + ".join(map(str, fullest))
        return f"({tiles}) / threads + {self.overhead}" if tiles else str(self.overhead)


def residency(stage: Stage, bits: Callable[[Element], int]) -> Residency:
    """The residency of a stage whose elements take so many `bits` in memory, computed values in registers."""
    live = stage.live
    nodes = stage.flow.nodes
    exprs = (nodes[n].expr for n in live)
    library = any(isinstance(expr, Elementwise) and ELEMENTWISE[expr.op].period is not None for expr in exprs)
    return Residency(tuple(_points(stage, live, bits)), _REDUCED_ARGUMENTS if library else _OVERHEAD)


def widest(element: Element) -> int:
    """The bits of an element where the caller's choice is the widest: 32 for a computed number."""
    match element:
        case Computed(kind):
            return 8 if kind is Kind.BOOL else 32
        case _:
            return max(option.bits for option in element.options)


def at_most(bits: int) -> Callable[[Element], int]:
    """The bits of an element where the caller's choice is the widest of so many bits, or the narrowest there is."""

    def of(element: Element) -> int:
        if isinstance(element, Computed):
            return widest(element)
        found = sorted(option.bits for option in element.options)
        return max((size for size in found if size <= bits), default=found[0])

    return of


def _points(stage: Stage, live: list[NodeId], bits: Callable[[Element], int]) -> Iterator[tuple[Held, ...]]:
    """What is held between each two reductions, in order."""
    nodes = stage.flow.nodes
    depth = depths(stage.flow, union(*(expr.axes for n in live if isinstance(expr := nodes[n].expr, Reduce))))
    needed = _needed(stage, live, depth)
    for point in range(max(depth[n] for n in live) + 1 if live else 0):
        words: dict[tuple[str, ...], float] = {}
        for number in live:
            dims, count = _held(stage, number, point, depth[number], needed[number], bits)
            if dims and count:
                words[dims] = words.get(dims, 0) + count
        for dims in _bytes_beside(stage, point, depth, bits):
            words[dims] = words.get(dims, 0) + _BYTE
        yield tuple(Held(dims, count) for dims, count in words.items())


def _held(
    stage: Stage, number: NodeId, point: int, depth: int, needed: set[int], bits: Callable[[Element], int]
) -> tuple[tuple[str, ...], float]:
    """The tile and words an element that node `number` takes at a point; `needed` are the points that read it."""
    node: FlowNode = stage.flow.nodes[number]
    looped = _spans(stage, node.type.axes)
    match node.expr:
        case Reduce(arg=arg, axes=axes) if _spans(stage, axes):
            # Before it is folded, the result of a loop is a tile of accumulators, of 64 bits for integers.
            tile = stage.flow.nodes[arg].type.axes if point == depth - 1 else node.type.axes
            held = point == depth - 1 or depth <= point <= max(needed, default=-1)
            return _dims(stage, tile), (2.0 if node.type.kind is Kind.INT else 1.0) * held
        case Load() if looped or point == min(needed):
            return _dims(stage, node.type.axes), bits(node.type.element) / 32 if point in needed else 0.0
        case Load():
            return _dims(stage, node.type.axes), float(min(needed) < point <= max(needed))
        case expr if _is_free(expr) or looped or not depth < point <= max(needed):
            return (), 0.0
        case _:
            # What is needed later alone can be computed later, of what came from memory.
            least = 1.0 if depth in needed else min(1.0, _loaded(stage, number, bits))
            return _dims(stage, node.type.axes), least


def _bytes_beside(
    stage: Stage, point: int, depth: dict[NodeId, int], bits: Callable[[Element], int]
) -> Iterator[tuple[str, ...]]:
    """The tiles that a point stores in bytes, and some other point or itself as something wider, outside of loops."""
    flow = stage.flow
    axes = {store: store_axes(flow, store) for store in flow.stores}
    tiles = {store: _dims(stage, of) for store, of in axes.items() if not _spans(stage, of)}
    wide = {dims for store, dims in tiles.items() if bits(store.element) > 8}
    for store, dims in tiles.items():
        is_here = max(depth[n] for n in store_inputs(store)) == point
        if dims and dims in wide and bits(store.element) <= 8 and is_here:
            yield dims


def _loaded(stage: Stage, number: NodeId, bits: Callable[[Element], int]) -> float:
    """The words for each element of a value as it comes from memory; many where it needs a reduction."""
    below = [stage.flow.nodes[n] for n in reachable(stage.flow.nodes, (number,))]
    if any(isinstance(node.expr, Reduce) for node in below):
        return inf
    return sum(bits(node.type.element) / 32 for node in below if isinstance(node.expr, Load))


def _is_free(expr: FlowExpr) -> bool:
    """Whether a value costs nothing to make again."""
    return isinstance(expr, Scalar | Const | Size | MaxOf | Index)


def _needed(stage: Stage, live: list[NodeId], depth: dict[NodeId, int]) -> dict[NodeId, set[int]]:
    """For each node, the points at which something reads it."""
    found: dict[NodeId, set[int]] = {number: set() for number in live}
    for number in live:
        expr = stage.flow.nodes[number].expr
        for operand in operands(expr):
            found[operand].add(depth[number] - isinstance(expr, Reduce))
    for store in stage.flow.stores:
        for number in store_inputs(store):
            found[number].add(max(depth[n] for n in store_inputs(store)))
    for partial in stage.partials:
        found[partial.value].add(depth[partial.value])
    return found


def _spans(stage: Stage, axes: tuple[Axis, ...]) -> bool:
    return any(axis in stage.loop for axis in axes)


def _dims(stage: Stage, axes: tuple[Axis, ...]) -> tuple[str, ...]:
    """The dimensions of a tile, each once; axes that are one position to a program have none."""
    rows = ["row"] if stage.lanes and any(axis in stage.rows for axis in axes) else []
    inner = (*stage.loop[-1:], *stage.tile, *((stage.block,) if stage.block else ()))
    names = ("..." if axis in LEAD_AXES else str(axis) for axis in stage.order if axis in axes and axis in inner)
    return (*rows, *dict.fromkeys(names))
