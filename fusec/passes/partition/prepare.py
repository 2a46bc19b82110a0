"""Prepare: what follows from weights alone becomes a graph of its own, whose results every call reads as tensors.

Before: `y = dot(x, cast(w, f32) * scale, over=K)` with the weights `w` and `scale`. After, two graphs:
- once for the weights, `w_ready = cast(w, f32) * scale`, in the type that the dot multiplies in, with K innermost;
- in every call, `y = dot(x, w_ready, over=K)`.

Prepared are the operands of dots that are no stored weights of that type, and what a reduction or a dot makes of
weights where it is read behind a dot, or for what is: a kernel there reads the weight for nothing else. What else is
made of weights (`1 + gain`) costs kernels nothing. What needs a number of the call, or `...`, is not prepared.

Relies on a simplified graph. It must not be one from which factors were deferred: a gain that went from an argument
into a weight would cost the memory of that weight again.
"""

from __future__ import annotations

from dataclasses import replace

from fusec.ir.bottom_up import BottomUp
from fusec.ir.builder import Builder, keep
from fusec.ir.expressions import (
    Cast,
    Choose,
    Dot,
    Expr,
    Extent,
    Gather,
    Index,
    Input,
    MaxOf,
    NodeId,
    Reduce,
    Scalar,
    operands,
)
from fusec.ir.graph import DimParam, Graph, Node, Output, TensorParam, reachable
from fusec.ir.partition import Intermediate, Split
from fusec.ir.sizes import symbols_in
from fusec.ir.types import DTYPES, Axis, Dim, Kind, Lead, Named, Storage, product_extent, union, without
from fusec.passes.graph.solve_extents import solve_extents
from fusec.passes.partition.intermediates import Intermediates
from fusec.passes.partition.operands import is_stored, is_unpacked, stored_as
from fusec.passes.partition.reading import Reading


def prepare(graph: Graph) -> Split:
    """What is computed once and what in every call."""
    return _Divider(graph).split()


