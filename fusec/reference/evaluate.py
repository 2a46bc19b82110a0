"""Evaluates a graph on tensors: the meaning of an op, in f64, with declared casts honoured and nothing else rounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never

import torch
from torch import Tensor

from fusec.ir.expressions import (
    Cast,
    Choose,
    Const,
    Dot,
    Elementwise,
    Extent,
    Gather,
    Index,
    Input,
    MaxOf,
    Merge,
    NodeId,
    Part,
    Reduce,
    Rename,
    Scalar,
    Segment,
    operands,
)
from fusec.ir.formats import largest_of
from fusec.ir.graph import Graph, Node, ScalarParam, TensorParam
from fusec.ir.types import Axis, Kind, ValueType, union, without
from fusec.reference.axes import Array, add_at, gather, load, merge_parts, scatter, segment, store, take_part
from fusec.reference.bind import Binding, bind
from fusec.reference.meaning import elementwise, reduction
from fusec.reference.rounding import MEANING_DTYPES, as_kind, round_to, widen


def evaluate(
    graph: Graph, arguments: Mapping[str, Tensor | float | int | bool | str | torch.dtype | None]
) -> dict[str, Tensor]:
    """The outputs of an op, and the new contents of its `mut` tensors, by name.

    Reals come in f64, integers in i64, truth values in bool: outputs are not rounded to their dtype. Raises
    `ArgumentError` for arguments that do not fit.
    """
    binding = bind(graph, arguments)
    values: dict[NodeId, Array] = {}
    for number in chosen(graph, binding):
        node = graph.nodes[number]
        values[number] = _value(graph, node, binding, values.__getitem__)
    results = {output.name: store(values[output.value], output.dims, binding) for output in graph.outputs}
    for param in graph.tensors:
        if param.mutable and param.name in binding.tensors:
            results[param.name] = widen(binding.tensors[param.name])
    for write in graph.scatters:
        param = graph.tensor(write.param)
        indices = tuple(values[index] for index in write.indices)
        value = values[write.value]
        held = Array(value.tensor.to(results[param.name].dtype), value.axes)
        put = add_at if write.adds else scatter
        results[param.name] = put(results[param.name], param.dims, indices, held, binding)
    return results


def chosen(graph: Graph, binding: Binding) -> list[NodeId]:
    """The nodes this call needs, in topological order: of every `Choose` only the case picked."""
    needed: set[NodeId] = set()
    stack = list(graph.roots)
    while stack:
        number = stack.pop()
        if number not in needed:
            needed.add(number)
            expr = graph.nodes[number].expr
            stack.extend((picked(expr, binding),) if isinstance(expr, Choose) else operands(expr))
    return sorted(needed)


def picked(expr: Choose, binding: Binding) -> NodeId:
    """The case of `expr` that the arguments picked."""
    return dict(expr.cases)[binding.picks[expr.selector]]


def source(graph: Graph, expr: Input | Scalar | Const | MaxOf | Index | Extent, binding: Binding) -> Array:
    """A value that depends on no other: exact, or rounded to its declared dtype when it is a scalar."""
    match expr:
        case Input(name):
            param = graph.param(name)
            assert isinstance(param, TensorParam)
            return load(widen(binding.tensors[name]), param.dims, binding)
        case Scalar(name):
            scalar = graph.param(name)
            assert isinstance(scalar, ScalarParam)
            passed = _number(binding.scalars[name], scalar.dtype.kind, binding)
            return Array(round_to(passed, scalar.dtype), ())
        case Const(value):
            kind = Kind.BOOL if isinstance(value, bool) else Kind.INT if isinstance(value, int) else Kind.REAL
            return Array(_number(value, kind, binding), ())
        case MaxOf(storage):
            dtype = binding.storage(storage)
            return Array(_number(largest_of(dtype), dtype.kind, binding), ())
        case Index(axis):
            return Array(torch.arange(binding.extent(axis), device=binding.device), (axis,))
        case Extent(dim):
            return Array(_number(binding.size(dim), Kind.INT, binding), ())
        case _:
            assert_never(expr)


def rearranged(
    expr: Part | Merge | Rename | Choose, type: ValueType, parts: tuple[Array, ...], binding: Binding
) -> Array:
    """A value that moves the elements of `parts` and computes nothing; of a `Choose`, `parts` is the case picked."""
    match expr:
        case Part():
            return take_part(expr, parts[0], type.axes, binding)
        case Merge():
            held = tuple(Array(as_kind(part.tensor, type.kind), part.axes) for part in parts)
            return merge_parts(expr, held, type.axes, binding)
        case Rename(old=old, new=new):
            return Array(parts[0].tensor, tuple(new if axis == old else axis for axis in parts[0].axes))
        case Choose():
            return Array(as_kind(parts[0].over(type.axes, binding), type.kind), type.axes)
        case _:
            assert_never(expr)


def dims_of(array: Array, axes: tuple[Axis, ...]) -> list[int]:
    """The dimensions of `array` that `axes` are."""
    return [array.axes.index(axis) for axis in axes]


def dot(a: Array, b: Array, over: tuple[Axis, ...]) -> Array:
    """Sum over the axes `over` of the product; other shared axes are batch axes. Exact in f64 for integer operands."""
    axes = union(a.axes, b.axes)
    kept = without(axes, over)
    letters = {axis: place for place, axis in enumerate(axes)}
    result = torch.einsum(
        a.tensor.to(torch.float64),
        [letters[axis] for axis in a.axes],
        b.tensor.to(torch.float64),
        [letters[axis] for axis in b.axes],
        [letters[axis] for axis in kept],
    )
    return Array(result, kept)


def _value(graph: Graph, node: Node, binding: Binding, value: Callable[[NodeId], Array]) -> Array:
    expr, axes = node.expr, node.type.axes
    match expr:
        case Input() | Scalar() | Const() | MaxOf() | Index() | Extent():
            return source(graph, expr, binding)
        case Part() | Merge() | Rename():
            return rearranged(expr, node.type, tuple(value(n) for n in operands(expr)), binding)
        case Choose():
            return rearranged(expr, node.type, (value(picked(expr, binding)),), binding)
        case Elementwise(op, args):
            return Array(elementwise(op, tuple(value(arg).along(axes) for arg in args)), axes)
        case Cast(arg, dtype):
            return Array(round_to(value(arg).tensor, binding.storage(dtype)), value(arg).axes)
        case Reduce(op, arg, over):
            operand = value(arg)
            return Array(reduction(op, operand.tensor, dims_of(operand, over)), without(operand.axes, over))
        case Dot(a, b, over):
            product = dot(value(a), value(b), over)
            return Array(as_kind(product.tensor, node.type.kind), product.axes)
        case Gather(name, indices):
            table = widen(binding.tensors[name])
            return gather(table, graph.tensor(name).dims, tuple(value(index) for index in indices), binding)
        case Segment(offsets, axis):
            return Array(segment(value(offsets), binding.extent(axis)), (axis,))
        case _:
            assert_never(expr)


def _number(value: float | int | bool, kind: Kind, binding: Binding) -> Tensor:
    return torch.tensor(value, dtype=MEANING_DTYPES[kind], device=binding.device)
