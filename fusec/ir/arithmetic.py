"""Arithmetic: what each operation makes of single numbers, of integers exactly and of reals as IEEE 754 has it.

No function raises: what has no value is NaN, what is beyond a double infinite. An integer over 0 is 0, as everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from math import inf, isfinite, isnan, nan
from typing import TypeAlias

Number: TypeAlias = int | float

_BITS = 64


def analytic(function: Callable[[float], float], poles: dict[float, float] | None = None) -> Callable[[Number], Number]:
    """A function of `math`, with its values at `poles`, and infinity where Python says that it overflows."""
    values = poles or {}

    def at(a: Number) -> Number:
        if a in values:
            return values[a]
        try:
            return function(a)
        except OverflowError:
            return inf
        except ValueError:
            return nan

    return at


def add(a: Number, b: Number) -> Number:
    return a + b


def sub(a: Number, b: Number) -> Number:
    return a - b


def mul(a: Number, b: Number) -> Number:
    return a * b


def div(a: Number, b: Number) -> Number:
    if b != 0:
        return a / b
    return nan if a == 0 or isnan(a) else math.copysign(inf, a) * math.copysign(1, b)


def floordiv(a: Number, b: Number) -> Number:
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b else 0
    return floor(div(a, b))


def mod(a: Number, b: Number) -> Number:
    if isinstance(a, int) and isinstance(b, int):
        return a % b if b else 0
    return a % b if b and isfinite(a) else nan


def power(a: Number, b: Number) -> Number:
    if a == 0 and b < 0:
        return inf
    try:
        return math.pow(a, b)
    except OverflowError:
        return -inf if a < 0 and b % 2 == 1 else inf
    except ValueError:
        return nan


def neg(a: Number) -> Number:
    return -a


def bitand(a: int, b: int) -> int:
    return a & b


def bitor(a: int, b: int) -> int:
    return a | b


def bitxor(a: int, b: int) -> int:
    return a ^ b


def bitnot(a: int) -> int:
    return ~a


def lshift(a: int, b: int) -> int:
    """`a * 2**b`; a number of places that is none counts as the nearest that is one."""
    return a << min(max(b, 0), _BITS - 1)


def rshift(a: int, b: int) -> int:
    """`floor(a / 2**b)`; for the places as `lshift`."""
    return a >> min(max(b, 0), _BITS - 1)


def sqrt(a: Number) -> Number:
    return math.sqrt(a) if a >= 0 else nan


def rsqrt(a: Number) -> Number:
    return div(1, sqrt(a))


def sigmoid(a: Number) -> Number:
    small = math.exp(-abs(a))
    return 1 / (1 + small) if a >= 0 else small / (1 + small)


def exponent(a: Number) -> Number:
    """The exponent of a number, as `math.frexp` counts it less 1."""
    if a == 0:
        return -inf
    return float(math.frexp(a)[1] - 1) if isfinite(a) else abs(a)


def sign(a: Number) -> Number:
    if isinstance(a, int):
        return (a > 0) - (a < 0)
    return a if a == 0 or isnan(a) else math.copysign(1.0, a)


def floor(a: Number) -> Number:
    return a if isinstance(a, int) or not isfinite(a) else float(math.floor(a))


def ceil(a: Number) -> Number:
    return a if isinstance(a, int) or not isfinite(a) else float(math.ceil(a))


def nearest(a: Number) -> Number:
    """The nearest whole number, the even one of two."""
    return a if isinstance(a, int) or not isfinite(a) else float(round(a))


def minimum(a: Number, b: Number) -> Number:
    return a if isnan(a) else b if isnan(b) else min(a, b)


def maximum(a: Number, b: Number) -> Number:
    return a if isnan(a) else b if isnan(b) else max(a, b)


def where(condition: Number, a: Number, b: Number) -> Number:
    return a if condition else b
