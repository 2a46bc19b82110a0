"""A graph as text, for `fusec explain` and for internal errors."""

from __future__ import annotations

from typing import assert_never

from fusec.ir.expressions import (
    Cast,
    Choose,
    Const,
    Dot,
    Elementwise,
    Expr,
    Extent,
    Gather,
    Index,
    Input,
    Layout,
    MaxOf,
    Merge,
    NodeId,
    Part,
    Reduce,
    Rename,
    Scalar,
    Segment,
)
from fusec.ir.graph import SIZE, ChoiceParam, DimParam, DTypeParam, Graph, Param, ScalarParam, Solve, TensorParam, walk
from fusec.ir.show_module import show_module
from fusec.ir.types import Axis, Dim, product_text


def show_graph(graph: Graph) -> str:
    """The whole graph, a line per parameter, reachable node, write, output, extent and check.

    A node reads `%3 n = mul %1, %2 : real[B, S, D]`: its number, its name in the spec, its expression, its type.
    """
    lines = [f"op {graph.name}"]
    lines += [f"  param {_param(param)}" for param in graph.params]
    lines += [f"  type {variable} in {{{', '.join(map(str, variable.options))}}}" for variable in graph.variables]
    for number, node in walk(graph):
        name = f" {node.name}" if node.name else ""
        lines.append(f"  %{number}{name} = {show_expr(node.expr)} : {node.type}")
    for scatter in graph.scatters:
        places = _nodes(scatter.indices) or "..."
        lines.append(f"  write {scatter.param}[{places}] {'+' if scatter.adds else ''}= %{scatter.value}")
    for output in graph.outputs:
        lines.append(f"  output {output.name}: {output.element}{_dims(output.dims)} = %{output.value}")
    lines += [f"  extent {solve.name} = {_solve(solve)}" for solve in graph.solves]
    lines += [f"  check {constraint.text}" for constraint in graph.constraints]
    lines += [f"  {line}" for module in graph.modules for line in show_module(module)]
    lines += [f"  else {name}" for name in graph.overloads]
    return "\n".join(lines)


def show_expr(expr: Expr) -> str:
    """One expression, its operands by their numbers."""
    match expr:
        case Input(param) | Scalar(param):
            return f"{'input' if isinstance(expr, Input) else 'scalar'} {param}"
        case Const(value):
            return f"const {value!r}"
        case MaxOf(dtype):
            return f"max_of {dtype}"
        case Index(axis):
            return f"index {axis}"
        case Extent(dim):
            return f"extent {product_text(dim)}"
        case Elementwise(op, args):
            return f"{op} {_nodes(args)}"
        case Cast(arg, dtype):
            return f"cast %{arg} to {dtype}"
        case Reduce(op, arg, axes):
            return f"{op} %{arg} over {_axes(axes)}"
        case Dot(a, b, axes, accum, precision, rounded):
            sums = f" accum {accum}" if accum != "exact" else ""
            words = [str(rounded)] * (rounded is not None) + [precision] * (precision != "ieee")
            return f"dot %{a}, %{b} over {_axes(axes)}{sums}" + (f" in {', '.join(words)}" if words else "")
        case Part(arg, axis, layout, index):
            return f"{_PART[layout]} {index} of %{arg} over {axis}"
        case Merge(args, axis, layout):
            return f"{_MERGE[layout]} {_nodes(args)} over {axis}"
        case Rename(arg, old, new):
            return f"rename %{arg}, {old} -> {new}"
        case Gather(param, indices):
            return f"gather {param}[{_nodes(indices)}]"
        case Segment(offsets, axis):
            return f"segment %{offsets} over {axis}"
        case Choose(selector, cases):
            return f"choose {selector}: {', '.join(f'{case} %{node}' for case, node in cases)}"
        case _:
            assert_never(expr)


_PART = {Layout.HALVES: "half", Layout.PAIRS: "pair", Layout.PARTS: "part"}
_MERGE = {Layout.HALVES: "join", Layout.PAIRS: "interleave", Layout.PARTS: "concat"}


def _param(param: Param) -> str:
    match param:
        case TensorParam():
            marks = {"weight ": param.static, "mut ": param.mutable, "distinct ": param.distinct}
            kind = next((word for word, marked in marks.items() if marked), "")
            default = f" = {param.default_text}" if param.optional else ""
            passed = f", passed as {param.passed}" if param.passed else ""
            return f"{kind}{param.name}: {param.element}{_dims(param.dims)}{default}{passed}"
        case ScalarParam(name, dtype, default):
            return f"{name}: {dtype}" + ("" if default is None else f" = {default!r}")
        case DimParam(name, axis, inferred):
            return f"{name}: dim({axis})" + (" = infer" if inferred else "")
        case DTypeParam(name, variable, default):
            return f"{name}: dtype({variable})" + (f" = {default}" if default else "")
        case ChoiceParam(name, options, default):
            return f"{name}: {{{', '.join(options)}}}" + (f" = {default}" if default else "")
        case _:
            assert_never(param)


def _solve(solve: Solve) -> str:
    if not solve.param:
        return str(solve.value)
    source = solve.param if solve.dim is None else f"{solve.param}.size({solve.dim})"
    return source if solve.value == SIZE else f"{solve.value} where {SIZE} = {source}"


def _dims(dims: tuple[Dim, ...]) -> str:
    return f"[{', '.join(map(product_text, dims))}]"


def _axes(axes: tuple[Axis, ...]) -> str:
    return ", ".join(map(str, axes))


def _nodes(nodes: tuple[NodeId, ...]) -> str:
    return ", ".join(f"%{node}" for node in nodes)
