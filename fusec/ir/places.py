"""Places: which writes into a `mut` tensor reach every place once, and which tensors may be written several times.

A write `t[i, j] = v` reaches a place once where its indices tell every position that it is made for: an index that is
`index(N)` tells the position along `N`, and a tensor declared `distinct` tells those along all of its axes. An index
`s` is told by itself, by `s + k` or `s - k`, and by `s // k` and `s % k` together.
"""

from __future__ import annotations

from fusec.ir.expressions import Elementwise, Index, Input, NodeId
from fusec.ir.graph import Graph, Scatter
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import Axis, without


def is_injective(graph: Graph, write: Scatter) -> bool:
    """Whether a write is known to reach every place once; places outside of the tensor do not count."""
    axes = tuple(axis for index in write.indices for axis in graph.nodes[index].type.axes)
    return not without(axes, _told(graph, write.indices))


def written_several_times(graph: Graph) -> frozenset[str]:
    """The `mut` tensors in which a call may write several values to one place."""
    several: set[str] = set()
    seen: set[str] = set()
    for write in graph.scatters:
        if write.param in seen or not (write.adds or is_injective(graph, write)):
            several.add(write.param)
        seen.add(write.param)
    return frozenset(several)


def _told(graph: Graph, indices: tuple[NodeId, ...]) -> tuple[Axis, ...]:
    """The axes along which the indices tell the position."""
    found: list[Axis] = []
    for number in _known(graph, indices):
        match graph.nodes[number].expr:
            case Index(axis):
                found.append(axis)
            case Input(param) if graph.tensor(param).distinct:
                found += graph.nodes[number].type.axes
            case _:
                pass
    return tuple(found)


def _known(graph: Graph, indices: tuple[NodeId, ...]) -> set[NodeId]:
    """The integers that follow from the indices."""
    known = set(indices)
    before = -1
    while before != len(known):
        before = len(known)
        divided: dict[tuple[NodeId, ...], set[str]] = {}
        for number in tuple(known):
            match graph.nodes[number].expr:
                case Elementwise(op, args) if ELEMENTWISE[op].linear is not None:
                    varying = [arg for arg in args if graph.nodes[arg].type.axes]
                    known |= {*varying} if len(varying) == 1 else set()
                case Elementwise(op, args) if ELEMENTWISE[op].divides_integers:
                    divided.setdefault(args, set()).add(op)
                case _:
                    pass
        # A quotient and the remainder tell what was divided.
        known |= {args[0] for args, ops in divided.items() if len(ops) == 2}
    return known
