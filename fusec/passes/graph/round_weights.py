"""Round weights: one that is read in another type alone is a parameter of that type, and rounded before the call.

Before: `dot(x, cast(w, T), over=K)` with `weight w: W[N, K]`; after: `dot(x, w, over=K)` with `w: T[N, K]`, which calls
may pass as W. So there are the kernels of a weight in the type of `x` and no others: they read the weight where W is T,
and else what it was rounded to, once, which is kept while the weight lives unchanged.

It is for type variables of which W may stand for all that T does, and for nothing shorter: a weight of 8 bits that is
cast to 16 stays one of 8. Relies on a graph as it was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fusec.ir.builder import GraphBuilder, keep, rebuild
from fusec.ir.expressions import GIVEN, Cast, Choose, Const, Input, NodeId, operands, with_operands
from fusec.ir.graph import Graph, Node, Param, TensorParam, walk
from fusec.ir.type_rules import infer
from fusec.ir.types import DTypeVar, ValueType

_EXACT = (0, 1)
"""Numbers that every real type has."""


def round_weights(graph: Graph) -> Graph:
    """The graph that kernels are made of. Its parameters say as what else they may be `passed`."""
    types = {weight.name: type for weight in graph.tensors if (type := _read_as(graph, weight))}

    def changed(builder: GraphBuilder, node: Node, args: tuple[NodeId, ...]) -> NodeId:
        expr = with_operands(node.expr, args)
        match node.expr:
            case Input(param) if param in types:
                return builder.add(expr, ValueType(types[param], node.type.axes), node.name, node.span)
            case Cast(arg) if _weight(graph, graph.nodes[arg]) in types:
                return args[0]
            case Choose(selector) if _weight(graph, node) in types:
                assert isinstance(expr, Choose)
                expr = replace(expr, cases=tuple((case, _as(builder, n, types[selector])) for case, n in expr.cases))
        if not args:
            return keep(builder, node, args)
        return builder.add(expr, infer(expr, lambda n: builder[n].type, graph.tensor), node.name, node.span)

    return rebuild(replace(graph, params=_declared(graph, types)), changed) if types else graph


def rounded_within(graph: Graph) -> Graph:
    """The same computation on tensors as calls pass them: the inverse, of any rewriting of that graph."""
    inner = {tensor.name: tensor.element for tensor in graph.tensors if tensor.passed}
    outer = as_passed(graph)

    def changed(builder: GraphBuilder, node: Node, args: tuple[NodeId, ...]) -> NodeId:
        if not isinstance(node.expr, Input) or node.expr.param not in inner:
            return keep(builder, node, args)
        passed = builder.add(node.expr, ValueType(outer.tensor(node.expr.param).element, node.type.axes))
        return builder.add(Cast(passed, inner[node.expr.param]), node.type, node.name, node.span)

    return rebuild(outer, changed) if inner else graph


def as_passed(graph: Graph) -> Graph:
    """The graph with the parameters that a call has. Its nodes are of other types, where some are rounded."""
    params = (
        replace(param, element=param.passed, passed=None) if isinstance(param, TensorParam) and param.passed else param
        for param in graph.params
    )
    return replace(graph, params=tuple(params))


def _declared(graph: Graph, types: Mapping[str, DTypeVar]) -> tuple[Param, ...]:
    """The parameters, weights as they are read."""
    return tuple(
        replace(param, element=types[param.name], passed=param.element)
        if isinstance(param, TensorParam) and param.name in types
        else param
        for param in graph.params
    )


def _read_as(graph: Graph, weight: TensorParam) -> DTypeVar | None:
    """The type that all readers of a weight cast it to."""
    if not weight.static or not isinstance(weight.element, DTypeVar):
        return None
    own = {number for number, node in walk(graph) if _weight(graph, node) == weight.name}
    readers = [node.expr for n, node in walk(graph) if n not in own and not own.isdisjoint(operands(node.expr))]
    types = {expr.dtype if isinstance(expr, Cast) else None for expr in readers}
    type = types.pop() if len(types) == 1 and own.isdisjoint(graph.roots) else None
    return type if isinstance(type, DTypeVar) and _may_be(weight.element, type) else None


def _may_be(passed: DTypeVar, type: DTypeVar) -> bool:
    """Whether what is passed may be of the type it is read in, and takes no less memory where it is not."""
    least = min(option.bits for option in type.options)
    return passed != type and {*type.options} <= {*passed.options} and all(o.bits >= least for o in passed.options)


def _weight(graph: Graph, node: Node) -> str:
    """The tensor that a node is, which calls may omit; else nothing."""
    match node.expr:
        case Input(param):
            return param
        case Choose(selector, ((case, given), _)) if case == GIVEN and graph.nodes[given].expr == Input(selector):
            return selector
        case _:
            return ""


def _as(builder: GraphBuilder, number: NodeId, type: DTypeVar) -> NodeId:
    """A value, rounded to a type if it may not be of it."""
    node = builder[number]
    if node.type.element == type or (isinstance(node.expr, Const) and node.expr.value in _EXACT):
        return number
    return builder.add(Cast(number, type), ValueType(type, node.type.axes), span=node.span)
