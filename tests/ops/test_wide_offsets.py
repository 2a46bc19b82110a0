"""Offsets beyond 32 bits, without the memory: every op of specs/ under every shape of plan.

Pages of a reserved tensor take memory only where they are written; of a launch over 2**31 elements few programs run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from catalogue import Op, all_ops
from torch import Tensor

from fusec.extents.signature import Signature
from fusec.forcing import CHIPS, on_chip
from fusec.interpreter import interpreting
from fusec.ir.expressions import Gather, Input
from fusec.ir.graph import Graph, ScalarParam, reachable
from fusec.ir.places import written_several_times
from fusec.ir.types import Lead
from fusec.numerics.envelope import envelope
from fusec.passes.graph.round_weights import round_weights
from fusec.testing.buffers import guarded_allocations, reserved, reserved_allocations
from fusec.testing.cases import Case, build
from fusec.testing.compare import judge
from fusec.testing.layouts import strides_of
from fusec.testing.memory import Memory
from fusec.testing.metamorphic import independent_axes
from fusec.testing.watching import watched

pytestmark = [
    pytest.mark.skipif(not interpreting(), reason="needs tensors larger than the memory"),
    pytest.mark.parametrize("shape", CHIPS),
]

every_op = pytest.mark.parametrize("op", all_ops(), ids=lambda op: op.name)

FAR = 2**30
"""A stride in elements: the third position along it is beyond 32 bits."""


def written(graph: Graph) -> set[str]:
    """The tensors that an op writes in place."""
    return {tensor.name for tensor in graph.tensors if tensor.mutable}


def picked(graph: Graph) -> set[str]:
    """The tensors of which an op reads, or writes, only what positions in memory name that are always given."""
    given = {tensor.name for tensor in graph.tensors if not tensor.optional}
    gathers = [node.expr for node in graph.nodes if isinstance(node.expr, Gather)]
    below = {each.param: reachable(graph.nodes, each.indices) for each in gathers}
    loads = {
        name: {e.param for n in found if isinstance(e := graph.nodes[n].expr, Input)} for name, found in below.items()
    }
    return written(graph) | {name for name, found in loads.items() if found & given}


APART = [op for op in all_ops() if independent_axes(op.program.graph) and not written(op.program.graph)]
"""Ops whose rows do not know of each other, so that a few can be computed alone: none writes where all of them may."""


def small_case(graph: Graph) -> Case:
    """A call with three positions along every axis, or as many as the signature asks for, of tensors that kernels read.

    One of another type is rounded before, and packed.
    """
    signature = Signature.of(graph)
    extents = {name: 3 * signature.divisors[name] for name in signature.free}
    extents |= {name: value(extents) for name, value in signature.bound.items()}
    scalars = {param.name: param.default for param in graph.params if isinstance(param, ScalarParam)}
    dtypes = {variable.name: variable.options[-1].name for variable in graph.variables}
    rounded = {str(tensor.passed): str(tensor.element) for tensor in round_weights(graph).tensors if tensor.passed}
    dtypes |= {passed: dtypes.get(read, read) for passed, read in rounded.items()}
    lead = (3, 3) if signature.has_lead else ()
    return Case(op=graph.name, seed=1, extents=extents, lead=lead, dtypes=dtypes, scalars=scalars)


def far_apart(contents: Tensor, dim: int) -> Tensor:
    """`contents` where positions of the dimension `dim` are `FAR` apart, the others packed."""
    others = [size if each != dim else 1 for each, size in enumerate(contents.shape)]
    strides = [FAR if each == dim else stride for each, stride in enumerate(strides_of(tuple(others)))]
    tensor = reserved(contents.shape, strides, contents.dtype)
    return tensor.copy_(contents)


@every_op
def test_strides_of_2_30(op: Op, shape: str) -> None:
    graph = op.program.forms[0]
    case = small_case(graph)
    arguments = build(graph, case).arguments
    bounds = envelope(graph, arguments)
    tensors = {name: value for name, value in arguments.items() if isinstance(value, Tensor)}
    for dim in range(max(contents.ndim for contents in tensors.values())):
        far = {name: far_apart(contents, dim) for name, contents in tensors.items() if dim < contents.ndim}
        given = {**arguments, **far}
        several = written_several_times(graph)
        watch = watched({each: given[each] for each in tensors}, written(graph), shared=several)
        with on_chip(op.module, CHIPS[shape]), guarded_allocations(), watch as memory:
            results = op.call(**given)
        for name in far.keys() - prepared(op, memory) - picked(graph):
            tensor = far[name]
            assert memory.highest[name] - memory.lowest[name] >= 2 * FAR * tensor.element_size()
        made = dict(zip((output.name for output in graph.outputs), listed(results), strict=True))
        made |= {name: given[name] for name in written(graph)}
        for output, bound in bounds.items():
            judge(f"{output}, with {', '.join(far)} far apart along {dim}", made[output], bound)


@pytest.mark.parametrize("op", APART, ids=lambda op: op.name)
def test_more_than_2_31_elements(op: Op, shape: str) -> None:
    """The last row of very many is as it would be alone."""
    if shape == "library" and any(partition.name == "library" for partition in op.program.cut):
        pytest.skip("the library multiplies all of it, not a few programs' share: that takes the memory")
    graph = op.program.forms[0]
    (axis, *_) = independent_axes(graph)
    alone = small_case(graph)
    alone = replace(alone, lead=(1,)) if axis == Lead() else replace(alone, extents={**alone.extents, str(axis): 1})
    arguments = build(graph, alone).arguments
    bounds = envelope(graph, arguments)
    dims = {param.name: param.dims.index((axis,)) for param in graph.tensors if (axis,) in param.dims}
    largest = max(arguments[name].numel() for name in dims)
    given = arguments | {name: last_of_many(arguments[name], dim, 2**31 // largest + 3) for name, dim in dims.items()}
    watch = watched({name: value for name, value in given.items() if isinstance(value, Tensor)}, order=last_ones)
    with on_chip(op.module, CHIPS[shape]), reserved_allocations(), watch as memory:
        try:
            results = op.call(**given)
        except OverflowError:
            pytest.skip("one program for each of these rows, which are too short for it, is more than a grid has")
    spans = [memory.highest[name] - memory.lowest[name] for name in dims]
    assert max(spans) >= 2**31
    for (output, bound), result in zip(bounds.items(), listed(results), strict=True):
        dim = next(o.dims.index((axis,)) for o in graph.outputs if o.name == output)
        judge(output, result.narrow(dim, result.shape[dim] - 1, 1), bound)


def prepared(op: Op, memory: Memory) -> set[str]:
    """Arguments that no kernel read: the plan reads what torch made of them, packed, before it was launched."""
    once = op.program.once
    return {tensor.name for tensor in once.tensors if tensor.name not in memory.highest} if once else set()


def last_of_many(row: Tensor, dim: int, count: int) -> Tensor:
    """A tensor of `count` positions along `dim`, zeros but for the last one, which is `row`."""
    shape = (*row.shape[:dim], count, *row.shape[dim + 1 :])
    tensor = reserved(shape, strides_of(shape), row.dtype)
    tensor.narrow(dim, count - 1, 1).copy_(row)
    return tensor


def last_ones(count: int) -> Sequence[int]:
    """The first program, and the last ones of every half and third.

    A launch for two groups of outputs deals a half to each, and one with an axis of three in front of rows a third.
    """
    ends = {count * part // parts for parts in (2, 3) for part in range(1, parts + 1)}
    return sorted({0, *(program for end in ends for program in range(max(end - 16, 0), end))})


def listed(results: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return results if isinstance(results, tuple) else (results,)
