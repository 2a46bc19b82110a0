"""How torch spells each operation: an operator between operands, a function, or a method of the first operand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import frexp, inf, isnan, pi
from types import MappingProxyType

ATOM, POWER, UNARY, PRODUCT, SUM, SHIFT, BIT_AND, BIT_XOR, BIT_OR, COMPARISON, NOT, AND, OR, TERNARY = range(14, 0, -1)
"""How tightly Python binds, from a name or a call down to `a if c else b`."""


@dataclass(frozen=True, slots=True)
class Text:
    """A Python expression and how tightly its outermost operator binds."""

    code: str
    binding: int = ATOM

    def within(self, binding: int) -> str:
        """The expression as an operand of an operator that binds as tightly as `binding`, in brackets if need be."""
        return self.code if self.binding >= binding else f"({self.code})"

    def then(self, suffix: str) -> Text:
        """The expression with a method call or an index behind it."""
        return Text(self.within(ATOM) + suffix) if suffix else self


@dataclass(frozen=True, slots=True)
class Infix:
    """An operator between tensors."""

    symbol: str
    binding: int


@dataclass(frozen=True, slots=True)
class Prefix:
    """An operator in front of a tensor."""

    symbol: str
    binding: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function of torch, or a method of a tensor."""

    name: str


@dataclass(frozen=True, slots=True)
class Limit:
    """`maximum` and `minimum`: `clamp` against a Python number, a function of torch between tensors."""

    name: str
    keyword: str


@dataclass(frozen=True, slots=True)
class Written:
    """A function that stands above the reference, in `prelude.PRELUDE`."""

    name: str


SPELLINGS: Mapping[str, Infix | Prefix | Function | Limit | Written] = MappingProxyType(
    {
        "add": Infix("+", SUM),
        "sub": Infix("-", SUM),
        "mul": Infix("*", PRODUCT),
        "div": Infix("/", PRODUCT),
        "floordiv": Infix("//", PRODUCT),
        "mod": Infix("%", PRODUCT),
        "pow": Infix("**", POWER),
        "neg": Prefix("-", UNARY),
        "eq": Infix("==", COMPARISON),
        "ne": Infix("!=", COMPARISON),
        "lt": Infix("<", COMPARISON),
        "le": Infix("<=", COMPARISON),
        "gt": Infix(">", COMPARISON),
        "ge": Infix(">=", COMPARISON),
        "and": Infix("&", BIT_AND),
        "or": Infix("|", BIT_OR),
        "not": Prefix("~", UNARY),
        "bitand": Infix("&", BIT_AND),
        "bitor": Infix("|", BIT_OR),
        "bitxor": Infix("^", BIT_XOR),
        "bitnot": Prefix("~", UNARY),
        "lshift": Infix("<<", SHIFT),
        "rshift": Infix(">>", SHIFT),
        "where": Function("torch.where"),
        "abs": Function(".abs"),
        "exp": Function("torch.exp"),
        "exp2": Function("torch.exp2"),
        "expm1": Function("torch.expm1"),
        "log": Function("torch.log"),
        "log2": Function("torch.log2"),
        "log1p": Function("torch.log1p"),
        "exponent": Written("_exponent"),
        "sqrt": Function("torch.sqrt"),
        "rsqrt": Function("torch.rsqrt"),
        "sigmoid": Function("torch.sigmoid"),
        "tanh": Function("torch.tanh"),
        "erf": Function("torch.erf"),
        "erfc": Function("torch.erfc"),
        "sin": Function("torch.sin"),
        "cos": Function("torch.cos"),
        "sign": Written("_sign"),
        "floor": Function("torch.floor"),
        "ceil": Function("torch.ceil"),
        "round": Function("torch.round"),
        "minimum": Limit("torch.minimum", "max"),
        "maximum": Limit("torch.maximum", "min"),
    }
)


NUMBER_SPELLINGS: Mapping[str, Callable[..., Text]] = MappingProxyType(
    {
        "and": lambda a, b: Text(f"{a.within(AND)} and {b.within(NOT)}", AND),
        "or": lambda a, b: Text(f"{a.within(OR)} or {b.within(AND)}", OR),
        "not": lambda a: Text(f"not {a.within(NOT)}", NOT),
        "where": lambda c, a, b: Text(f"{a.within(OR)} if {c.within(OR)} else {b.within(TERNARY)}", TERNARY),
        "exp2": lambda a: infix("**", POWER, Text("2.0"), a),
        "sqrt": lambda a: infix("**", POWER, a, Text("0.5")),
        "rsqrt": lambda a: infix("**", POWER, a, Text("-0.5", UNARY)),
        "floor": lambda a: infix("//", PRODUCT, a, Text("1")),
    }
)
"""How Python spells what it has other operators for than torch, between plain numbers."""

NUMBER_FUNCTIONS: Mapping[str, str] = MappingProxyType(
    {"abs": "abs", "round": "round", "minimum": "min", "maximum": "max"}
)
"""What Python has a builtin for, between plain numbers."""


def literal(value: float | int | bool) -> Text:
    """A Python literal, in the form in which a reader recognises it."""
    if isinstance(value, bool | int):
        return Text(repr(value), UNARY if value < 0 else ATOM)
    if isnan(value):
        return Text("torch.nan")
    if value < 0:
        return Text(f"-{literal(-value).within(UNARY)}", UNARY)
    if value in (inf, pi):
        return Text("torch.inf" if value == inf else "torch.pi")
    mantissa, exponent = frexp(value)
    if mantissa == 0.5 and abs(exponent) > 24:
        return Text(f"2.0**{exponent - 1}", POWER)
    return Text(repr(value).replace("e-0", "e-"))


def infix(symbol: str, binding: int, left: Text, right: Text) -> Text:
    """`left symbol right`; comparisons do not chain, `**` binds to its right first, all others to their left."""
    if binding == POWER:
        return Text(f"{left.within(ATOM)} ** {right.within(UNARY)}", POWER)
    return Text(f"{left.within(binding + (binding == COMPARISON))} {symbol} {right.within(binding + 1)}", binding)


def call(name: str, *arguments: str) -> Text:
    """`name(arguments)`."""
    return Text(f"{name}({', '.join(arguments)})")
