"""Parameters of an op that nothing depends on."""

from __future__ import annotations

from collections.abc import Iterator

from fusec.diagnostics import Diagnostic, Severity
from fusec.ir.expressions import Cast, Choose, Dot, Gather, Input, MaxOf, Scalar
from fusec.ir.graph import DimParam, DTypeParam, Graph, Node, Output, Param, TensorParam, walk
from fusec.ir.types import DTypeVar, Lead, Named
from fusec.passes.graph.elaborate.extents import used_axes
from fusec.passes.graph.solve_extents import solve_extents


def unused_params(graph: Graph) -> Iterator[Diagnostic]:
    """A warning for each parameter that a call passes, or may pass, without any effect.

    What a parameter tells counts as a use: an extent, a dtype or leading dimensions that something else has and no
    other argument tells. So does an optional tensor that only selects a case.
    """
    nodes = tuple(node for _, node in walk(graph))
    read = {name for node in nodes for name in _read(node)} | {scatter.param for scatter in graph.scatters}
    kept = graph.params
    while dropped := next((p for p in kept if p.name not in read and not _tells(graph, p, kept, nodes)), None):
        kept = tuple(param for param in kept if param is not dropped)
        assert dropped.span
        message = f"parameter `{dropped.name}` is not used: nothing that comes out depends on it"
        yield Diagnostic(message, dropped.span, help="use it, or drop it", severity=Severity.WARNING)


def _read(node: Node) -> tuple[str, ...]:
    match node.expr:
        case Input(param) | Scalar(param) | Gather(param):
            return (param,)
        case Choose(selector):
            return (selector,)
        case _:
            return ()


def _tells(graph: Graph, param: Param, kept: tuple[Param, ...], nodes: tuple[Node, ...]) -> bool:
    """Whether something beside `param` needs what it tells, and no other parameter of those `kept` does."""
    others = tuple(other for other in kept if other is not param)
    axes = used_axes(others, graph.outputs, nodes)
    # A condition without a place follows from an axis alone, which counts by itself.
    conditions = [condition for condition in graph.constraints if condition.span]
    wanted = {axis.name for axis in axes if isinstance(axis, Named)}
    for condition in conditions:
        wanted |= {extent.name for extent in condition.left.free_symbols | condition.right.free_symbols}
    match param:
        case DimParam(axis=axis):
            return axis.name in wanted
        case DTypeParam(variable=variable):
            return _tells_dtype(variable, graph, others, nodes)
        case TensorParam(optional=False, element=element):
            solved = {solve.name for solve in solve_extents(others, conditions, sorted(wanted))}
            leads = Lead() in axes and not any((Lead(),) in other.dims for other in _always_given(others))
            return bool(wanted - solved) or leads or _tells_dtype(element, graph, others, nodes)
        case _:
            return False


def _always_given(params: tuple[Param, ...]) -> list[TensorParam]:
    return [param for param in params if isinstance(param, TensorParam) and not param.optional]


def _tells_dtype(element: object, graph: Graph, others: tuple[Param, ...], nodes: tuple[Node, ...]) -> bool:
    """Whether `element` is a type variable that something beside a parameter has, and no one of the `others` tells."""
    if not isinstance(element, DTypeVar) or any(other.element == element for other in _always_given(others)):
        return False
    stored = [holder.element for holder in (*others, *graph.outputs) if isinstance(holder, TensorParam | Output)]
    rounded = [node.expr.dtype for node in nodes if isinstance(node.expr, Cast | MaxOf)]
    rounded += [node.expr.rounded for node in nodes if isinstance(node.expr, Dot) and node.expr.rounded]
    return element in stored or element in rounded
