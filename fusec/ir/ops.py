"""The elementwise operations and the reductions of the language: names, arities and typing rules.

Each layer keeps a table of its own over the same keys (torch meaning, rounding error, Triton spelling); a test
asserts that the keys agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fusec.ir.types import Kind


class Result(Enum):
    """How the kind of an elementwise result follows from its operands."""

    REAL = "always real"
    INT = "always an integer"
    BOOL = "a truth value"
    PROMOTE = "an integer when every operand is one, else real"


@dataclass(frozen=True, slots=True)
class ElementwiseOp:
    """Signature of an elementwise operation. `operands` lists the kinds that may stand in any operand place."""

    name: str
    arity: int
    result: Result
    operands: tuple[Kind, ...] = (Kind.REAL, Kind.INT)
    symbol: str | None = None


_LOGIC = (Kind.BOOL,)
_WHOLE = (Kind.INT,)

ELEMENTWISE: dict[str, ElementwiseOp] = {
    op.name: op
    for op in (
        ElementwiseOp("add", 2, Result.PROMOTE, symbol="+"),
        ElementwiseOp("sub", 2, Result.PROMOTE, symbol="-"),
        ElementwiseOp("mul", 2, Result.PROMOTE, symbol="*"),
        ElementwiseOp("div", 2, Result.REAL, symbol="/"),
        ElementwiseOp("floordiv", 2, Result.PROMOTE, symbol="//"),
        ElementwiseOp("mod", 2, Result.PROMOTE, symbol="%"),
        ElementwiseOp("pow", 2, Result.REAL, symbol="**"),
        ElementwiseOp("neg", 1, Result.PROMOTE),
        ElementwiseOp("eq", 2, Result.BOOL, symbol="=="),
        ElementwiseOp("ne", 2, Result.BOOL, symbol="!="),
        ElementwiseOp("lt", 2, Result.BOOL, symbol="<"),
        ElementwiseOp("le", 2, Result.BOOL, symbol="<="),
        ElementwiseOp("gt", 2, Result.BOOL, symbol=">"),
        ElementwiseOp("ge", 2, Result.BOOL, symbol=">="),
        ElementwiseOp("and", 2, Result.BOOL, _LOGIC, symbol="and"),
        ElementwiseOp("or", 2, Result.BOOL, _LOGIC, symbol="or"),
        ElementwiseOp("not", 1, Result.BOOL, _LOGIC),
        ElementwiseOp("bitand", 2, Result.INT, _WHOLE, symbol="&"),
        ElementwiseOp("bitor", 2, Result.INT, _WHOLE, symbol="|"),
        ElementwiseOp("bitxor", 2, Result.INT, _WHOLE, symbol="^"),
        ElementwiseOp("bitnot", 1, Result.INT, _WHOLE),
        ElementwiseOp("lshift", 2, Result.INT, _WHOLE, symbol="<<"),
        ElementwiseOp("rshift", 2, Result.INT, _WHOLE, symbol=">>"),
        ElementwiseOp("where", 3, Result.PROMOTE, (Kind.REAL, Kind.INT, Kind.BOOL)),
        ElementwiseOp("abs", 1, Result.PROMOTE),
        ElementwiseOp("exp", 1, Result.REAL),
        ElementwiseOp("exp2", 1, Result.REAL),
        ElementwiseOp("expm1", 1, Result.REAL),
        ElementwiseOp("log", 1, Result.REAL),
        ElementwiseOp("log2", 1, Result.REAL),
        ElementwiseOp("log1p", 1, Result.REAL),
        ElementwiseOp("exponent", 1, Result.REAL, (Kind.REAL,)),
        ElementwiseOp("sqrt", 1, Result.REAL),
        ElementwiseOp("rsqrt", 1, Result.REAL),
        ElementwiseOp("sigmoid", 1, Result.REAL),
        ElementwiseOp("tanh", 1, Result.REAL),
        ElementwiseOp("erf", 1, Result.REAL),
        ElementwiseOp("erfc", 1, Result.REAL),
        ElementwiseOp("sin", 1, Result.REAL),
        ElementwiseOp("cos", 1, Result.REAL),
        ElementwiseOp("sign", 1, Result.PROMOTE),
        ElementwiseOp("floor", 1, Result.PROMOTE),
        ElementwiseOp("ceil", 1, Result.PROMOTE),
        ElementwiseOp("round", 1, Result.PROMOTE),
        ElementwiseOp("minimum", 2, Result.PROMOTE),
        ElementwiseOp("maximum", 2, Result.PROMOTE),
    )
}
"""`where(c, a, b)` takes a truth value first; `clamp(x, lo, hi)` is `minimum(maximum(x, lo), hi)` in `std.fuse`.
`round` is to nearest, ties to even. `exponent(x)` is floor(log2|x|), a real number: -inf for 0, inf for infinities.
Integers have all the digits they need: `a << n` is a * 2**n, `a >> n` is floor(a / 2**n), for n from 0 to 63, and `-1`
is a 1 in every place. `minimum` and `maximum` propagate NaN, as `amax` and `amin` do."""

PREFIX: dict[str, str] = {"neg": "-", "not": "not", "bitnot": "~"}
"""The operations of one operand that have a sign in front of it instead of a name."""


@dataclass(frozen=True, slots=True)
class ReduceOp:
    """A reduction: a monoid of the elementwise operation `combine` and its identity.

    `mean` is a sum, divided by the count at the end.
    """

    name: str
    combine: str
    identity: float


REDUCTIONS: dict[str, ReduceOp] = {
    op.name: op
    for op in (
        ReduceOp("sum", "add", 0.0),
        ReduceOp("mean", "add", 0.0),
        ReduceOp("amax", "maximum", float("-inf")),
        ReduceOp("amin", "minimum", float("inf")),
    )
}
