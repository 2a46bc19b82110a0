"""Parts and merges of an axis as torch text."""

from __future__ import annotations

from fusec.ir.expressions import Layout, Merge, Part
from fusec.ir.types import Axis, Sum, ValueType, without
from fusec.reference.emit.context import Context
from fusec.reference.emit.spelling import Text, call
from fusec.reference.emit.values import Value


def part(context: Context, expr: Part, type: ValueType, whole: Value) -> Value:
    """One part of `whole`; `type` is that of the part."""
    return parts(context, expr, type, whole)[0][expr.index]


def parts(context: Context, expr: Part, type: ValueType, whole: Value) -> tuple[list[Value], list[str], Text]:
    """Every part of `whole` along the axis of `expr`.

    Also as a tuple of all of them in one expression, and what each of its elements has to be followed by.
    """
    place = whole.place(expr.axis)
    own = expr.axis.parts if isinstance(expr.axis, Sum) else (without(type.axes, whole.axes),) * 2
    layouts = [_replaced(whole, expr.axis, axes) for axes in own]
    if expr.layout is Layout.PAIRS:
        behind = ", :" * (-place - 1)
        alone = "" if own[0] else f".squeeze({place})"
        each = [whole.then(f"[..., {index}::2{behind}]{alone}", layout) for index, layout in enumerate(layouts)]
        return each, ["", ""], Text(", ".join(value.text.code for value in each))
    if expr.layout is Layout.HALVES:
        together = whole.then(f".chunk(2, dim={place})")
    else:
        sizes = ", ".join(context.extent(dim).code for dim in own)
        together = whole.then(f".split(({sizes}), dim={place})")
    behind_each = [_apart(place, axes, context) for axes in own]
    each = [
        together.then(f"[{index}]{suffix}", layout)
        for index, (suffix, layout) in enumerate(zip(behind_each, layouts, strict=True))
    ]
    return each, behind_each, together.text


def merge(context: Context, expr: Merge, type: ValueType, args: list[Value]) -> Value:
    """`args` as the parts of one axis, which stands where the op's order of axes puts it."""
    axes = context.ordered(type.axes)
    place = axes.index(expr.axis) - len(axes)
    own = expr.axis.parts if isinstance(expr.axis, Sum) else tuple(without(arg.axes, axes) for arg in args)
    placed = [
        arg.of_kind(type.kind, context).spread(_with(axes, expr.axis, new), context)
        for arg, new in zip(args, own, strict=True)
    ]
    if expr.layout is Layout.PAIRS:
        stacked = call("torch.stack", f"({', '.join(arg.text.code for arg in placed)})", f"dim={place}")
        return Value(stacked.then(f".flatten({_range(place - 1, place)})" if own[0] else ""), axes, type.kind)
    flat = [arg.then(_together(place, new)) for arg, new in zip(placed, own, strict=True)]
    return Value(call("torch.cat", f"({', '.join(arg.text.code for arg in flat)})", f"dim={place}"), axes, type.kind)


def _apart(place: int, axes: tuple[Axis, ...], context: Context) -> str:
    """What makes the axes of a part of the one dimension that it is."""
    if len(axes) == 1:
        return ""
    return f".unflatten({place}, ({context.sizes(axes)}))" if axes else f".squeeze({place})"


def _together(place: int, axes: tuple[Axis, ...]) -> str:
    """What makes one dimension of the axes of a part."""
    if len(axes) == 1:
        return ""
    return f".flatten({_range(place - len(axes) + 1, place)})" if axes else f".unsqueeze({place})"


def _range(start: int, end: int) -> str:
    return str(start) if end == -1 else f"{start}, {end}"


def _replaced(whole: Value, old: Axis, new: tuple[Axis, ...]) -> tuple[Axis | None, ...]:
    return tuple(entry for axis in whole.layout for entry in (new if axis == old else (axis,)))


def _with(axes: tuple[Axis, ...], old: Axis, new: tuple[Axis, ...]) -> tuple[Axis, ...]:
    return tuple(entry for axis in axes for entry in (new if axis == old else (axis,)))
