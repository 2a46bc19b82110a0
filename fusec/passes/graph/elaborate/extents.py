"""Which extents an op needs, and whether its arguments tell them."""

from __future__ import annotations

from collections.abc import Mapping

from fusec.diagnostics import Span
from fusec.ir.expressions import Extent
from fusec.ir.graph import DimParam, Node, Output, Param, TensorParam
from fusec.ir.types import Axis, Lead, Named, Quotient, Sum
from fusec.passes.graph.elaborate.report import Report


def used_axes(params: tuple[Param, ...], outputs: tuple[Output, ...], nodes: tuple[Node, ...]) -> tuple[Axis, ...]:
    """Every axis of the op, the axes inside sums and quotients included."""
    found: dict[Axis, None] = {}
    for holder in (*params, *outputs):
        if isinstance(holder, TensorParam | Output):
            found.update(dict.fromkeys(axis for dim in holder.dims for axis in dim))
    for param in params:
        if isinstance(param, DimParam):
            found[param.axis] = None
    for node in nodes:
        found.update(dict.fromkeys(node.type.axes))
        if isinstance(node.expr, Extent):
            found.update(dict.fromkeys(node.expr.dim))
    return tuple(dict.fromkeys(inner for axis in found for inner in _inside(axis)))


def check_solved(
    axes: tuple[Axis, ...],
    solved: set[str],
    params: tuple[Param, ...],
    places: Mapping[str, Span],
    op: Span,
    report: Report,
) -> None:
    """Reports every axis whose extent is not `solved`; `places` say where an axis is first written."""
    for axis in axes:
        if isinstance(axis, Named) and axis.name not in solved:
            help = _unsolved_help(axis.name, params)
            report.add(f"the extent of axis `{axis}` cannot be found from the arguments", places[axis.name], help=help)
    given = (param for param in params if isinstance(param, TensorParam) and not param.optional)
    if Lead() in axes and not any((Lead(),) in param.dims for param in given):
        report.add("no parameter that is always given tells what `...` stands for", op)


def _unsolved_help(name: str, params: tuple[Param, ...]) -> str:
    """What to do about an extent that no argument tells."""
    for param in params:
        if isinstance(param, DimParam) and param.axis.name == name:
            return f"drop `= infer`, so that the caller has to give `{param.name}`"
    return f"add a parameter such as `n: dim({name})`, or fix it with `where {name} == 64`"


def _inside(axis: Axis) -> tuple[Axis, ...]:
    match axis:
        case Quotient(of=of):
            return (axis, of)
        case Sum(parts=parts):
            return (axis, *(inner for part in parts for item in part for inner in _inside(item)))
        case _:
            return (axis,)
