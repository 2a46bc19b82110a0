"""Codes: what the digits of a number stand for, and the digits of the nearest number, as arithmetic of a graph.

For types that neither PyTorch's arithmetic nor Triton's has: integers of four bits, and the formats of OCP Microscaling
Formats (MX) Specification 1.0, 2023: E2M1, and E8M0 for scales.
"""

from __future__ import annotations

from collections.abc import Callable
from math import nan

from fusec.diagnostics import Span
from fusec.ir.builder import GraphBuilder
from fusec.ir.expressions import Cast, Const, Elementwise, Expr, NodeId
from fusec.ir.formats import limits
from fusec.ir.graph import ScalarParam, TensorParam
from fusec.ir.type_rules import infer
from fusec.ir.types import DTYPES, DType, Kind

BYTE = DTYPES["u8"]
_WHOLE = DTYPES["i8"]
"""What every number of four bits is a number of."""


class Writer:
    """Adds typed nodes to a graph, all with the span of what they stand for."""

    def __init__(
        self, builder: GraphBuilder, params: Callable[[str], TensorParam | ScalarParam], span: Span | None
    ) -> None:
        self.builder = builder
        self._params = params
        self._span = span

    def add(self, expr: Expr, name: str | None = None) -> NodeId:
        """The node of an expression, with the type that follows."""
        type = infer(expr, lambda number: self.builder[number].type, self._params)
        return self.builder.add(expr, type, name, self._span)

    def number(self, value: float | int) -> NodeId:
        """A literal."""
        return self.add(Const(value))

    def apply(self, op: str, *args: NodeId) -> NodeId:
        """An operation."""
        return self.add(Elementwise(op, args))

    def by(self, op: str, value: NodeId, number: float | int) -> NodeId:
        """An operation whose second operand is a literal."""
        return self.apply(op, value, self.number(number))

    def where(self, condition: NodeId, one: NodeId, other: NodeId) -> NodeId:
        """One or the other."""
        return self.apply("where", condition, one, other)


def decoded(write: Writer, code: NodeId, dtype: DType) -> NodeId:
    """The number that the digits `code`, an integer that is not negative, stand for."""
    if dtype.kind is Kind.INT:
        return code if limits(dtype)[0] == 0 else write.by("sub", write.by("bitxor", code, 8), 8)
    return _from_e8m0(write, code) if dtype.bits == 8 else _from_e2m1(write, code)


def both_decoded(write: Writer, byte: NodeId, dtype: DType) -> tuple[NodeId, NodeId]:
    """The two numbers of four bits that share a byte."""
    if dtype.kind is Kind.INT and limits(dtype)[0] < 0:
        # As in `decoded`, of both at once.
        low, high = _digits(write, write.by("bitxor", byte, 0x88))
        return write.by("sub", low, 8), write.by("sub", high, 8)
    low, high = _digits(write, byte)
    return decoded(write, low, dtype), decoded(write, high, dtype)


def _digits(write: Writer, byte: NodeId) -> tuple[NodeId, NodeId]:
    return write.by("bitand", byte, 15), write.by("rshift", byte, 4)


def encoded(write: Writer, value: NodeId, dtype: DType) -> NodeId:
    """The digits of the number of `dtype` nearest to `value`, ties to even; beyond the largest number that one's.

    By sums and choices, which have bounds where the value is in doubt, and not by operations on digits.
    """
    if dtype.kind is Kind.INT:
        return unsigned(write, rounded(write, value, dtype), dtype)
    return _to_e8m0(write, _real(write, value)) if dtype.bits == 8 else _to_e2m1(write, _real(write, value))


def unsigned(write: Writer, value: NodeId, dtype: DType) -> NodeId:
    """The digits of an integer that is one of `dtype`."""
    if limits(dtype)[0] == 0:
        return value
    turned = write.where(write.by("lt", value, 0), write.number(16), write.number(0))
    return write.apply("add", value, turned)


def rounded(write: Writer, value: NodeId, dtype: DType, name: str | None = None) -> NodeId:
    """The number of `dtype` nearest to `value`, ties to even: of four bits, an integer as one of eight."""
    if dtype.kind is Kind.INT:
        least, most = limits(dtype)
        inside = write.by("minimum", write.by("maximum", value, least), most)
        return write.add(Cast(inside, _WHOLE), name)
    return _e8m0(write, _real(write, value)) if dtype.bits == 8 else _e2m1(write, _real(write, value))


