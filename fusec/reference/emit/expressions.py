"""The torch expression of one node, over those of its operands."""

from __future__ import annotations

from dataclasses import replace
from string import ascii_lowercase

from fusec.diagnostics import InternalError
from fusec.ir.expressions import (
    Cast,
    Const,
    Dot,
    Elementwise,
    Extent,
    Gather,
    Index,
    Input,
    MaxOf,
    Merge,
    Part,
    Reduce,
    Rename,
    Scalar,
    Segment,
)
from fusec.ir.formats import FLOAT_FORMATS, largest_of
from fusec.ir.graph import Node
from fusec.ir.host.dtypes import TORCH_NAMES
from fusec.ir.ops import REDUCTIONS
from fusec.ir.types import DTYPES, Axis, DType, DTypeVar, Kind, Lead, Storage, union, without
from fusec.reference.emit.arithmetic import apply
from fusec.reference.emit.context import Context, saturates
from fusec.reference.emit.layout import Layout, split_axes
from fusec.reference.emit.moves import merge, part
from fusec.reference.emit.spelling import COMPARISON, SUM, Text, call, infix, literal
from fusec.reference.emit.values import Value, aligned


def expression(context: Context, node: Node, args: list[Value], keep: bool) -> Value:
    """The value of `node`; a reduction keeps the dimensions it reduces, with size 1, where `keep` says so."""
    expr = node.expr
    match expr:
        case Input(name):
            return parameter(context, name)
        case Scalar(name):
            return Value(Text(name), (), node.type.kind, number=True)
        case Const(number):
            return Value(literal(number), (), node.type.kind, number=True)
        case MaxOf(storage):
            return Value(_largest(context, storage), (), node.type.kind, number=True)
        case Index(axis):
            return Value(_positions(context, axis), (axis,), Kind.INT)
        case Extent(dim):
            return Value(context.extent(dim), (), Kind.INT, number=True)
        case Elementwise(op):
            return apply(context, op, args, node.type)
        case Cast(_, storage):
            return cast(context, args[0].tensor(context), storage)
        case Reduce():
            return _reduce(context, expr, args[0].of_kind(node.type.kind, context), keep)
        case Dot():
            return _dot(expr, [arg.of_kind(node.type.kind, context) for arg in args])
        case Part():
            return part(context, expr, node.type, args[0])
        case Merge():
            return merge(context, expr, node.type, args)
        case Rename(_, old, new):
            return args[0].then("", tuple(new if axis == old else axis for axis in args[0].layout))
        case Gather(name):
            return _gather(context, name, args)
        case Segment(_, axis):
            offsets = args[0].of_kind(Kind.INT, context).text.code
            found = call("torch.searchsorted", offsets, _positions(context, axis).code, "right=True")
            return Value(infix("-", SUM, found, Text("1")), (axis,), Kind.INT)
        case _:
            raise InternalError("emit reference", f"a choice is no expression: {expr}")


def parameter(context: Context, name: str) -> Value:
    """A tensor parameter in the compute type, its products split into axes."""
    param = context.graph.tensor(name)
    axes = tuple(axis for dim in param.dims for axis in dim)
    widened = _widened(context, name)
    return widened.then("".join(split_axes(param.dims, context.sizes)), axes)


def cast(context: Context, value: Value, storage: Storage) -> Value:
    """A tensor rounded to a storage type; 8-bit floats and integers saturate."""
    if value.stored == storage or value.kind is storage.kind is Kind.BOOL:
        return value
    kind = Kind.REAL if storage.kind is Kind.REAL or value.kind is Kind.REAL else value.kind
    value = value.of_kind(kind, context)
    if context.computes_in(storage):
        return value
    dtype = context.dtype(storage)
    if storage.kind is Kind.BOOL:
        return Value(infix("!=", COMPARISON, value.text, Text("0")), value.layout, Kind.BOOL)
    if isinstance(storage, DTypeVar) and saturates(storage):
        return Value(
            call(context.function("_round_to"), value.text.code, dtype), value.layout, storage.kind, stored=storage
        )
    nearest = ""
    if storage.kind is Kind.INT and value.kind is Kind.REAL:
        # i32 has more digits than f32: its upper limit would be rounded up, out of range.
        nearest = ".double().round()" if storage == DTYPES["i32"] else ".round()"
    rounded = value.then(f"{nearest}{_limits(storage)}.to({dtype})")
    return Value(rounded.text, value.layout, storage.kind, stored=storage)


