"""Elementwise operations as torch text."""

from __future__ import annotations

import struct
from typing import assert_never

from fusec.ir.ops import ELEMENTWISE
from fusec.ir.traits import Result
from fusec.ir.types import Kind, ValueType
from fusec.reference.emit.context import Context
from fusec.reference.emit.spelling import (
    NUMBER_FUNCTIONS,
    NUMBER_SPELLINGS,
    SPELLINGS,
    Function,
    Infix,
    Limit,
    Prefix,
    Text,
    Written,
    call,
    infix,
)
from fusec.reference.emit.values import Value, aligned


def apply(context: Context, op: str, args: list[Value], type: ValueType) -> Value:
    """`op` on `args`, which come in any kind and layout; on Python numbers alone it stays a Python number."""
    numbers = args[ELEMENTWISE[op].numbers]
    real = ELEMENTWISE[op].result is Result.REAL or any(arg.kind is Kind.REAL for arg in numbers)
    args = args[: len(args) - len(numbers)] + [
        arg.of_kind(Kind.REAL if real and arg.kind is not Kind.BOOL else arg.kind, context) for arg in numbers
    ]
    if all(arg.number for arg in args):
        text = _on_numbers(context, op, [arg.text for arg in args])
        if text is not None:
            return Value(text, (), type.kind, number=True)
        args = [arg.tensor(context) for arg in args]
    args, layout = aligned(args, context.ordered(type.axes))
    text = _on_tensors(context, op, args)
    return Value(text, layout, type.kind)


def _on_numbers(context: Context, op: str, texts: list[Text]) -> Text | None:
    if op in NUMBER_FUNCTIONS:
        return call(context.function(NUMBER_FUNCTIONS[op]), *(text.code for text in texts))
    if op in NUMBER_SPELLINGS:
        return NUMBER_SPELLINGS[op](*texts)
    spelling = SPELLINGS[op]
    return None if isinstance(spelling, Function | Limit | Written) else _with_operator(spelling, texts)


def _with_operator(spelling: Infix | Prefix, texts: list[Text]) -> Text:
    if isinstance(spelling, Infix):
        return infix(spelling.symbol, spelling.binding, *texts)
    return Text(f"{spelling.symbol}{texts[0].within(spelling.binding)}", spelling.binding)


def _on_tensors(context: Context, op: str, args: list[Value]) -> Text:
    spelling = SPELLINGS[op]
    match spelling:
        case Infix() | Prefix():
            return _with_operator(spelling, [arg.text for arg in args])
        case Limit(name, keyword):
            limit = next((arg for arg in args if arg.number), None)
            if limit is None:
                return call(name, *(arg.text.code for arg in args))
            tensor = next(arg for arg in args if not arg.number)
            return _clamped(tensor.text, keyword, limit.text.code)
        case Written(name):
            return call(context.function(name), args[0].text.code)
        case Function(name):
            if name.startswith("."):
                return args[0].text.then(f"{name}()")
            if ELEMENTWISE[op].selects:
                return _where(context, args)
            return call(name, *(arg.text.code for arg in args))
        case _:
            assert_never(spelling)


def _clamped(text: Text, keyword: str, limit: str) -> Text:
    inner, found, low = text.code.rpartition(".clamp(min=")
    if keyword == "max" and found and low.count(")") == 1:
        return Text(f"{inner}.clamp({low[:-1]}, {limit})")
    return text.then(f".clamp({keyword}={limit})")


def _where(context: Context, args: list[Value]) -> Text:
    condition, *cases = args
    suffix = ""
    if all(case.number and case.kind is Kind.REAL for case in cases):
        # Between two Python numbers torch.where chooses the dtype itself: f32.
        if all(_is_short(case.text.code) for case in cases):
            suffix = context.widening()
        else:
            cases = [cases[0].tensor(context), cases[1]]
    return call("torch.where", condition.tensor(context).text.code, *(case.text.code for case in cases)).then(suffix)


def _is_short(code: str) -> bool:
    """Whether `code` is a literal that f32 holds exactly."""
    try:
        number = float(code)
        return struct.unpack("f", struct.pack("f", number)) == (number,)
    except (ValueError, OverflowError):
        return False