class _Divider:
    """Finds what to prepare: operands of dots, each in the type it is multiplied in, and values for other readers."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes = graph.nodes
        self._intermediates = Intermediates(graph)
        self._static = _static(graph)
        self._behind = _with(graph, Dot)
        self._beside = _operands_of(graph, self._behind)
        self._costly = self._behind | _with(graph, Reduce)
        self._operands: dict[tuple[NodeId, Storage], Intermediate] = {}
        self._values: dict[NodeId, Intermediate] = {}
        self._is_compact = BottomUp(self._costly_operands, self._compact)
        for reader in graph.live:
            if reader not in self._static:
                for number in self._static.intersection(operands(self._nodes[reader].expr)):
                    self._divide(reader, number)

    def split(self) -> Split:
        """The two graphs."""
        # What a dot and another reader take alike is one tensor.
        found = [*((number, one) for (number, _), one in self._operands.items()), *self._values.items()]
        held = list(dict.fromkeys(found))
        return Split(self._once(held), self._each([one for _, one in held])) if held else Split(None, self._graph)

    def _divide(self, reader: NodeId, number: NodeId) -> None:
        """Prepare what a node is to a reader that is computed in every call, or parts of it."""
        dot = self._nodes[reader].expr
        if not isinstance(dot, Dot):
            if reader in self._behind or reader in self._beside:
                self._keep(number)
            return
        storage = self._multiplied(dot, number)
        if storage is None or not self._is_given(number) or is_stored(self._graph, number, storage, dot.axes):
            return
        if is_unpacked(self._graph, number, storage):
            return
        if (number, storage) not in self._operands:
            self._operands[number, storage] = self._held(number, storage, dot.axes)

    def _keep(self, number: NodeId) -> None:
        """Prepare a value, or of one with more elements than what is reduced in it, only that."""
        stack, seen = [number], set[NodeId]()
        while stack:
            number = stack.pop()
            node = self._nodes[number]
            if number in seen or number not in self._costly or number in self._values:
                continue
            seen.add(number)
            if self._is_given(number) and self._is_compact(number) and node.type.kind is not Kind.BOOL:
                self._values[number] = self._held(number, self._exact(node), ())
            else:
                stack += reversed(operands(node.expr))

    def _compact(self, number: NodeId) -> bool:
        """Whether a value has no more elements than the reductions and dots in it."""
        node = self._nodes[number]
        compact = [n for n in self._costly_operands(number) if self._is_compact(n)]
        axes = union(*(self._nodes[n].type.axes for n in compact))
        return isinstance(node.expr, Reduce | Dot) or (bool(compact) and not without(node.type.axes, axes))

    def _costly_operands(self, number: NodeId) -> list[NodeId]:
        return [n for n in operands(self._nodes[number].expr) if n in self._costly]

    def _is_given(self, number: NodeId) -> bool:
        """Whether a value is made of a weight that no call leaves out."""
        return any(not self._graph.tensor(name).optional for name in _read(self._graph, number))

    def _exact(self, node: Node) -> Storage:
        """The type in which nothing of a value is lost: that of its cast, or the one that it is computed in."""
        if isinstance(node.expr, Cast):
            return node.expr.dtype
        return DTYPES["i64" if node.type.kind is Kind.INT else "f64" if self._graph.may_be_wide else "f32"]

    def _held(self, number: NodeId, storage: Storage, inner: tuple[Axis, ...]) -> Intermediate:
        """A tensor for a value, called after it or after the first weight in it."""
        return self._intermediates.own(number, storage, inner, f"{_read(self._graph, number)[0]}_ready")

    def _once(self, held: list[tuple[NodeId, Intermediate]]) -> Graph:
        """What makes the prepared tensors. Its parameters are weights, and the extents that these do not tell."""
        graph, builder, new = self._graph, Builder[Expr](), dict[NodeId, NodeId]()
        for number in sorted(reachable(graph.nodes, tuple(number for number, _ in held))):
            node = self._nodes[number]
            new[number] = keep(builder, node, tuple(new[n] for n in operands(node.expr)))
        outputs = tuple(Output(one.name, one.element, one.dims, new[number]) for number, one in held)
        names = {name for number, _ in held for name in _read(graph, number)}
        weights = tuple(tensor for tensor in graph.tensors if tensor.name in names)
        types: set[Storage] = {node.expr.dtype for node in builder.nodes if isinstance(node.expr, Cast | MaxOf)}
        types.update(output.element for output in outputs)
        types.update(weight.element for weight in weights if not weight.optional)
        once = replace(graph, params=weights, outputs=outputs, nodes=builder.nodes, scatters=(), modules=())
        return _sized(replace(once, variables=tuple(variable for variable in graph.variables if variable in types)))

    def _each(self, held: list[Intermediate]) -> Graph:
        """What every call computes, with the prepared tensors among its own."""
        graph, each = self._graph, Reading(self._graph, self._prepared)
        outputs = tuple(replace(output, value=each.value(output.value)) for output in graph.outputs)
        scatters = tuple(map(each.write, graph.scatters))
        tensors = (TensorParam(one.name, one.element, one.dims, static=True) for one in held)
        params = (*graph.params, *tensors)
        return replace(graph, params=params, outputs=outputs, nodes=each.builder.nodes, scatters=scatters)

    def _prepared(self, reader: NodeId | None, number: NodeId) -> Intermediate | None:
        """The tensor that a node is to one of its readers."""
        if reader is None:
            return None
        dot = self._nodes[reader].expr
        storage = self._multiplied(dot, number) if isinstance(dot, Dot) else None
        return self._operands.get((number, storage)) if storage else self._values.get(number)

    def _multiplied(self, dot: Dot, number: NodeId) -> Storage | None:
        """The type in which a dot multiplies one of its operands, if both can be stored for it."""
        types = stored_as(self._graph, dot)
        return types[number != dot.a] if types else None


def _static(graph: Graph) -> set[NodeId]:
    """The nodes that follow from weights and literals, and from extents and types of weights."""
    weights = {tensor.name: tensor for tensor in graph.tensors if tensor.static}
    dims = [dim for weight in weights.values() for dim in weight.dims if dim != (Lead(),)]
    extents = set(symbols_in(list(map(product_extent, dims))))
    found: set[NodeId] = set()
    for number, node in enumerate(graph.nodes):
        match node.expr:
            case Input(param) | Gather(param):
                known = param in weights
            case Choose(selector):
                known = selector in weights
            case Extent(dim):
                known = extents.issuperset(symbols_in([product_extent(dim)]))
            case Index(axis):
                known = extents.issuperset(symbols_in([product_extent((axis,))]))
            case Scalar():
                known = False
            case _:
                known = True
        if known and Lead() not in node.type.axes and found.issuperset(operands(node.expr)):
            found.add(number)
    return found


def _with(graph: Graph, kind: type[Reduce | Dot]) -> set[NodeId]:
    """The nodes that are, or depend on, an expression of some kind."""
    found: set[NodeId] = set()
    for number, node in enumerate(graph.nodes):
        if isinstance(node.expr, kind) or found.intersection(operands(node.expr)):
            found.add(number)
    return found


def _operands_of(graph: Graph, behind: set[NodeId]) -> set[NodeId]:
    """What values behind dots are made of beside these."""
    found: set[NodeId] = set()
    for number in reversed(graph.live):
        expr = graph.nodes[number].expr
        if (number in behind or number in found) and not isinstance(expr, Dot):
            found.update(set(operands(expr)) - behind)
    return found


def _read(graph: Graph, number: NodeId) -> list[str]:
    """The tensors that a value is made of."""
    found: dict[str, None] = {}
    for one in sorted(reachable(graph.nodes, (number,))):
        match graph.nodes[one].expr:
            case Input(name) | Gather(name) | Choose(name):
                found[name] = None
    return list(found)


def _sized(graph: Graph) -> Graph:
    """A graph of weights with the ways to find its extents. One that does not follow is a parameter."""
    dims: list[Dim] = [(axis,) for node in graph.nodes for axis in node.type.axes]
    dims += [node.expr.dim for node in graph.nodes if isinstance(node.expr, Extent)]
    dims += [dim for tensor in graph.tensors for dim in tensor.dims]
    names = sorted(symbols_in(list(map(product_extent, dims))))
    rules = [rule for rule in graph.constraints if set(symbols_in([rule.left, rule.right])) <= set(names)]
    solved = {solve.name for solve in solve_extents(graph.params, rules, names)}
    params = (*graph.params, *(DimParam(name, Named(name)) for name in names if name not in solved))
    return replace(graph, params=params, solves=solve_extents(params, rules, names), constraints=())
