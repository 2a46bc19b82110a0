"""The elementwise operations and the reductions of the language: names, arities, typing rules and traits.

Each layer keeps a table of its own over the same keys (torch meaning, rounding error, Triton spelling); a test asserts
that the keys agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf, isinf

from fusec.ir import arithmetic as single
from fusec.ir import ranges
from fusec.ir.arithmetic import Number, analytic
from fusec.ir.ranges import LARGEST_F32, Range
from fusec.ir.traits import ElementwiseOp, Result, Scaling
from fusec.ir.types import Kind

_LOGIC = (Kind.BOOL,)
_WHOLE = (Kind.INT,)
_ALL = (Kind.REAL, Kind.INT, Kind.BOOL)

_RISES: tuple[tuple[float, ...], ...] = ((),)
"""One operand without a turn: the result rises, or falls."""
_BOTH: tuple[tuple[float, ...], ...] = ((), ())
_ZERO = (0.0,)

_NONE, _HALF, _ONE = Fraction(0), Fraction(1, 2), Fraction(1)
_SUM = Scaling(together=_ONE, any_sign=True)
_PRODUCT = Scaling(each=(_ONE, _ONE), any_sign=True)
_QUOTIENT = Scaling(each=(_ONE, -_ONE), any_sign=True)
_NEGATION = Scaling(each=(_ONE,), any_sign=True)
_SIZE = Scaling(each=(_ONE,))
_ORDER = Scaling(together=_ONE)


def _comparison(name: str, symbol: str, noun: str, any_sign: bool = False) -> ElementwiseOp:
    scaling = Scaling(together=_NONE, any_sign=any_sign)
    return ElementwiseOp(name, 2, Result.BOOL, symbol=symbol, scaling=scaling, noun=noun)


def _function(name: str, at: Callable[[Number], Number], turns: tuple[float, ...] = ()) -> ElementwiseOp:
    """A function of analysis."""
    return ElementwiseOp(name, 1, Result.REAL, at=at, turns=(turns,))


def _to_integer(name: str, at: Callable[[Number], Number]) -> ElementwiseOp:
    return ElementwiseOp(name, 1, Result.PROMOTE, at=at, turns=_RISES, exact=True, keeps_integers=True, quantises=True)


_ARITHMETIC = (
    ElementwiseOp(
        "add",
        2,
        Result.PROMOTE,
        symbol="+",
        at=single.add,
        turns=_BOTH,
        scaling=_SUM,
        linear=(1, 1),
        grows=True,
        neutral=0,
        noun="total",
    ),
    ElementwiseOp(
        "sub",
        2,
        Result.PROMOTE,
        symbol="-",
        at=single.sub,
        turns=_BOTH,
        scaling=_SUM,
        linear=(1, -1),
        grows=True,
        neutral=0,
        noun="difference",
    ),
    ElementwiseOp(
        "mul",
        2,
        Result.PROMOTE,
        symbol="*",
        at=single.mul,
        turns=(_ZERO, _ZERO),
        scaling=_PRODUCT,
        grows=True,
        neutral=1,
        noun="product",
    ),
    ElementwiseOp(
        "div",
        2,
        Result.REAL,
        symbol="/",
        at=single.div,
        turns=(_ZERO, _ZERO),
        scaling=_QUOTIENT,
        neutral=1,
        noun="quotient",
    ),
    ElementwiseOp(
        "floordiv",
        2,
        Result.PROMOTE,
        symbol="//",
        at=single.floordiv,
        turns=(_ZERO, (-1.0, 0.0, 1.0)),
        scaling=Scaling(together=_NONE, any_sign=True),
        quantises=True,
        grows=True,
        divides_integers=True,
    ),
    ElementwiseOp(
        "mod",
        2,
        Result.PROMOTE,
        symbol="%",
        at=single.mod,
        rule=ranges.remainder,
        scaling=_SUM,
        quantises=True,
        divides_integers=True,
    ),
    ElementwiseOp(
        "pow",
        2,
        Result.REAL,
        symbol="**",
        at=single.power,
        rule=ranges.raised,
        strict=False,
        neutral=1,
        repeats="mul",
        noun="power",
    ),
    ElementwiseOp(
        "neg", 1, Result.PROMOTE, at=single.neg, turns=_RISES, scaling=_NEGATION, linear=(-1,), exact=True, grows=True
    ),
    ElementwiseOp(
        "abs", 1, Result.PROMOTE, at=abs, turns=(_ZERO,), image=(0.0, inf), scaling=_SIZE, exact=True, grows=True
    ),
    ElementwiseOp(
        "sign",
        1,
        Result.PROMOTE,
        at=single.sign,
        turns=_RISES,
        image=(-1.0, 1.0),
        scaling=Scaling(each=(_NONE,)),
        exact=True,
        quantises=True,
    ),
    _to_integer("floor", single.floor),
    _to_integer("ceil", single.ceil),
    _to_integer("round", single.nearest),
)
_CHOICES = (
    _comparison("eq", "==", "equal", any_sign=True),
    _comparison("ne", "!=", "unequal", any_sign=True),
    _comparison("lt", "<", "less"),
    _comparison("le", "<=", "at_most"),
    _comparison("gt", ">", "greater"),
    _comparison("ge", ">=", "at_least"),
    ElementwiseOp("and", 2, Result.BOOL, _LOGIC, symbol="and", noun="both"),
    ElementwiseOp("or", 2, Result.BOOL, _LOGIC, symbol="or", noun="either"),
    ElementwiseOp("not", 1, Result.BOOL, _LOGIC, noun="opposite"),
    ElementwiseOp(
        "where",
        3,
        Result.PROMOTE,
        _ALL,
        at=single.where,
        scaling=_SUM,
        exact=True,
        selects=True,
        strict=False,
        noun="selected",
    ),
    ElementwiseOp("minimum", 2, Result.PROMOTE, at=single.minimum, turns=_BOTH, scaling=_ORDER, exact=True),
    ElementwiseOp("maximum", 2, Result.PROMOTE, at=single.maximum, turns=_BOTH, scaling=_ORDER, exact=True),
)
_DIGITS = (
    ElementwiseOp("bitand", 2, Result.INT, _WHOLE, "&", at=single.bitand, rule=ranges.conjunction, neutral=-1),
    ElementwiseOp("bitor", 2, Result.INT, _WHOLE, "|", at=single.bitor, rule=ranges.digits, neutral=0),
    ElementwiseOp("bitxor", 2, Result.INT, _WHOLE, "^", at=single.bitxor, rule=ranges.digits, neutral=0),
    ElementwiseOp("bitnot", 1, Result.INT, _WHOLE, at=single.bitnot, turns=_RISES),
    ElementwiseOp(
        "lshift", 2, Result.INT, _WHOLE, "<<", at=single.lshift, turns=_BOTH, grows=True, shifts=True, neutral=0
    ),
    ElementwiseOp("rshift", 2, Result.INT, _WHOLE, ">>", at=single.rshift, turns=_BOTH, shifts=True, neutral=0),
)
_ANALYSIS = (
    replace(_function("exp", analytic(math.exp)), image=(0.0, inf), positive=True),
    replace(_function("exp2", analytic(math.exp2)), image=(0.0, inf), positive=True),
    replace(_function("expm1", analytic(math.expm1)), image=(-1.0, inf)),
    _function("log", analytic(math.log, {0: -inf}), _ZERO),
    _function("log2", analytic(math.log2, {0: -inf}), _ZERO),
    _function("log1p", analytic(math.log1p, {-1: -inf}), (-1.0,)),
    replace(_function("exponent", single.exponent, _ZERO), operands=(Kind.REAL,), quantises=True),
    replace(_function("sqrt", single.sqrt, _ZERO), image=(0.0, inf), scaling=Scaling(each=(_HALF,))),
    replace(
        _function("rsqrt", single.rsqrt, _ZERO),
        image=(0.0, inf),
        positive=True,
        scaling=Scaling(each=(-_HALF,)),
        noun="rstd",
    ),
    replace(_function("sigmoid", single.sigmoid), image=(0.0, 1.0), positive=True),
    replace(_function("tanh", analytic(math.tanh)), image=(-1.0, 1.0)),
    replace(_function("erf", analytic(math.erf)), image=(-1.0, 1.0)),
    replace(_function("erfc", analytic(math.erfc)), image=(0.0, 2.0), positive=True),
    ElementwiseOp("sin", 1, Result.REAL, at=analytic(math.sin), image=(-1.0, 1.0), period=2 * math.pi),
    ElementwiseOp("cos", 1, Result.REAL, at=analytic(math.cos), image=(-1.0, 1.0), period=2 * math.pi),
)

ELEMENTWISE: dict[str, ElementwiseOp] = {op.name: op for op in (*_ARITHMETIC, *_CHOICES, *_DIGITS, *_ANALYSIS)}
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
    def adds(self) -> bool:
        """Whether it is the sum of all numbers, divided by nothing."""
        return not self.picks and self.averages is None

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
