"""The type rules of the graph: the element and axes of an expression from those of its operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from fusec.ir import advice
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
from fusec.ir.graph import ScalarParam, TensorParam
from fusec.ir.ops import ELEMENTWISE, PREFIX, REDUCTIONS
from fusec.ir.traits import Result
from fusec.ir.types import (
    BOOL,
    INT,
    REAL,
    Axis,
    Computed,
    Dim,
    Fixed,
    Kind,
    Named,
    Quotient,
    Sum,
    ValueType,
    product_text,
    union,
    without,
)


class TypeFault(Exception):
    """An expression that has no type. `operand` is the place of the operand at fault, if one is."""

    def __init__(self, message: str, operand: int | None = None, help: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.operand = operand
        self.help = help


def part_axes(axis: Axis, parts: int = 2) -> Dim:
    """The axis that indexes one of `parts` equal parts of `axis`; none where a part is one position."""
    match axis:
        case Named():
            return (Quotient(axis, parts),)
        case Quotient(of, by):
            return (Quotient(of, by * parts),)
        case Fixed(value) if value == parts:
            return ()
        case Fixed(value) if value % parts == 0:
            return (Fixed(value // parts),)
        case Fixed(value):
            raise TypeFault(f"an axis of {value} positions has no halves")
        case Sum():
            raise TypeFault(f"`{axis}` is an axis of parts, it has no halves", help="take its parts with `split` first")
        case _:
            raise TypeFault(f"`{axis}` has no halves")


def infer(
    expr: Expr, types: Callable[[NodeId], ValueType], params: Callable[[str], TensorParam | ScalarParam]
) -> ValueType:
    """The type of `expr`, or a `TypeFault`."""
    match expr:
        case Input(param):
            tensor = params(param)
            assert isinstance(tensor, TensorParam)
            return ValueType(tensor.element, union(*tensor.dims))
        case Scalar(param):
            scalar = params(param)
            assert isinstance(scalar, ScalarParam)
            return ValueType(Computed(scalar.dtype.kind))
        case Const(value):
            return ValueType(BOOL if isinstance(value, bool) else INT if isinstance(value, int) else REAL)
        case MaxOf(dtype):
            return ValueType(Computed(dtype.kind))
        case Index(axis):
            return ValueType(INT, (axis,))
        case Extent():
            return ValueType(INT)
        case Elementwise(op, args):
            return _elementwise(op, tuple(types(arg) for arg in args))
        case Cast(arg, dtype):
            return ValueType(dtype, types(arg).axes)
        case Reduce():
            return _reduce(expr, types(expr.arg))
        case Dot():
            return _dot(expr, types(expr.a), types(expr.b))
        case Part():
            return _part(expr, types(expr.arg))
        case Merge():
            return _merge(expr, tuple(types(arg) for arg in expr.args))
        case Rename(arg, old, new):
            return _rename(types(arg), old, new)
        case Gather(param, indices):
            tensor = params(param)
            assert isinstance(tensor, TensorParam)
            return _gather(tensor, tuple(types(index) for index in indices))
        case Segment(offsets, axis):
            if types(offsets).kind is not Kind.INT:
                raise TypeFault(f"`segment` needs integer offsets, these are {types(offsets)}", 0)
            return ValueType(INT, (axis,))
        case Choose(_, cases):
            return _choose(tuple(types(value) for _, value in cases))
        case _:
            assert_never(expr)


def _elementwise(op: str, args: tuple[ValueType, ...]) -> ValueType:
    rule = ELEMENTWISE[op]
    if len(args) != rule.arity:
        raise TypeFault(f"`{op}` takes {rule.arity} operands, {len(args)} were given")
    for place, arg in enumerate(args):
        wanted = (Kind.BOOL,) if rule.selects and place == 0 else rule.operands
        if arg.kind not in wanted:
            kinds_text = " or ".join(kind.value for kind in wanted)
            message = f"`{rule.symbol or PREFIX.get(op, op)}` takes {kinds_text} operands, this one is {arg.kind.value}"
            raise TypeFault(message, place, advice.on_kind(op, arg.kind, wanted))
    values = args[rule.numbers]
    kinds = {arg.kind for arg in values}
    if rule.selects and Kind.BOOL in kinds and len(kinds) > 1:
        raise TypeFault(f"the two values of `{op}` must both be truth values or both be numbers")
    axes = union(*(arg.axes for arg in args))
    match rule.result:
        case Result.REAL:
            return ValueType(REAL, axes)
        case Result.INT:
            return ValueType(INT, axes)
        case Result.BOOL:
            return ValueType(BOOL, axes)
        case Result.PROMOTE:
            kind = Kind.BOOL if kinds == {Kind.BOOL} else Kind.INT if kinds == {Kind.INT} else Kind.REAL
            return ValueType(Computed(kind), axes)
        case _:
            assert_never(rule.result)


def _reduce(expr: Reduce, arg: ValueType) -> ValueType:
    if expr.op not in REDUCTIONS:
        raise TypeFault(f"`{expr.op}` is no reduction")
    if arg.kind is Kind.BOOL:
        raise TypeFault(f"`{expr.op}` takes numbers, this is a truth value", 0, advice.NUMBER)
    _need_axes(arg, expr.axes, f"`{expr.op}`")
    kind = Kind.REAL if REDUCTIONS[expr.op].averages else arg.kind
    return ValueType(Computed(kind), without(arg.axes, expr.axes))


def _dot(expr: Dot, a: ValueType, b: ValueType) -> ValueType:
    for place, operand in enumerate((a, b)):
        if operand.kind is Kind.BOOL:
            raise TypeFault("`dot` takes numbers, this is a truth value", place, advice.NUMBER)
        _need_axes(operand, expr.axes, "`dot`", place)
    kind = Kind.INT if a.kind is b.kind is Kind.INT else Kind.REAL
    return ValueType(Computed(kind), without(union(a.axes, b.axes), expr.axes))


def _part(expr: Part, arg: ValueType) -> ValueType:
    _need_axes(arg, (expr.axis,), f"`{expr.layout.value}`")
    if expr.layout is Layout.PARTS:
        assert isinstance(expr.axis, Sum)
        new: tuple[Axis, ...] = expr.axis.parts[expr.index]
    else:
        new = part_axes(expr.axis)
    return ValueType(arg.element, _replaced(arg.axes, expr.axis, new))


def _merge(expr: Merge, args: tuple[ValueType, ...]) -> ValueType:
    if expr.layout is Layout.PARTS:
        assert isinstance(expr.axis, Sum)
        removed = expr.axis.parts
    else:
        removed = (part_axes(expr.axis),) * 2
    if len(args) != len(removed):
        raise TypeFault(f"`{expr.axis}` has {len(removed)} parts, {len(args)} were given")
    for place, (arg, part) in enumerate(zip(args, removed, strict=True)):
        if arg.kind is Kind.BOOL:
            raise TypeFault("parts must be numbers, this is a truth value", place)
        _need_axes(arg, part, f"part {place + 1} of `{expr.axis}`", place)
    rest = union(*(without(arg.axes, part) for arg, part in zip(args, removed, strict=True)))
    for place, arg in enumerate(args):
        if expr.axis in arg.axes:
            help = f"what has `{expr.axis}` must be taken apart as well before it meets a part"
            raise TypeFault(f"part {place + 1} of `{expr.axis}` has the axis `{expr.axis}` itself", place, help)
    kinds = {arg.kind for arg in args}
    elements = {arg.element for arg in args}
    element = elements.pop() if len(elements) == 1 else Computed(Kind.INT if kinds == {Kind.INT} else Kind.REAL)
    return ValueType(element, (*rest, expr.axis))


def _rename(arg: ValueType, old: Axis, new: Axis) -> ValueType:
    _need_axes(arg, (old,), "`rename`")
    if new in arg.axes:
        raise TypeFault(f"the value already has an axis `{new}`", 0)
    return ValueType(arg.element, _replaced(arg.axes, old, (new,)))


def _gather(tensor: TensorParam, indices: tuple[ValueType, ...]) -> ValueType:
    if len(indices) > len(tensor.dims):
        raise TypeFault(f"`{tensor.name}` has {len(tensor.dims)} dimensions, {len(indices)} indices were given")
    for place, index in enumerate(indices):
        if index.kind is not Kind.INT:
            help = (
                "`where(condition, x, 0)` keeps some elements"
                if index.kind is Kind.BOOL
                else "round it: `cast(x, i32)`"
            )
            raise TypeFault(f"an index must be an integer, this one is {index.kind.value}", place, help)
    kept = union(*tensor.dims[len(indices) :])
    axes = union(*(index.axes for index in indices))
    doubled = [axis for axis in kept if axis in axes]
    if doubled:
        raise TypeFault(
            f"axis `{doubled[0]}` would stand twice in the result of `{tensor.name}[...]`",
            help=f"give the index another name for it: `rename(..., {doubled[0]} -> NAME)`",
        )
    return ValueType(tensor.element, (*axes, *kept))


def _choose(cases: tuple[ValueType, ...]) -> ValueType:
    kinds = {case.kind for case in cases}
    if Kind.BOOL in kinds and len(kinds) > 1:
        raise TypeFault("some cases are truth values and others are numbers")
    elements = {case.element for case in cases}
    promoted = Kind.BOOL if kinds == {Kind.BOOL} else Kind.INT if kinds == {Kind.INT} else Kind.REAL
    return ValueType(
        elements.pop() if len(elements) == 1 else Computed(promoted), union(*(case.axes for case in cases))
    )


def _need_axes(arg: ValueType, axes: tuple[Axis, ...], what: str, operand: int = 0) -> None:
    for axis in axes:
        if axis not in arg.axes:
            has = f"it has {', '.join(f'`{product_text((a,))}`' for a in arg.axes) or 'no axes'}"
            raise TypeFault(f"{what} needs axis `{axis}`, which this value does not have", operand, help=has)


def _replaced(axes: tuple[Axis, ...], old: Axis, new: tuple[Axis, ...]) -> tuple[Axis, ...]:
    doubled = [axis for axis in new if axis in without(axes, (old,))]
    if doubled:
        raise TypeFault(f"the value already has an axis `{doubled[0]}`", 0)
    return tuple(item for axis in axes for item in (new if axis == old else (axis,)))
