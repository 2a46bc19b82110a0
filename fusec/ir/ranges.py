"""Ranges: between which numbers a value is proved to lie, and what an operation makes of the ranges of its operands.

Says nothing of graphs: `value_ranges` walks them. What is proved is about exact numbers. A kernel rounds them, which
moves a number by no more than it moves the end of its range, and may make 0 of one that is very small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import copysign, inf, isfinite, isinf, isnan
from typing import TypeAlias

from fusec.ir.arithmetic import Number, power

LARGEST_F32 = (2 - 2.0**-23) * 2.0**127
LARGEST_F64 = (2 - 2.0**-52) * 2.0**1023
LEAST_I64, MOST_I64 = -(2**63), 2**63 - 1

_SMALL = 2.0**-300
"""Stands for a number above 0 of which nothing else is known: it is less than any that values are compared with."""

_ERROR = 2.0**-18
"""More than the relative error of any function in f32."""

At: TypeAlias = Callable[..., Number]
Turns: TypeAlias = tuple[tuple[float, ...], ...]
"""For each operand of an operation the points where it may turn, from rising to falling or the other way, or jump."""


@dataclass(frozen=True, slots=True)
class Range:
    """Every number of a value is from `low` to `high`, or infinite, or NaN, as far as `below`, `above` and `nan` say.

    Where `nonzero` it is not 0, though it may be as near to it as one likes, and the limit of infinite operands. Ends
    are integers for a value of integers. With `low` above `high` nothing of it is finite.
    """

    low: Number
    high: Number
    below: bool = False
    above: bool = False
    nan: bool = False
    nonzero: bool = False

    @property
    def is_positive(self) -> bool:
        """Whether all numbers are above 0."""
        return self.is_size and self.nonzero

    @property
    def is_size(self) -> bool:
        """Whether no number is below 0."""
        return self.low >= 0 and not self.below

    @property
    def is_finite(self) -> bool:
        """Whether no number is infinite; it may be NaN."""
        return not self.below and not self.above

    @property
    def has_finite(self) -> bool:
        """Whether a number may be finite."""
        return self.low <= self.high

    def is_only(self, value: float) -> bool:
        """Whether the value is this one number, which may be infinite, or NaN if it is said to be that."""
        if isinf(value):
            return not self.has_finite and (self.below, self.above) == (value < 0, value > 0)
        return self.low == self.high == value and self.is_finite

    def within(self, least: Number, most: Number) -> bool:
        """Whether all finite numbers lie between two others."""
        return not self.has_finite or (least <= self.low and self.high <= most)

    def as_real(self) -> Range:
        """The same numbers as reals."""
        return replace(self, low=float(self.low), high=float(self.high))


EMPTY = Range(inf, -inf)
TRUTH = Range(0, 1)
INTEGER = Range(LEAST_I64, MOST_I64)
COUNT = Range(0, MOST_I64)


def real(low: float, high: float, *, nan: bool = False, nonzero: bool = False, largest: float = LARGEST_F32) -> Range:
    """Real numbers between two; what is beyond the `largest` finite one may be infinite."""
    ends = min(max(low, -largest), largest), max(min(high, largest), -largest)
    return Range(*ends, below=low < -largest, above=high > largest, nan=nan, nonzero=nonzero or low > 0 or high < 0)


def anything(largest: float = LARGEST_F32) -> Range:
    """Any real number, NaN included."""
    return Range(-largest, largest, True, True, True)


def whole(low: int, high: int) -> Range:
    """The integers between two, or all of 64 bits if these do not hold them: arithmetic wraps."""
    if low < LEAST_I64 or high > MOST_I64:
        return INTEGER
    return Range(low, high, nonzero=low > 0 or high < 0)


def point(value: Number) -> Range:
    """A literal."""
    if isinstance(value, int):
        return whole(value, value)
    if isnan(value):
        return replace(EMPTY, nan=True)
    if isinf(value):
        return replace(EMPTY, below=value < 0, above=value > 0, nonzero=True)
    return Range(value, value, nonzero=value != 0)


def hull(ranges: Iterable[Range]) -> Range:
    """Whatever one of several values may be. All of them are integers, or all real."""
    found = list(ranges)
    return Range(
        min(one.low for one in found),
        max(one.high for one in found),
        any(one.below for one in found),
        any(one.above for one in found),
        any(one.nan for one in found),
        all(one.nonzero for one in found),
    )


def loosened(found: Range) -> Range:
    """The range of what a kernel computes approximately. Its error is relative: it keeps signs, and 0."""
    if not found.has_finite:
        return found
    low, high = found.low - _ERROR * abs(found.low), found.high + _ERROR * abs(found.high)
    return replace(found, low=low, high=high)


# What an operation makes of ranges


def at_corners(at: At, turns: Turns, args: Sequence[Range], largest: float) -> Range:
    """The range of an operation that only rises or only falls in each operand between its turns.

    It is largest and least where every operand is at an end or at a turn; infinite operands are looked at one by one.
    """
    is_whole = all(isinstance(end, int) for arg in args for end in (arg.low, arg.high))
    finite = [_ends(arg, own, is_whole) for arg, own in zip(args, turns, strict=True)]
    values = [_value(at, corner, args) for corner in product(*finite)]
    if is_whole and all(isinstance(value, int) for value in values):
        found = whole(int(min(values)), int(max(values)))
    else:
        found = _of_reals(values, largest)
    return _with_infinities(_with_sign(found, at, finite, args), at, finite, args)


def _value(at: At, corner: Sequence[Number], args: Sequence[Range]) -> Number:
    """The result at a corner; beside it, where it is NaN at a 0 that is not reached."""
    value = at(*corner)
    return at(*map(_nearby, corner, args)) if isnan(value) else value


def _ends(arg: Range, turns: tuple[float, ...], is_whole: bool) -> list[Number]:
    """The finite operands at which to look."""
    if not arg.has_finite:
        return []
    inner = (int(turn) if is_whole else turn for turn in turns if arg.low <= turn <= arg.high)
    found = [arg.low, *inner, arg.high]
    return [end for value in found for end in (_sides(value, arg) if 0 in turns and not is_whole else (value,))]


def _sides(value: Number, arg: Range) -> tuple[float, ...]:
    """An end that is a pole, as it is met from each side. The number 0 itself counts as the limit from above."""
    return (value,) if value != 0 else (-0.0, 0.0) if arg.low < 0 else (0.0,)


def _of_reals(values: Sequence[Number], largest: float) -> Range:
    """The range of finite operands from its corners: where one is infinite, all up to that is reached."""
    numbers = [float(value) for value in values if not isnan(value)]
    if not numbers:
        return replace(EMPTY, nan=bool(values))
    return real(min(numbers), max(numbers), nan=len(numbers) < len(values), largest=largest)


def _with_infinities(found: Range, at: At, finite: Sequence[list[Number]], args: Sequence[Range]) -> Range:
    """The range with what infinite operands make, alone and beside finite ones."""
    infinite = [[*([-inf] if arg.below else []), *([inf] if arg.above else [])] for arg in args]
    if not any(infinite):
        return found
    # Beside an infinite operand a 0 that is not reached is a number near it.
    near = [[_nearby(end, arg) for end in ends] + more for ends, more, arg in zip(finite, infinite, args, strict=True)]
    values = [float(at(*point)) for point in product(*near) if any(map(isinf, point))]
    numbers = [value for value in values if isfinite(value)]
    return replace(
        found,
        low=min([found.low, *numbers]),
        high=max([found.high, *numbers]),
        below=found.below or -inf in values,
        above=found.above or inf in values,
        nan=found.nan or any(map(isnan, values)),
    )


def _nearby(end: Number, arg: Range) -> Number:
    if end != 0 or not arg.nonzero:
        return end
    return _SMALL if arg.low == 0 else -_SMALL if arg.high == 0 else copysign(_SMALL, end)


def _with_sign(found: Range, at: At, finite: Sequence[list[Number]], args: Sequence[Range]) -> Range:
    """The range with what follows from operands that are not 0 though their range ends there."""
    is_open = any(arg.nonzero and 0 in (arg.low, arg.high) for arg in args)
    if not is_open or not found.has_finite or isinstance(found.low, int):
        return found
    ends = [[_nearby(end, arg) for end in own] for own, arg in zip(finite, args, strict=True)]
    signs = [at(*point) for point in product(*ends)]
    if all(sign > 0 for sign in signs):
        return replace(found, low=max(found.low, 0), nonzero=True)
    if all(sign < 0 for sign in signs):
        return replace(found, high=min(found.high, 0), nonzero=True)
    return found


def remainder(a: Range, b: Range, largest: float) -> Range:
    """`a % b`: integers have the sign of `b` and are less, reals may have left that by a rounding."""
    if isinstance(a.low, int) and isinstance(b.low, int):
        return whole(min(int(b.low) + 1, 0), max(int(b.high) - 1, 0))
    if not b.has_finite or not b.is_finite:
        return anything(largest)
    size = max(abs(float(b.low)), abs(float(b.high)))
    return real(-size, size, nan=not (a.is_finite and b.nonzero), largest=largest)


def raised(base: Range, exponent: Range, largest: float) -> Range:
    """`base ** exponent`, known where no base is below 0, and for one even exponent."""
    if exponent.low == exponent.high and exponent.is_finite and exponent.low % 2 == 0 and exponent.low > 0:
        size = max(abs(base.low), abs(base.high)) if base.has_finite else inf
        ends = real(0.0, float(power(size, exponent.low)), largest=largest)
        return replace(ends, above=ends.above or not base.is_finite, nonzero=base.nonzero)
    if not base.is_size:
        return anything(largest)
    return at_corners(power, ((0.0, 1.0), (0.0,)), (base, exponent), largest)


def conjunction(a: Range, b: Range, largest: float) -> Range:
    """`a & b` has no more than one of them that is not negative."""
    sizes = [int(one.high) for one in (a, b) if one.low >= 0]
    return whole(0, min(sizes)) if sizes else digits(a, b, largest)


def digits(a: Range, b: Range, largest: float) -> Range:
    """The integers of as many digits as the longer of two has, which bitwise operations make."""
    ends = (int(end) for one in (a, b) for end in (one.low, one.high))
    count = max(end.bit_length() if end >= 0 else (~end).bit_length() for end in ends)
    return whole(0 if a.low >= 0 and b.low >= 0 else -(2**count), 2**count - 1)


def total(term: Range, largest: float) -> Range:
    """The sum of at least one term and at most 2**63."""
    if isinstance(term.low, int):
        return whole(min(int(term.low), int(term.low) * MOST_I64), max(int(term.high), int(term.high) * MOST_I64))
    if not term.has_finite:
        return replace(term, nan=term.nan or (term.below and term.above))
    low = term.low if term.low >= 0 else float(term.low) * 2.0**63
    high = term.high if term.high <= 0 else float(term.high) * 2.0**63
    found = real(low, high, nan=term.nan, nonzero=term.nonzero and (term.low >= 0 or term.high <= 0), largest=largest)
    below, above = found.below or term.below, found.above or term.above
    return replace(found, below=below, above=above, nan=term.nan or (below and above))