def _limits(storage: Storage) -> str:
    if not isinstance(storage, DType) or not saturates(storage) or storage.bits == 64:
        return ""
    high = largest_of(storage)
    low = -high if storage.kind is Kind.REAL else -high - 1 if storage.name != "u8" else 0
    return f".clamp({low}, {high})"


def _widened(context: Context, name: str) -> Value:
    element = context.graph.tensor(name).element
    as_is = element.kind is Kind.BOOL or str(element) == "i64" or context.computes_in(element)
    value = Value(Text(name), (), element.kind, stored=None if as_is else element)
    # Integers become reals more often than not; on the way they need not be of 64 bits.
    return value if context.declared and element.kind is Kind.INT else value.of_kind(element.kind, context)


def _largest(context: Context, storage: Storage) -> Text:
    if isinstance(storage, DTypeVar):
        limits = "finfo" if storage.kind is Kind.REAL else "iinfo"
        return Text(f"torch.{limits}({context.dtype(storage)}).max")
    if storage.kind is Kind.REAL and FLOAT_FORMATS[storage.name].largest > 1e6:
        return Text(f"torch.finfo({TORCH_NAMES[storage.name]}).max")
    return literal(largest_of(storage))


def _positions(context: Context, axis: Axis) -> Text:
    return call("torch.arange", f"{context.extent((axis,)).code}{context.device}")


def _reduce(context: Context, expr: Reduce, value: Value, keep: bool) -> Value:
    if not without(value.axes, expr.axes):
        return _reduced(context, expr, value, "", ())
    if Lead() in expr.axes:
        # `[None]` makes one dimension more, so that there is something to flatten where `...` stands for nothing.
        value = value.then(f"[None].flatten(0, {-len(value.layout)})")
    places = sorted(value.place(axis) for axis in expr.axes)
    dims = str(places[0]) if len(places) == 1 else f"({', '.join(map(str, places))})"
    if keep:
        layout = tuple(None if axis in expr.axes else axis for axis in value.layout)
        return _reduced(context, expr, value, f"{dims}, keepdim=True", layout)
    layout = tuple(axis for axis in value.layout if axis is None or axis not in expr.axes)
    return _reduced(context, expr, value, dims, layout)


def _reduced(context: Context, expr: Reduce, value: Value, arguments: str, layout: Layout) -> Value:
    """A method of the tensor; a function where one of no elements is to be picked, which torch refuses."""
    if not (REDUCTIONS[expr.op].picks and context.may_be_empty(expr.axes)):
        return value.then(f".{expr.op}({arguments})", layout)
    text = call(context.function(f"_{expr.op}"), value.text.code, *([arguments] if arguments else []))
    return replace(value, text=text, layout=layout)


def _dot(expr: Dot, args: list[Value]) -> Value:
    args = [arg.against(arg.axes) for arg in args]
    axes = union(*(arg.axes for arg in args))
    result = without(axes, expr.axes)
    letters = _letters(axes)
    inputs = ",".join("".join(letters[axis] for axis in arg.axes) for arg in args)
    pattern = f'"{inputs}->{"".join(letters[axis] for axis in result)}"'
    return Value(call("torch.einsum", pattern, *(arg.text.code for arg in args)), result, args[0].kind)


def _letters(axes: tuple[Axis, ...]) -> dict[Axis, str]:
    """A letter for every axis: the first of its name that is free."""
    letters: dict[Axis, str] = {}
    for axis in axes:
        wanted = [char for char in str(axis).lower() if char in ascii_lowercase]
        free = (char for char in (*wanted, *ascii_lowercase) if char not in letters.values())
        letters[axis] = "..." if axis == Lead() else next(free)
    return letters


def _gather(context: Context, name: str, indices: list[Value]) -> Value:
    param = context.graph.tensor(name)
    indices = [index.tensor(context).of_kind(Kind.INT, context) for index in indices]
    indices, layout = aligned(indices, context.ordered(union(*(index.axes for index in indices))))
    table = _widened(context, name)
    found = call(context.function("_look_up"), table.text.code, *(index.text.code for index in indices))
    kept = param.dims[len(indices) :]
    split = "".join(split_axes(kept, context.sizes))
    return Value(found, (), table.kind).then(split, (*layout, *(axis for dim in kept for axis in dim)))
