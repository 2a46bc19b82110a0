"""Optional tensors that may be the same along some axes: those along which what stands for them is the same.

`position_ids: i64[B, S] = index(S)` is the same for all B when it is omitted, so callers may give `[S]` or `[1, S]`.
"""

from __future__ import annotations

from fusec.ir.expressions import OMITTED, Choose
from fusec.ir.graph import Graph, TensorParam


def repeated(graph: Graph) -> dict[str, tuple[int, ...]]:
    """By tensor, the dimensions that may be of size 1 and, as the first ones, be missing."""
    found = {tensor.name: _places(graph, tensor) for tensor in graph.tensors if tensor.optional and not tensor.mutable}
    return {name: places for name, places in found.items() if places}


def _places(graph: Graph, tensor: TensorParam) -> tuple[int, ...]:
    for node in graph.nodes:
        match node.expr:
            case Choose(selector, cases) if selector == tensor.name:
                own = [axis for case, value in cases if case == OMITTED for axis in graph.nodes[value].type.axes]
                axes = {axis for dim in tensor.dims for axis in dim}
                if own and {*own} <= axes:  # a number stands for all positions, and says nothing of any
                    return tuple(place for place, dim in enumerate(tensor.dims) if not {*dim} & {*own})
            case _:
                pass
    return ()
