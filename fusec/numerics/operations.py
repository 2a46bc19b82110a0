"""Every elementwise operation on intervals: what a kernel may compute, given what it may have computed before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from itertools import product
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor

from fusec.numerics.interval import Interval, either, enclose
from fusec.numerics.precision import ERRORS, EXACT, Precision, flushed, rounded
from fusec.reference.meaning import ELEMENTWISE_MEANING

Operation: TypeAlias = Callable[[tuple[Interval, ...], Precision], Interval]


def _at_corners(op: str) -> Operation:
    """An operation that is monotone in each operand: its extremes are at the ends of the operands' intervals.

    On integers every operation is exact.
    """
    meaning = ELEMENTWISE_MEANING[op]

    def apply(args: tuple[Interval, ...], precision: Precision) -> Interval:
        error = ERRORS[op] if args[0].value.is_floating_point() else EXACT
        if error.flushes_operand:
            args = tuple(flushed(arg, precision) for arg in args)
        value = meaning(*(arg.value for arg in args))
        if all(arg.is_exact for arg in args):
            return rounded(Interval.exact(value), error, precision)
        corners = [meaning(*corner) for corner in product(*((arg.low, arg.high) for arg in args))]
        return rounded(enclose(value, corners, args), error, precision)

    return apply


def _mul(args: tuple[Interval, ...], precision: Precision) -> Interval:
    a, b = args
    if a is not b or a.is_exact or not a.value.is_floating_point():
        return _at_corners("mul")(args, precision)
    size = _abs((a,), precision)
    square = enclose(a.value * a.value, [size.low * size.low, size.high * size.high], (a,))
    return rounded(square, ERRORS["mul"], precision)


def _div(args: tuple[Interval, ...], precision: Precision) -> Interval:
    """A quotient; that by 0 has either sign, for the sign of a computed 0 depends on how it is computed."""
    _, b = args
    result = _at_corners("div")(args, precision)
    straddles = (b.low <= 0) & (b.high >= 0)
    return result.forget(straddles & ((b.low < b.high) | ~result.low.isnan()))


def _floordiv(args: tuple[Interval, ...], precision: Precision) -> Interval:
    a, b = args
    if a.value.dtype == torch.int64:
        return _at_corners("floordiv")(args, precision).forget((b.low <= 0) & (b.high >= 0))
    return _floor((_div(args, precision),), precision)


def _mod(args: tuple[Interval, ...], precision: Precision) -> Interval:
    a, b = args
    value = ELEMENTWISE_MEANING["mod"](a.value, b.value)
    if a.value.dtype == torch.int64:
        if a.is_exact and b.is_exact:
            return Interval.exact(value).forget(b.value == 0)
        low, high = (b.low + 1).clamp(max=0), (b.high - 1).clamp(min=0)
        return Interval(value, low, high).forget((b.low <= 0) & (b.high >= 0) | a.unknown | b.unknown)
    whole = _floordiv(args, precision)
    rest = _sub((a, _mul((whole, b), precision)), precision)
    # The remainder by infinity is the number itself, where 0 * inf is NaN: either may come out. So may anything where
    # the quotient overflows.
    doubtful = (rest.low.isnan() & ~value.isnan()) | whole.low.isinf() | whole.high.isinf()
    return Interval(value, rest.low, rest.high).forget(doubtful)


def _abs(args: tuple[Interval, ...], precision: Precision) -> Interval:
    (a,) = args
    if a.is_exact:
        return Interval.exact(a.value.abs())
    low, high = a.low.abs(), a.high.abs()
    nearest = torch.where((a.low < 0) & (a.high > 0), torch.zeros_like(low), torch.minimum(low, high))
    return enclose(a.value.abs(), [nearest, torch.maximum(low, high)], args)


def _pow(args: tuple[Interval, ...], precision: Precision) -> Interval:
    a, b = args
    result = _at_corners("pow")(args, precision)
    inexact = (a.low < a.high) | (b.low < b.high)
    # pow(nan, 0) and pow(1, nan) are 1. A negative number has whole powers alone. A positive power is 0 at 0, a
    # negative one infinite, of the sign that the 0 has.
    doubtful = (result.low.isnan() & inexact) | ((a.low < 0) & (b.low < b.high))
    straddles = (a.low <= 0) & (a.high >= 0) & ((a.low < 0) | (b.low < 0))
    whole = (b.low == b.high) & (b.value == b.value.floor()) & (b.value > 0)
    low = torch.where(straddles, result.low.clamp(max=0.0), result.low)
    high = torch.where(straddles, result.high.clamp(min=0.0), result.high)
    return Interval(result.value, low, high).forget(doubtful | (straddles & ~whole))


def _sigmoid(args: tuple[Interval, ...], precision: Precision) -> Interval:
    """1 / (1 + exp(-x)), as kernels compute it."""
    (a,) = args
    one = Interval.exact(torch.ones((), dtype=a.value.dtype, device=a.value.device))
    growth = _at_corners("exp")((_neg(args, precision),), precision)
    result = _div((one, _add((one, growth), precision)), precision)
    return Interval(torch.sigmoid(a.value), result.low, result.high)


def _exp2(args: tuple[Interval, ...], precision: Precision) -> Interval:
    """A power of two; that of a whole number is exact where it is normal, as scales of blocks have to be."""
    (a,) = args
    result = _at_corners("exp2")(args, precision)
    normal = (result.value >= precision.normal) & (result.value <= precision.largest)
    whole = (a.low == a.high) & (a.value == a.value.floor()) & normal
    if not bool(whole.any()):
        return result
    low = torch.where(whole, result.value, result.low)
    return Interval(result.value, low, torch.where(whole, result.value, result.high))


def _wave(op: str) -> Operation:
    """Sine or cosine: it moves by no more than its operand and stays within -1 and 1."""
    meaning = ELEMENTWISE_MEANING[op]

    def apply(args: tuple[Interval, ...], precision: Precision) -> Interval:
        (a,) = args
        value = meaning(a.value)
        if a.is_exact:
            return rounded(Interval.exact(value), ERRORS[op], precision)
        low = (value - (a.value - a.low).maximum(a.high - a.value)).clamp(min=-1.0)
        high = (value + (a.value - a.low).maximum(a.high - a.value)).clamp(max=1.0)
        bounded = Interval(value, low, high).forget(a.low.isinf() | a.high.isinf())
        return rounded(bounded, ERRORS[op], precision)

    return apply


def _comparison(op: str, compare: Callable[[Interval, Interval], tuple[Tensor, Tensor]]) -> Operation:
    """A comparison that holds certainly, and possibly, as `compare` finds from the ends of the operands."""
    meaning = ELEMENTWISE_MEANING[op]

    def apply(args: tuple[Interval, ...], precision: Precision) -> Interval:
        a, b = args
        value = meaning(a.value, b.value)
        if a.is_exact and b.is_exact:
            return Interval.exact(value)
        certainly, possibly = compare(a, b)
        return Interval(value, certainly, possibly).forget(a.unknown | b.unknown)

    return apply


def _less(a: Interval, b: Interval) -> tuple[Tensor, Tensor]:
    return a.high < b.low, a.low < b.high


def _at_most(a: Interval, b: Interval) -> tuple[Tensor, Tensor]:
    return a.high <= b.low, a.low <= b.high


def _equal(a: Interval, b: Interval) -> tuple[Tensor, Tensor]:
    return (a.low == b.high) & (a.high == b.low), (a.low <= b.high) & (b.low <= a.high)


def _unequal(a: Interval, b: Interval) -> tuple[Tensor, Tensor]:
    certainly, possibly = _equal(a, b)
    return ~possibly, ~certainly


def _logical(op: str) -> Operation:
    meaning = ELEMENTWISE_MEANING[op]
    return lambda args, _: Interval(
        meaning(*(arg.value for arg in args)), meaning(*(arg.low for arg in args)), meaning(*(arg.high for arg in args))
    )


def _not(args: tuple[Interval, ...], precision: Precision) -> Interval:
    (a,) = args
    return Interval(~a.value, ~a.high, ~a.low)


def _where(args: tuple[Interval, ...], precision: Precision) -> Interval:
    condition, a, b = args
    value = torch.where(condition.value, a.value, b.value)
    if all(arg.is_exact for arg in args):
        return Interval.exact(value)
    both = either(value, a, b) if value.dtype != torch.bool else Interval(value, a.low & b.low, a.high | b.high)
    low = torch.where(condition.low, a.low, torch.where(condition.high, both.low, b.low))
    high = torch.where(condition.low, a.high, torch.where(condition.high, both.high, b.high))
    return Interval(value, low, high)


def _exponent(args: tuple[Interval, ...], precision: Precision) -> Interval:
    """The exponent of a number grows with its size."""
    return _at_corners("exponent")((_abs(args, precision),), precision)


def _bitwise(op: str) -> Operation:
    """An operation on digits: nothing is known of it where an operand is in doubt."""
    meaning = ELEMENTWISE_MEANING[op]

    def apply(args: tuple[Interval, ...], precision: Precision) -> Interval:
        doubtful = reduce(torch.logical_or, [arg.low < arg.high for arg in args])
        return Interval.exact(meaning(*(arg.value for arg in args))).forget(doubtful)

    return apply


def _shift(op: str) -> Operation:
    """A shift by 0 to 63 places; by others it may be anything."""
    shifted = _at_corners(op)
    return lambda args, precision: shifted(args, precision).forget((args[1].low < 0) | (args[1].high > 63))


_add, _sub, _neg, _floor = map(_at_corners, ("add", "sub", "neg", "floor"))

OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "add": _add,
        "sub": _sub,
        "mul": _mul,
        "div": _div,
        "floordiv": _floordiv,
        "mod": _mod,
        "pow": _pow,
        "neg": _neg,
        "eq": _comparison("eq", _equal),
        "ne": _comparison("ne", _unequal),
        "lt": _comparison("lt", _less),
        "le": _comparison("le", _at_most),
        "gt": _comparison("gt", lambda a, b: _less(b, a)),
        "ge": _comparison("ge", lambda a, b: _at_most(b, a)),
        "and": _logical("and"),
        "or": _logical("or"),
        "not": _not,
        "bitand": _bitwise("bitand"),
        "bitor": _bitwise("bitor"),
        "bitxor": _bitwise("bitxor"),
        "bitnot": _at_corners("bitnot"),
        "lshift": _shift("lshift"),
        "rshift": _shift("rshift"),
        "where": _where,
        "abs": _abs,
        "exp": _at_corners("exp"),
        "exp2": _exp2,
        "expm1": _at_corners("expm1"),
        "log": _at_corners("log"),
        "log2": _at_corners("log2"),
        "log1p": _at_corners("log1p"),
        "exponent": _exponent,
        "sqrt": _at_corners("sqrt"),
        "rsqrt": _at_corners("rsqrt"),
        "sigmoid": _sigmoid,
        "tanh": _at_corners("tanh"),
        "erf": _at_corners("erf"),
        "erfc": _at_corners("erfc"),
        "sin": _wave("sin"),
        "cos": _wave("cos"),
        "sign": _at_corners("sign"),
        "floor": _floor,
        "ceil": _at_corners("ceil"),
        "round": _at_corners("round"),
        "minimum": _at_corners("minimum"),
        "maximum": _at_corners("maximum"),
    }
)


def operate(op: str, args: tuple[Interval, ...], precision: Precision) -> Interval:
    """`op` on operands that broadcast, already converted to its compute type."""
    return OPERATIONS[op](args, precision)
