"""From values: an op that takes what was prepared of weights in place of these, for modules that keep nothing else.

Before: `y = dot(x, quantised, over=K) * scale` in every call, with `quantised` and `scale` computed once of the weight
`w: T[N, K]`. After: the same with `quantised: f8e4m3[N, K]` and `scale: f32[N]` as arguments, and no `w`.

There is one where that saves memory: some value has the shape of a weight and fewer bits. It is planned by the table of
the op, whose kernels read the values anyway; so each of them has to follow from weights alone, and nothing else may
read these, nor tell extents and types by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fusec.ir.expressions import Choose, Gather, Input
from fusec.ir.graph import Graph, TensorParam, walk
from fusec.ir.partition import Split
from fusec.ir.program import FromValues
from fusec.ir.rename import renamed
from fusec.ir.types import Axis, Dim
from fusec.passes.graph.round_weights import as_passed
from fusec.passes.graph.solve_extents import solve_extents


def from_values(split: Split, graph: Graph, names: Mapping[str, str]) -> FromValues | None:
    """The op `graph` of prepared values; None where it has no module, or the above does not hold.

    The graphs of `split` have `names` of their own for what `graph` calls otherwise.
    """
    once = split.once
    if once is None or not graph.modules or not _saves_memory(once) or any(weight.optional for weight in once.tensors):
        return None
    weights = {weight.name for weight in once.tensors}
    if once.untold or weights & _read(split.each):
        return None
    spelled = _with_values(split.each, weights, [output.name for output in once.outputs])
    if {solve.name for solve in spelled.solves} != {solve.name for solve in split.each.solves}:
        return None
    if not set(spelled.untold) <= set(split.each.untold):
        return None
    plain = {new: old for old, new in names.items()}
    taken = {param.name for param in graph.params} | {solve.name for solve in graph.solves}
    called = _called(once, {plain.get(name, name) for name in weights}, taken)
    face = as_passed(renamed(spelled, plain | called))
    return FromValues(
        spelled, face, tuple(plain.get(weight.name, weight.name) for weight in once.tensors), tuple(called.values())
    )


def _saves_memory(once: Graph) -> bool:
    """Whether a value has the shape of a weight, and fewer bits in any case."""
    return any(
        max(option.bits for option in output.element.options) < min(option.bits for option in weight.element.options)
        for output in once.outputs
        for weight in once.tensors
        if _axes(output.dims) == _axes(weight.dims)
    )


def _axes(dims: tuple[Dim, ...]) -> set[Axis]:
    return {axis for dim in dims for axis in dim}


def _read(graph: Graph) -> set[str]:
    """The tensors that a graph reads, or asks for."""
    found: set[str] = set()
    for _, node in walk(graph):
        match node.expr:
            case Input(name) | Gather(name) | Choose(name):
                found.add(name)
    return found | {scatter.param for scatter in graph.scatters}


def _with_values(each: Graph, weights: set[str], values: list[str]) -> Graph:
    """`each` with the values where the first of the weights stood."""
    given = [each.tensor(name) for name in values]
    place = next(place for place, param in enumerate(each.params) if param.name in weights)
    rest = [param for param in each.params if param.name not in {*weights, *values}]
    before = sum(param.name not in weights for param in each.params[:place])
    params = (*rest[:before], *given, *rest[before:])
    wanted = [solve.name for solve in each.solves]
    solves = solve_extents(params, each.constraints, wanted)
    used = {param.element for param in params if isinstance(param, TensorParam)}
    used |= {output.element for output in each.outputs}
    variables = tuple(variable for variable in each.variables if variable in used or variable.name in each.untold)
    return replace(each, params=params, solves=solves, variables=variables, modules=(), overloads=())


def _called(once: Graph, weights: set[str], taken: set[str]) -> dict[str, str]:
    """What a module calls the values: after the weight that they are made of, where that is one."""
    found: dict[str, str] = {}
    (alone,) = weights if len(weights) == 1 else ("",)
    for output in once.outputs:
        name = output.name if not alone or output.name.startswith(f"{alone}_") else f"{alone}_{output.name}"
        while name in taken | set(found.values()):
            name += "_"
        found[output.name] = name
    return found
