"""Unpack: numbers that share a byte become arithmetic on bytes, and what is stored so becomes bytes.

Before: `w: i4[M, N]` and what is made of it; after: `w: u8[M, N/2]`, and `interleave(low, high, over=N)` of the digits
of each byte in its place, decoded (`codes.py`). An output or a `mut` tensor of such a type takes the pairs of its
values as one byte. Of eight bits, f8e8m0 is held in bytes in the same way, one for each number. Nothing behind this
pass knows of such types: an address, a mask, a bound and a reference are those of bytes.

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
    Expr,
    Gather,
    Input,
    Layout,
    Merge,
    NodeId,
    Part,
)
from fusec.ir.graph import Graph, Node, Output, Param, ScalarParam, Scatter, TensorParam
from fusec.ir.type_rules import TypeFault, part_axes
from fusec.ir.types import Axis, Computed, Dim, DType, Kind, ValueType, product_text, union
from fusec.passes.graph.codes import BYTE, Writer, both_decoded, decoded, encoded, rounded, unsigned


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
        self._codes: dict[NodeId, NodeId] = {}
        """The digits of what is rounded to a real type, which are not looked for again where it is stored."""

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
        return replace(param, element=BYTE, dims=_bytes(param), holds=_text(param))

    def _output(self, builder: GraphBuilder, old: Output, new: Output) -> Output:
        if not _is_packed(old.element):
            return new
        value = self._stored(self._writer(builder, old.span), old, self._graph.nodes[old.value], new.value)
        return replace(new, element=BYTE, dims=_bytes(old), value=value, holds=_text(old))

    def _scatter(self, builder: GraphBuilder, old: Scatter, new: Scatter) -> Scatter:
        tensor = self._packed.get(old.param)
        if tensor is None:
            return new
        if old.adds:
            raise _fault(old.span, f"`{old.param}` holds `{tensor.element}`, to which nothing can be added in place")
        if len(old.indices) == len(tensor.dims) and _share(tensor):
            message = f"two numbers of `{old.param}` share a byte: positions of its last dimension cannot be written"
            raise _fault(old.span, message, "write all of its last dimension")
        value = self._stored(self._writer(builder, old.span), tensor, self._graph.nodes[old.value], new.value)
        return replace(new, value=value)

    # --- From bytes to numbers -----------------------------------------------------------------------------------

    def _changed(self, builder: GraphBuilder, node: Node, new: tuple[NodeId, ...]) -> NodeId:
        write = self._writer(builder, node.span)
        match node.expr:
            case Input(param) if param in self._packed:
                return self._numbers(write, self._packed[param], node.expr)
            case Gather(param) if param in self._packed:
                return self._looked_up(write, self._packed[param], new, node)
            case Cast(dtype=DType(packed=True) as dtype):
                value = rounded(write, new[0], dtype, node.name)
                self._codes[value] = encoded(write, new[0], dtype)
                return value
            case _ if _is_packed(node.type.element):
                # A choice among packed numbers, or a view of them.
                return keep(builder, replace(node, type=ValueType(Computed(node.type.kind), node.type.axes)), new)
            case _:
                return keep(builder, node, new)

    def _looked_up(self, write: Writer, tensor: TensorParam, indices: tuple[NodeId, ...], node: Node) -> NodeId:
        if len(indices) < len(tensor.dims) or not _share(tensor):
            for part in part_axes(tensor.dims[-1][-1]) if _share(tensor) else ():
                if any(part in write.builder[index].type.axes for index in indices):
                    message = f"`{tensor.name}` has a byte for each position of `{part}`, and so has what looks it up"
                    raise _fault(node.span, message, f"give the index another axis: `rename(..., {part} -> NAME)`")
            if len(indices) < len(tensor.dims):
                return self._numbers(write, tensor, Gather(tensor.name, indices))
            return decoded(write, self._byte(write, tensor, Gather(tensor.name, indices)), _dtype(tensor))
        *outer, last = indices
        byte = self._byte(write, tensor, Gather(tensor.name, (*outer, write.by("rshift", last, 1))))
        moved = write.apply("rshift", byte, write.by("lshift", write.by("bitand", last, 1), 2))
        return decoded(write, write.by("bitand", moved, 15), _dtype(tensor))

    def _byte(self, write: Writer, tensor: TensorParam, expr: Expr) -> NodeId:
        """What is loaded, once for both numbers; 0 where the tensor is omitted, which nothing asks for."""
        byte = write.add(expr, tensor.name)
        if not tensor.optional:
            return byte
        return write.add(Choose(tensor.name, ((GIVEN, byte), (OMITTED, write.number(0)))))

    def _numbers(self, write: Writer, tensor: TensorParam, expr: Expr) -> NodeId:
        """The numbers of each byte, in their order."""
        byte = self._byte(write, tensor, expr)
        if not _share(tensor):
            return decoded(write, byte, _dtype(tensor))
        return write.add(Merge(both_decoded(write, byte, _dtype(tensor)), tensor.dims[-1][-1], Layout.PAIRS))

    # --- From numbers to bytes -----------------------------------------------------------------------------------

    def _stored(self, write: Writer, holder: TensorParam | Output, old: Node, value: NodeId) -> NodeId:
        """The bytes of what is stored: the digits of a number, or of two neighbours along the innermost axis."""
        dtype = _dtype(holder)
        if value in self._codes and old.type.element == dtype:
            code = self._codes[value]
        elif dtype.kind is Kind.INT and old.type.element == dtype:
            code = unsigned(write, value, dtype)
        else:
            code = encoded(write, value, dtype)
        if not _share(holder):
            return code
        inner = holder.dims[-1][-1]
        first = second = code
        if inner in write.builder[code].type.axes:
            first, second = (write.add(Part(code, inner, Layout.PAIRS, place)) for place in (0, 1))
        return write.apply("add", first, write.by("mul", second, 16))

    def _writer(self, builder: GraphBuilder, span: Span | None) -> Writer:
        return Writer(builder, self._typed, span)

    def _typed(self, name: str) -> TensorParam | ScalarParam:
        param = self._params[name]
        assert isinstance(param, TensorParam | ScalarParam)
        return param


def _is_packed(element: object) -> bool:
    return isinstance(element, DType) and element.packed


def _dtype(holder: TensorParam | Output) -> DType:
    assert isinstance(holder.element, DType)
    return holder.element


def _share(holder: TensorParam | Output) -> bool:
    """Whether two numbers share a byte."""
    return _dtype(holder).bits < BYTE.bits


def _bytes(holder: TensorParam | Output) -> tuple[Dim, ...]:
    """The dimensions of the bytes: half of the innermost axis where two numbers share one."""
    if not _share(holder):
        return holder.dims
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