def _real(write: Writer, value: NodeId) -> NodeId:
    return value if write.builder[value].type.kind is Kind.REAL else write.by("mul", value, 1.0)


def _from_e2m1(write: Writer, code: NodeId) -> NodeId:
    """A sign, two bits of exponent, one of fraction: 0, 1/2, 1, 3/2, 2, 3, 4, 6."""
    size = write.by("bitand", code, 7)
    fraction = write.by("add", write.by("bitand", size, 1), 2)
    normal = write.apply("lshift", fraction, write.by("rshift", size, 1))
    quarters = write.where(write.by("lt", size, 2), write.by("lshift", size, 1), normal)
    # A product has the sign of -0, which Triton's negation, a difference from 0, does not.
    quarter = write.where(write.by("ge", code, 8), write.number(-0.25), write.number(0.25))
    return write.apply("mul", quarters, quarter)


def _e2m1(write: Writer, value: NodeId) -> NodeId:
    size = write.apply("abs", value)
    halves, ones, twos = _steps(write, size)
    near = write.where(
        write.by("lt", size, 2.0),
        write.by("mul", halves, 0.5),
        write.where(write.by("lt", size, 4.0), ones, write.by("mul", twos, 2.0)),
    )
    # As 0 in integers, NaN is 0. A product has the sign of -0.
    number = write.where(write.apply("eq", value, value), write.by("minimum", near, 6.0), write.number(0.0))
    sign = write.where(write.by("lt", value, 0.0), write.number(-1.0), write.number(1.0))
    return write.apply("mul", number, sign)


def _to_e2m1(write: Writer, value: NodeId) -> NodeId:
    """The code is the number of steps, counted on from where their size begins."""
    size = write.apply("abs", value)
    halves, ones, twos = _steps(write, size)
    above = write.where(write.by("lt", size, 4.0), write.by("add", ones, 2.0), write.by("add", twos, 4.0))
    steps = write.where(write.by("lt", size, 2.0), halves, above)
    code = write.add(Cast(write.by("minimum", steps, 7.0), _WHOLE))
    sign = write.where(write.by("lt", value, 0.0), write.number(8), write.number(0))
    return write.apply("add", code, sign)


def _steps(write: Writer, size: NodeId) -> tuple[NodeId, NodeId, NodeId]:
    """The nearest whole numbers of steps: of 1/2 for numbers below 2, of 1 below 4, of 2 for others."""
    return (
        write.apply("round", write.by("mul", size, 2.0)),
        write.apply("round", size),
        write.apply("round", write.by("mul", size, 0.5)),
    )


def _from_e8m0(write: Writer, code: NodeId) -> NodeId:
    """Eight bits of exponent: powers of two from 2^-127; 255 is NaN."""
    power = write.apply("exp2", write.by("sub", code, 127))
    finite = write.where(write.by("eq", code, 0), write.number(2.0**-127), power)
    return write.where(write.by("eq", code, 255), write.number(nan), finite)


def _e8m0(write: Writer, value: NodeId) -> NodeId:
    size = write.apply("abs", value)
    small = write.where(write.by("gt", size, 2.0**-127), write.number(2.0**-126), write.number(2.0**-127))
    finite = write.where(write.by("lt", size, 2.0**-126), small, write.apply("exp2", _exponent(write, size)))
    return write.where(write.by("lt", size, 1.5 * 2.0**127), finite, write.number(nan))


def _to_e8m0(write: Writer, value: NodeId) -> NodeId:
    size = write.apply("abs", value)
    small = write.where(write.by("gt", size, 2.0**-127), write.number(1.0), write.number(0.0))
    finite = write.where(write.by("lt", size, 2.0**-126), small, write.by("add", _exponent(write, size), 127.0))
    return write.add(Cast(write.where(write.by("lt", size, 1.5 * 2.0**127), finite, write.number(255.0)), BYTE))


def _exponent(write: Writer, size: NodeId) -> NodeId:
    """The exponent of the nearest power of two, as PyTorch has it: 3/2 of one goes to the next."""
    power = write.apply("exponent", size)
    half = write.by("mul", write.apply("exp2", power), 1.5)
    above = write.where(write.apply("ge", size, half), write.number(1.0), write.number(0.0))
    return write.apply("add", power, above)
