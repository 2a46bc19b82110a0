"""Unpack: numbers that share a byte become arithmetic on bytes, and what is stored so becomes bytes.

Before: `w: i4[M, N]` and what is made of it; after: `w: u8[M, N/2]`, and `interleave(low, high, over=N)` of the digits
of each byte in its place. An output or a `mut` tensor of such a type takes the pairs of its values as one byte. Nothing
behind this pass knows of such types: an address, a mask, a bound and a reference are those of bytes.

The numbers 2i and 2i + 1 along the last dimension share byte i, the first one in its low digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fusec.diagnostics import Diagnostic, Span, SpecError
from fusec.ir.builder import Builder, GraphBuilder, keep, rebuild
from fusec.ir.expressions import (
    GIVEN,
    OMITTED,
    Cast,
    Choose,
    Const,
    Elementwise,
    Expr,
    Gather,
    Input,
    Layout,
    Merge,
    NodeId,
    Part,
)
from fusec.ir.formats import limits
from fusec.ir.graph import Graph, Node, Output, Param, ScalarParam, Scatter, TensorParam
from fusec.ir.type_rules import TypeFault, infer, part_axes
from fusec.ir.types import DTYPES, Axis, Computed, Dim, DType, Storage, ValueType, product_text, union

_BYTE = DTYPES["u8"]
_WHOLE = DTYPES["i8"]
"""What every number of four bits is a number of."""


def unpack(graph: Graph) -> Graph:
    """The graph with every tensor of packed numbers as one of bytes."""
    stored = [*(tensor.element for tensor in graph.tensors), *(output.element for output in graph.outputs)]
    cast = [node.expr.dtype for node in graph.nodes if isinstance(node.expr, Cast)]
    if not any(map(_is_packed, (*stored, *cast))):
        return graph
    return _Unpacker(graph).graph()


class _Unpacker:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._packed: Mapping[str, TensorParam] = {t.name: t for t in graph.tensors if _is_packed(t.element)}
        self._params: Mapping[str, Param] = {param.name: self._param(param) for param in graph.params}
        self._outputs = {output.name: output for output in graph.outputs if _is_packed(output.element)}

    def graph(self) -> Graph:
        """The graph on bytes."""
        rebuilt = rebuild(self._graph, self._changed)
        builder = Builder[Expr]()
        for node in rebuilt.nodes:
            builder.add(node.expr, node.type, node.name, node.span)
        outputs = tuple(
            self._output(builder, old, new) for old, new in zip(self._graph.outputs, rebuilt.outputs, strict=True)
        )
        scatters = tuple(
            self._scatter(builder, old, new) for old, new in zip(self._graph.scatters, rebuilt.scatters, strict=True)
        )
        return replace(
            rebuilt, params=tuple(self._params.values()), nodes=builder.nodes, outputs=outputs, scatters=scatters
        )

    # --- What holds packed numbers -------------------------------------------------------------------------------

    def _param(self, param: Param) -> Param:
        if not isinstance(param, TensorParam) or not _is_packed(param.element):
            return param
        return replace(param, element=_BYTE, dims=_bytes(param), holds=_text(param))

    def _output(self, builder: GraphBuilder, old: Output, new: Output) -> Output:
        if not _is_packed(old.element):
            return new
        value = self._pairs(builder, old.element, old.dims, self._graph.nodes[old.value], new.value)
        return replace(new, element=_BYTE, dims=_bytes(old), value=value, holds=_text(old))

    def _scatter(self, builder: GraphBuilder, old: Scatter, new: Scatter) -> Scatter:
        tensor = self._packed.get(old.param)
        if tensor is None:
            return new
        if old.adds:
            raise _fault(old.span, f"`{old.param}` holds `{tensor.element}`, to which nothing can be added in place")
        if len(old.indices) == len(tensor.dims):
            message = f"two numbers of `{old.param}` share a byte: positions of its last dimension cannot be written"
            raise _fault(old.span, message, "write all of its last dimension")
        value = self._pairs(builder, tensor.element, tensor.dims, self._graph.nodes[old.value], new.value)
        return replace(new, value=value)

    # --- From bytes to numbers -----------------------------------------------------------------------------------

    def _changed(self, builder: GraphBuilder, node: Node, new: tuple[NodeId, ...]) -> NodeId:
        match node.expr:
            case Input(param) if param in self._packed:
                byte = self._byte(builder, self._packed[param], node.expr, node)
                return self._numbers(builder, self._packed[param], byte, node)
            case Gather(param) if param in self._packed:
                return self._looked_up(builder, self._packed[param], new, node)
            case Cast(dtype=DType(packed=True) as dtype):
                return self._rounded(builder, new[0], dtype, node)
            case _ if _is_packed(node.type.element):
                # A choice among packed numbers, or a view of them.
                return keep(builder, replace(node, type=ValueType(Computed(node.type.kind), node.type.axes)), new)
            case _:
                return keep(builder, node, new)

    def _looked_up(self, builder: GraphBuilder, tensor: TensorParam, indices: tuple[NodeId, ...], node: Node) -> NodeId:
        if len(indices) < len(tensor.dims):
            for part in part_axes(tensor.dims[-1][-1]):
                if any(part in builder[index].type.axes for index in indices):
                    message = f"`{tensor.name}` has a byte for each position of `{part}`, and so has what looks it up"
                    raise _fault(node.span, message, f"give the index another axis: `rename(..., {part} -> NAME)`")
            byte = self._byte(builder, tensor, Gather(tensor.name, indices), node)
            return self._numbers(builder, tensor, byte, node)
        *outer, last = indices
        place = self._apply(builder, "rshift", last, 1, node=node)
        byte = self._byte(builder, tensor, Gather(tensor.name, (*outer, place)), node)
        shift = self._apply(builder, "lshift", self._apply(builder, "bitand", last, 1, node=node), 2, node=node)
        moved = self._add(builder, Elementwise("rshift", (byte, shift)), node)
        return self._decoded(builder, self._apply(builder, "bitand", moved, 15, node=node), tensor.element, node)

    def _byte(self, builder: GraphBuilder, tensor: TensorParam, expr: Expr, node: Node) -> NodeId:
        """What is loaded, once for both numbers; 0 where the tensor is omitted, which nothing asks for."""
        byte = self._add(builder, expr, node, name=tensor.name)
        if not tensor.optional:
            return byte
        none = self._add(builder, Const(0), node)
        return self._add(builder, Choose(tensor.name, ((GIVEN, byte), (OMITTED, none))), node)

    def _numbers(self, builder: GraphBuilder, tensor: TensorParam, byte: NodeId, node: Node) -> NodeId:
        """Both numbers of each byte, in their order."""
        digits = (
            self._apply(builder, "bitand", byte, 15, node=node),
            self._apply(builder, "rshift", byte, 4, node=node),
        )
        both = tuple(self._decoded(builder, each, tensor.element, node) for each in digits)
        return self._add(builder, Merge(both, tensor.dims[-1][-1], Layout.PAIRS), node)

    def _decoded(self, builder: GraphBuilder, digits: NodeId, element: Storage, node: Node) -> NodeId:
        if limits(_dtype(element))[0] == 0:
            return digits
        return self._apply(builder, "sub", self._apply(builder, "bitxor", digits, 8, node=node), 8, node=node)

    # --- From numbers to bytes -----------------------------------------------------------------------------------

    def _rounded(self, builder: GraphBuilder, value: NodeId, dtype: DType, node: Node) -> NodeId:
        """A number of four bits, as one of eight."""
        least, most = limits(dtype)
        inside = self._apply(builder, "maximum", value, least, node=node)
        inside = self._apply(builder, "minimum", inside, most, node=node)
        return self._add(builder, Cast(inside, _WHOLE), node, name=node.name)

    def _pairs(
        self, builder: GraphBuilder, element: Storage, dims: tuple[Dim, ...], old: Node, value: NodeId
    ) -> NodeId:
        """The bytes of what is stored: pairs of neighbours along the innermost axis."""
        if old.type.element != element:
            value = self._rounded(builder, value, _dtype(element), replace(old, name=None))
        inner = dims[-1][-1]
        if inner not in builder[value].type.axes:
            first = second = self._apply(builder, "bitand", value, 15, node=old)
        else:
            halves = (self._add(builder, Part(value, inner, Layout.PAIRS, place), old) for place in (0, 1))
            first, second = (self._apply(builder, "bitand", half, 15, node=old) for half in halves)
        high = self._apply(builder, "lshift", second, 4, node=old)
        return self._add(builder, Elementwise("bitor", (first, high)), old)

    # --- Nodes ---------------------------------------------------------------------------------------------------

    def _apply(self, builder: GraphBuilder, op: str, value: NodeId, number: int, node: Node) -> NodeId:
        return self._add(builder, Elementwise(op, (value, self._add(builder, Const(number), node))), node)

    def _add(self, builder: GraphBuilder, expr: Expr, node: Node, name: str | None = None) -> NodeId:
        return builder.add(expr, infer(expr, lambda number: builder[number].type, self._typed), name, node.span)

    def _typed(self, name: str) -> TensorParam | ScalarParam:
        param = self._params[name]
        assert isinstance(param, TensorParam | ScalarParam)
        return param


def _is_packed(element: object) -> bool:
    return isinstance(element, DType) and element.packed


def _dtype(element: Storage) -> DType:
    assert isinstance(element, DType)
    return element


def _bytes(holder: TensorParam | Output) -> tuple[Dim, ...]:
    """The dimensions of the bytes: half of the innermost axis."""
    *outer, inner = _innermost(holder)
    try:
        parts = part_axes(inner)
    except TypeFault as fault:
        message = f"`{holder.element}` is stored two to a byte, along an axis that has halves: {fault.message}"
        raise _fault(holder.span, message, "end the last dimension in a named axis, or in an even number") from None
    for part in parts:
        if part in union(*holder.dims):
            message = f"`{holder.name}` has a byte for each position of `{part}`, and an axis `{part}` beside it"
            raise _fault(holder.span, message, "give that one a name of its own")
    return (*holder.dims[:-1], (*outer, *parts))


def _innermost(holder: TensorParam | Output) -> tuple[Axis, ...]:
    if not holder.dims or not holder.dims[-1]:
        message = f"`{holder.name}` is one `{holder.element}`, and two of these share a byte"
        raise _fault(holder.span, message, "give it a dimension of an even number of positions, or use `i8`")
    return holder.dims[-1]


def _text(holder: TensorParam | Output) -> str:
    return f"{holder.element}[{', '.join(map(product_text, holder.dims))}]"


def _fault(span: Span | None, message: str, help: str | None = None) -> SpecError:
    assert span is not None
    return SpecError((Diagnostic(message, span, help=help),))
