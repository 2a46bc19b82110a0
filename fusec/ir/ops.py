"""The elementwise operations and the reductions of the language: names, arities, typing rules and traits.

A trait is what passes ask of an operation instead of its name: each is a column here, with its definition at the field,
and a test holds every one of them to what the reference computes. A derivative would be one more column. Each layer
keeps a table of its own over the same keys (torch meaning, rounding error, Triton spelling); a test asserts that the
keys agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from math import inf, isinf
from typing import TypeAlias

from fusec.ir import arithmetic as single
from fusec.ir import ranges
from fusec.ir.arithmetic import Number, analytic
from fusec.ir.ranges import LARGEST_F32, Range, Turns
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


_ANYWHERE: tuple[float, ...] = ()
_RISES = (_ANYWHERE,)
"""Or falls: one operand without a turn."""
_BOTH = (_ANYWHERE, _ANYWHERE)
_ZERO = (0.0,)

_LOGIC = (Kind.BOOL,)
_WHOLE = (Kind.INT,)
_ALL = (Kind.REAL, Kind.INT, Kind.BOOL)
_ONE, _NONE, _HALF = Fraction(1), Fraction(0), Fraction(1, 2)
_SUM = Scaling(together=_ONE, any_sign=True)
_ORDER = Scaling(together=_ONE)


def _arithmetic(symbol: str, at: Callable[..., Number], turns: Turns, noun: str, neutral: int | None) -> ElementwiseOp:
    name, result = at.__name__, Result.REAL if at is single.div else Result.PROMOTE
    return ElementwiseOp(name, 2, result, symbol=symbol, at=at, turns=turns, noun=noun, neutral=neutral)


def _comparison(name: str, symbol: str, any_sign: bool = False) -> ElementwiseOp:
    return ElementwiseOp(name, 2, Result.BOOL, symbol=symbol, scaling=Scaling(together=_NONE, any_sign=any_sign))


def _bits(name: str, symbol: str, at: Callable[..., Number], rule: Rule, neutral: int) -> ElementwiseOp:
    return ElementwiseOp(name, 2, Result.INT, _WHOLE, symbol, at=at, rule=rule, neutral=neutral)


def _shift(name: str, symbol: str, at: Callable[..., Number]) -> ElementwiseOp:
    return ElementwiseOp(name, 2, Result.INT, _WHOLE, symbol, at=at, turns=_BOTH, shifts=True, neutral=0)


def _order(at: Callable[..., Number]) -> ElementwiseOp:
    return ElementwiseOp(at.__name__, 2, Result.PROMOTE, at=at, turns=_BOTH, scaling=_ORDER, exact=True)


def _to_integer(name: str, at: Callable[..., Number]) -> ElementwiseOp:
    op = ElementwiseOp(name, 1, Result.PROMOTE, at=at, turns=_RISES, exact=True, quantises=True)
    return replace(op, keeps_integers=True)


def _function(
    name: str,
    at: Callable[[Number], Number],
    turns: tuple[float, ...] = _ANYWHERE,
    image: tuple[float, float] = (-inf, inf),
    positive: bool = False,
) -> ElementwiseOp:
    return ElementwiseOp(name, 1, Result.REAL, at=at, turns=(turns,), image=image, positive=positive)


def _wave(name: str, at: Callable[[Number], Number]) -> ElementwiseOp:
    return ElementwiseOp(name, 1, Result.REAL, at=at, image=(-1.0, 1.0), period=2 * math.pi)


_ADD = replace(_arithmetic("+", single.add, _BOTH, "total", 0), scaling=_SUM, linear=(1, 1), grows=True)
_SUB = replace(_arithmetic("-", single.sub, _BOTH, "difference", 0), scaling=_SUM, linear=(1, -1), grows=True)
_MUL = replace(
    _arithmetic("*", single.mul, (_ZERO, _ZERO), "product", 1),
    scaling=Scaling(each=(_ONE, _ONE), any_sign=True),
    grows=True,
)
_DIV = replace(
    _arithmetic("/", single.div, (_ZERO, _ZERO), "quotient", 1), scaling=Scaling(each=(_ONE, -_ONE), any_sign=True)
)
_FLOORDIV = replace(
    _arithmetic("//", single.floordiv, (_ZERO, (-1.0, 0.0, 1.0)), "", None),
    scaling=Scaling(together=_NONE, any_sign=True),
    quantises=True,
    grows=True,
    divides_integers=True,
)
_MOD = ElementwiseOp(
    "mod",
    2,
    Result.PROMOTE,
    symbol="%",
    at=single.mod,
    rule=ranges.remainder,
    scaling=_SUM,
    quantises=True,
    divides_integers=True,
)
_POW = ElementwiseOp(
    "pow",
    2,
    Result.REAL,
    symbol="**",
    at=single.power,
    rule=ranges.raised,
    neutral=1,
    strict=False,
    repeats="mul",
    noun="power",
)
_NEG = ElementwiseOp(
    "neg",
    1,
    Result.PROMOTE,
    at=single.neg,
    turns=_RISES,
    scaling=Scaling(each=(_ONE,), any_sign=True),
    linear=(-1,),
    exact=True,
    grows=True,
)
_ABS = ElementwiseOp(
    "abs",
    1,
    Result.PROMOTE,
    at=abs,
    turns=(_ZERO,),
    image=(0.0, inf),
    scaling=Scaling(each=(_ONE,)),
    exact=True,
    grows=True,
)
_SIGN = ElementwiseOp(
    "sign",
    1,
    Result.PROMOTE,
    at=single.sign,
    turns=_RISES,
    image=(-1.0, 1.0),
    scaling=Scaling(each=(_NONE,)),
    exact=True,
    quantises=True,
)
_WHERE = ElementwiseOp(
    "where",
    3,
    Result.PROMOTE,
    _ALL,
    at=single.where,
    scaling=_SUM,
    exact=True,
    strict=False,
    selects=True,
    noun="selected",
)

ELEMENTWISE: dict[str, ElementwiseOp] = {
    op.name: op
    for op in (
        _ADD,
        _SUB,
        _MUL,
        _DIV,
        _FLOORDIV,
        _MOD,
        _POW,
        _NEG,
        _comparison("eq", "==", any_sign=True),
        _comparison("ne", "!=", any_sign=True),
        _comparison("lt", "<"),
        _comparison("le", "<="),
        _comparison("gt", ">"),
        _comparison("ge", ">="),
        ElementwiseOp("and", 2, Result.BOOL, _LOGIC, symbol="and", noun="both"),
        ElementwiseOp("or", 2, Result.BOOL, _LOGIC, symbol="or", noun="either"),
        ElementwiseOp("not", 1, Result.BOOL, _LOGIC, noun="opposite"),
        _bits("bitand", "&", single.bitand, ranges.conjunction, -1),
        _bits("bitor", "|", single.bitor, ranges.digits, 0),
        _bits("bitxor", "^", single.bitxor, ranges.digits, 0),
        ElementwiseOp("bitnot", 1, Result.INT, _WHOLE, at=single.bitnot, turns=_RISES),
        replace(_shift("lshift", "<<", single.lshift), grows=True),
        _shift("rshift", ">>", single.rshift),
        _WHERE,
        _ABS,
        _function("exp", analytic(math.exp), image=(0.0, inf), positive=True),
        _function("exp2", analytic(math.exp2), image=(0.0, inf), positive=True),
        _function("expm1", analytic(math.expm1), image=(-1.0, inf)),
        _function("log", analytic(math.log, {0: -inf}), _ZERO),
        _function("log2", analytic(math.log2, {0: -inf}), _ZERO),
        _function("log1p", analytic(math.log1p, {-1: -inf}), (-1.0,)),
        replace(_function("exponent", single.exponent, _ZERO), operands=(Kind.REAL,), quantises=True),
        replace(_function("sqrt", single.sqrt, _ZERO, (0.0, inf)), scaling=Scaling(each=(_HALF,))),
        replace(_function("rsqrt", single.rsqrt, _ZERO, (0.0, inf), positive=True), scaling=Scaling(each=(-_HALF,))),
        _function("sigmoid", single.sigmoid, image=(0.0, 1.0), positive=True),
        _function("tanh", analytic(math.tanh), image=(-1.0, 1.0)),
        _function("erf", analytic(math.erf), image=(-1.0, 1.0)),
        _function("erfc", analytic(math.erfc), image=(0.0, 2.0), positive=True),
        _wave("sin", analytic(math.sin)),
        _wave("cos", analytic(math.cos)),
        _SIGN,
        _to_integer("floor", single.floor),
        _to_integer("ceil", single.ceil),
        _to_integer("round", single.nearest),
        _order(single.minimum),
        _order(single.maximum),
    )
}
"""`where(c, a, b)` takes a truth value first; `clamp(x, lo, hi)` is `minimum(maximum(x, lo), hi)` in `std.fuse`.
`round` is to nearest, ties to even. `exponent(x)` is floor(log2|x|), a real number: -inf for 0, inf for infinities.
Integers have all the digits they need: `a << n` is a * 2**n, `a >> n` is floor(a / 2**n), for n from 0 to 63, and `-1`
is a 1 in every place. `minimum` and `maximum` propagate NaN, as `amax` and `amin` do."""

PREFIX: dict[str, str] = {"neg": "-", "not": "not", "bitnot": "~"}
"""The operations of one operand that have a sign in front of it instead of a name."""


def range_of(op: str, operands: Sequence[Range], largest: float = LARGEST_F32) -> Range:
    """The range of a result, from those of the operands; reals are computed in a type with this `largest` number."""
    own = ELEMENTWISE[op]
    args = [*operands[own.numbers]]
    if own.result is Result.BOOL:
        return ranges.TRUTH
    if own.result is Result.REAL or any(isinstance(arg.low, float) for arg in args):
        args = [arg.as_real() for arg in args]
    if own.selects:
        return ranges.hull(args)
    if own.rule is not None:
        found = own.rule(args[0], args[1], largest)
    elif own.turns is not None and own.at is not None:
        found = ranges.at_corners(own.at, own.turns, args, largest)
    else:
        found = ranges.real(*own.image, nan=not all(arg.is_finite for arg in args), largest=largest)
    if isinstance(found.low, int):
        return found
    found = replace(found, nan=found.nan or any(arg.nan for arg in args))
    if own.positive and any(arg.has_finite for arg in args):
        found = replace(found, low=max(found.low, 0.0), below=False, nonzero=True)
    return found if own.exact or own.is_rational else ranges.loosened(found)


@dataclass(frozen=True, slots=True)
class ReduceOp:
    """A reduction: a monoid of the elementwise operation `combine` and its identity.

    With `averages` it is the reduction of that name, divided by the count at the end.
    """

    name: str
    combine: str
    identity: float
    averages: str | None = None
    noun: str = ""

    @property
    def passes_any_sign(self) -> bool:
        """Whether a factor leaves it whatever its sign; a positive one always does."""
        return ELEMENTWISE[self.combine].scaling.any_sign

    @property
    def picks(self) -> bool:
        """Whether the result is one of the numbers that are reduced."""
        return isinf(self.identity)

    def is_beaten_by(self, other: Range, inside: Range) -> bool:
        """Whether numbers of the range `other` leave a result alone that is made of numbers of `inside`."""
        if not self.picks:
            return False
        if self.identity < 0:
            return not other.above and not inside.below and other.high <= inside.low
        return not other.below and not inside.above and other.low >= inside.high


REDUCTIONS: dict[str, ReduceOp] = {
    op.name: op
    for op in (
        ReduceOp("sum", "add", 0.0, noun="total"),
        ReduceOp("mean", "add", 0.0, averages="sum", noun="mean"),
        ReduceOp("amax", "maximum", -inf, noun="largest"),
        ReduceOp("amin", "minimum", inf, noun="smallest"),
    )
}
