"""What the choice among the plans of an op is made for: the axes that vary from call to call, and those that do not."""

from __future__ import annotations

from dataclasses import dataclass

from fusec.ir.expressions import Dot, NodeId, Reduce
from fusec.ir.graph import Graph, dots_among, reachable
from fusec.ir.sizes import symbols_in
from fusec.ir.types import Axis, DTypeVar, Lead, extent, product_extent, without


@dataclass(frozen=True, slots=True)
class Choosing:
    """What an entry of a table is for: the number of `rows` together, and by name extents, dtypes and tensors given."""

    rows: tuple[Axis, ...]
    extents: tuple[str, ...]
    dtypes: tuple[str, ...]
    optional: tuple[str, ...]

    @property
    def case(self) -> tuple[str, ...]:
        """The names of all but the rows."""
        return (*self.extents, *self.dtypes, *self.optional)


def choosing(graph: Graph) -> Choosing | None:
    """What the choice among the plans of an op is made for: of one with dots, else of one that makes outputs of rows.

    None for an op that reduces over `...`, which has no row to count, or has no outputs.
    """
    dots = _dots(graph, graph.roots)
    contracted = [axis for dot in dots for axis in dot.axes] if dots else _reduced(graph)
    stored = [[axis for dim in output.dims for axis in dim] for output in graph.outputs]
    if Lead() in contracted or not stored:
        return None
    steady = set(symbols_in([product_extent(dim) for tensor in graph.tensors if tensor.static for dim in tensor.dims]))
    steady |= set(symbols_in([extent(axis) for axis in [*contracted, *(axes[-1] for axes in stored if axes)]]))
    steady |= set(symbols_in([extent(axis) for dot in dots for axis in _shared(graph, dot)]))
    axes = dict.fromkeys(axis for axes in stored for axis in axes)
    rows = tuple(axis for axis in axes if not set(symbols_in([extent(axis)])) <= steady)
    needed = set(symbols_in([extent(axis) for axis in [*axes, *contracted]])) & steady
    return Choosing(
        rows,
        tuple(solve.name for solve in graph.solves if solve.name in needed),
        tuple(variable.name for variable in graph.variables if variable not in _of_rows(graph)),
        tuple(tensor.name for tensor in graph.tensors if tensor.optional),
    )


def chosen_outputs(graph: Graph) -> frozenset[str]:
    """The outputs whose plans are chosen: those made of products, of an op without products all of them."""
    return multiplied(graph) or frozenset(output.name for output in graph.outputs)


def _reduced(graph: Graph) -> list[Axis]:
    """The axes that anything is reduced over."""
    reduces = (graph.nodes[n].expr for n in graph.live)
    return [axis for expr in reduces if isinstance(expr, Reduce) for axis in expr.axes]


def _of_rows(graph: Graph) -> set[DTypeVar]:
    """The type variables of weights of one dimension alone, as gains are: next to products they weigh nothing."""
    wide = {output.element for output in graph.outputs}
    wide |= {tensor.element for tensor in graph.tensors if not tensor.static or len(tensor.dims) > 1}
    return {variable for variable in graph.variables if variable not in wide}


def multiplied(graph: Graph) -> frozenset[str]:
    """The outputs, and the tensors written to, that are made of products."""
    made: list[tuple[str, tuple[NodeId, ...]]] = [(output.name, (output.value,)) for output in graph.outputs]
    made += [(write.param, (*write.indices, write.value)) for write in graph.scatters]
    return frozenset(name for name, roots in made if _dots(graph, roots))


def _dots(graph: Graph, roots: tuple[NodeId, ...]) -> list[Dot]:
    return list(dots_among(graph.nodes, sorted(reachable(graph.nodes, roots))).values())


def _shared(graph: Graph, dot: Dot) -> tuple[Axis, ...]:
    """The axes of both operands that stay: a batch."""
    a, b = (graph.nodes[node].type.axes for node in (dot.a, dot.b))
    return without(tuple(axis for axis in a if axis in b), dot.axes)
