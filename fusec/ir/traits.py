"""Traits: what passes ask of an operation instead of its name.

Each is a field here, with its definition; `ops` has the values, and a test holds every one of them to what the
reference computes. A derivative would be one more field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from math import inf
from typing import TypeAlias

from fusec.ir.arithmetic import Number
from fusec.ir.ranges import Range, Turns
from fusec.ir.types import Kind

Rule: TypeAlias = Callable[[Range, Range, float], Range]
"""The range of two operands, as reals have it up to the largest one."""


class Result(Enum):
    """How the kind of an elementwise result follows from its operands."""

    REAL = "always real"
    INT = "always an integer"
    BOOL = "a truth value"
    PROMOTE = "an integer when every operand is one, else real"


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a result f follows factors s > 0 of its operands, and s < 0 too where it does so with `any_sign`.

    With `each`: f(.., s x_i, ..) = s**each[i] f(x). With `together`: f(s x) = s**together f(x), for all operands at
    once; those that only select a result have no factor.
    """

    each: tuple[Fraction, ...] | None = None
    together: Fraction | None = None
    any_sign: bool = False

    def degree(self, degrees: Sequence[Fraction]) -> Fraction | None:
        """The degree of the result where the operands have these; None where it follows no common factor."""
        if self.each is not None:
            return sum((own * degree for own, degree in zip(self.each, degrees, strict=True)), Fraction(0))
        return self.together * degrees[0] if self.together is not None and len(set(degrees)) == 1 else None


@dataclass(frozen=True, slots=True)
class ElementwiseOp:
    """An elementwise operation: its signature and its traits. `operands` lists the kinds that its operands may have."""

    name: str
    arity: int
    result: Result
    operands: tuple[Kind, ...] = (Kind.REAL, Kind.INT)
    symbol: str | None = None
    at: Callable[..., Number] | None = None
    """The result for single numbers. None for truth values."""
    turns: Turns | None = None
    """Between these points of an operand the result only rises or only falls in it, whatever the others are (and where
    there are none, everywhere). None where nothing of the sort is known."""
    image: tuple[float, float] = (-inf, inf)
    """No result is outside."""
    positive: bool = False
    """A result is above 0 for finite operands, though a number of f32 may be too coarse to say so (0 has no sign)."""
    rule: Rule | None = None
    """The range of a result where it does not follow from `turns` and `image`."""
    scaling: Scaling = Scaling()
    linear: tuple[int, ...] | None = None
    """The result is the sum of the operands times these."""
    exact: bool = False
    """Where the operands are numbers of a storage type of reals, so is the result: it is never rounded."""
    keeps_integers: bool = False
    """The result for an integer is that integer."""
    selects: bool = False
    """The first operand, a truth value, says which other one is the result."""
    strict: bool = True
    """The result is NaN where an operand is."""
    quantises: bool = False
    """The result jumps: operands as near to each other as one likes have results that are not."""
    grows: bool = False
    """Of integers it may make one that takes more bits than any of them."""
    divides_integers: bool = False
    """Integers are divided by the second operand, which must not be 0."""
    shifts: bool = False
    """The second operand is a number of places, from 0 to 63."""
    neutral: Number | None = None
    """As the second operand it leaves the first one as it is."""
    repeats: str | None = None
    """`f(a, n)` is this operation of n times `a`, for whole n above 0."""
    period: float | None = None
    """f(x + period) = f(x)."""
    noun: str = ""
    """What a result is called."""

    @property
    def numbers(self) -> slice:
        """The operands that a result is made of."""
        return slice(1, None) if self.selects else slice(None)

    @property
    def is_product(self) -> bool:
        """Whether it is the product of powers of its operands, which are of any sign, and maybe of -1."""
        return self.scaling.each is not None and self.scaling.any_sign

    @property
    def is_quotient(self) -> bool:
        """Whether the second operand divides the first."""
        return self.is_product and self.scaling.each == (Fraction(1), Fraction(-1))

    @property
    def multiplies(self) -> bool:
        """Whether it is the product of two operands."""
        return self.arity == 2 and self.is_product and not self.is_quotient

    @property
    def is_sum(self) -> bool:
        """Whether it adds two operands."""
        return self.linear == (1, 1)

    @property
    def is_rational(self) -> bool:
        """Whether it is a sum, a difference, a product or a quotient of two operands."""
        return self.arity == 2 and (self.is_product or self.linear is not None)

    @property
    def turns_sign(self) -> bool:
        """Whether the result is the operand with the other sign."""
        return self.linear == (-1,)

    @property
    def passes_factor(self) -> bool:
        """Whether a factor that all operands have is one of the result, and no rounding can make it jump."""
        scaling = self.scaling
        return not self.quantises and scaling.degree([Fraction(1)] * len(range(self.arity)[self.numbers])) == 1
