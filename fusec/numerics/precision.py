"""How far a computed result may lie from the exact result of the same operands.

Everything is counted in units in the last place (ulp) of the compute type. One ulp is at most 2u of the result, where
u is half the distance from 1 to the next number; a correctly rounded operation is off by half an ulp at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType

import torch
from torch import Tensor

from fusec.ir.types import DTYPES
from fusec.numerics.interval import Interval
from fusec.reference.rounding import round_to


@dataclass(frozen=True, slots=True)
class Precision:
    """A compute type.

    `unit` is u; `least` the least subnormal number, `normal` the least normal one, `largest` the largest finite one.
    `reference_ulps` is what the exact value, which is computed in f64 itself, may be off by per operation.
    """

    unit: float
    least: float
    normal: float
    largest: float
    reference_ulps: float


F32 = Precision(2.0**-24 * (1 + 2.0**-20), 2.0**-149, 2.0**-126, torch.finfo(torch.float32).max, 0.0)
"""u is taken a millionth larger than it is: that covers the rounding of the f64 reference many times over."""

F64 = Precision(2.0**-53, 2.0**-1074, 2.0**-1022, torch.finfo(torch.float64).max, 2.0)


@dataclass(frozen=True, slots=True)
class Error:
    """Error of one operation: `ulps` of the result, and `growth` more per power of two of it.

    `flushes` says that a subnormal result may become 0, `flushes_operand` that a subnormal operand may be taken for 0.
    """

    ulps: float
    growth: float = 0.0
    flushes: bool = False
    flushes_operand: bool = False


EXACT = Error(0.0)
ROUNDED = Error(0.5)

ERRORS: Mapping[str, Error] = MappingProxyType(
    {
        # IEEE operations, rounded to nearest; contraction to a fused multiply-add only removes a rounding.
        "add": ROUNDED,
        "sub": ROUNDED,
        "mul": ROUNDED,
        # div.full.f32: 2 ulp over the full range (PTX ISA, div). Seen on sm_90: 1.3.
        "div": Error(2.0, flushes=True),
        # a quotient, rounded down; a - floor(a / b) * b. Their parts count for themselves.
        "floordiv": EXACT,
        "mod": EXACT,
        # exp2(b * log2(a)): the product carries the error of log2 (1 ulp) and its own (1/2), which exp2 multiplies by
        # ln 2 for every power of two of the result; powf of libdevice (4 ulp) and n - 1 products stay inside.
        "pow": Error(4.0, growth=1.1, flushes=True),
        "neg": EXACT,
        "eq": EXACT,
        "ne": EXACT,
        "lt": EXACT,
        "le": EXACT,
        "gt": EXACT,
        "ge": EXACT,
        "and": EXACT,
        "or": EXACT,
        "not": EXACT,
        "bitand": EXACT,
        "bitor": EXACT,
        "bitxor": EXACT,
        "bitnot": EXACT,
        "lshift": EXACT,
        "rshift": EXACT,
        "where": EXACT,
        "abs": EXACT,
        # mul by log2(e), then ex2.approx.f32 (2 ulp, PTX ISA, ex2). The product's rounding (1/2 ulp) and that of the
        # constant (0.22 u) reach the result times ln 2 for every power of two of it: 0.42. Seen on sm_90: 32 ulp at
        # exp(88). Vectorised f32 exp of NumPy, which the interpreter uses: 2.52 ulp (NumPy 1.17 release notes).
        "exp": Error(2.6, growth=0.45, flushes=True),
        # ex2.approx.ftz.f32: 2 ulp (PTX ISA, ex2); numpy as for exp. Kernels make the power of a whole number of bits.
        "exp2": Error(2.6, flushes=True),
        # logf: 1 ulp (CUDA C++ Programming Guide, table of single precision functions); NumPy's: 3.83 ulp.
        "log": Error(4.0, flushes=True),
        # (u - 1) x / log(u) with u = exp(x): log (4 ulp), a quotient (2), a product (1/2), a difference (1/2). The
        # error of u counts by no more than itself, and by half of it near 0 (Higham, Accuracy and Stability, 1.14.1).
        "expm1": Error(10.5, growth=0.45),
        # log2f: 1 ulp (CUDA C++ Programming Guide, as above); NumPy's as for log.
        "log2": Error(4.0, flushes=True),
        # log(u) x / (u - 1) with u = 1 + x: log (4 ulp), a quotient (2), a product (1/2). The rounding of u (1/2 ulp)
        # counts by no more than itself, for u - 1 has it too (Higham, as above).
        "log1p": Error(7.1),
        "exponent": EXACT,
        # sqrt.approx.ftz.f32: relative error 2**-23 (PTX ISA, sqrt), which is 1 ulp.
        "sqrt": Error(1.0, flushes=True, flushes_operand=True),
        # rsqrt.approx.ftz.f32: relative error 2**-22.9 (PTX ISA, rsqrt). Seen on sm_90: 2.1 u.
        "rsqrt": Error(1.1, flushes=True, flushes_operand=True),
        # 1 / (1 + exp(-x)): its parts count for themselves.
        "sigmoid": EXACT,
        # -e / (2 + e) with e = expm1(-2 |x|): e twice, with opposite signs, as a share of 2 + e; a sum and a quotient.
        # tanhf of libdevice: 2 ulp.
        "tanh": Error(14.0, flushes=True),
        # erff, sinf, cosf: 2 ulp (CUDA C++ Programming Guide, as above); libdevice flushes subnormal numbers.
        "erf": Error(2.0, flushes=True, flushes_operand=True),
        # exp(-x^2) f(t) / (1 + 2 x), t = (x - a) / (x + a): the exponential (2.6 ulp), two quotients (4), of which t
        # counts by less than itself, the polynomial (1), sums and products (1.5). The rounding of x^2 (1/2 ulp of it)
        # reaches the result as a share of 0.35 for every power of two of it, that of the exponential of 0.45.
        "erfc": Error(9.0, growth=0.8, flushes=True),
        "sin": Error(2.0, flushes=True),
        "cos": Error(2.0, flushes=True),
        # cvt.rmi.ftz: a subnormal operand below 0 is taken for 0, and its floor is not -1.
        "floor": Error(0.0, flushes_operand=True),
        "ceil": Error(0.0, flushes_operand=True),
        "sign": EXACT,
        "round": EXACT,
        "minimum": EXACT,
        "maximum": EXACT,
    }
)
"""What Triton's lowering for NVIDIA does, read off the PTX it makes for sm_90. Numbers "seen" are the worst over a
quarter of all f32 operands on an H200. The f64 functions of libdevice keep the same numbers of ulps of f64 (the guide's
table of double precision functions; rsqrt.approx.f64: 1 ulp seen). What the interpreter does on a CPU is inside too."""


def rounded(exact: Interval, error: Error, precision: Precision) -> Interval:
    """The interval of computed results, from that of exact results.

    Rounding keeps the sign: an end at 0 stays there. What is beyond the largest number may have become infinite.
    """
    if error == EXACT:
        return exact
    if error == ROUNDED and precision is F32:
        return _to_nearest(exact)
    reach = precision.normal if error.flushes else precision.least
    low = exact.low - _relative(exact.low, error, precision)
    high = exact.high + _relative(exact.high, error, precision)
    below, above = exact.low < 0, exact.high > 0
    if error.growth and precision.reference_ulps:
        # What an exponential of f64 has for 0 may be a number that f64 has no place for; its sign is that of the 0.
        below, above = below | exact.low.signbit(), above | ((exact.high == 0) & ~exact.high.signbit())
    low = torch.where(below, low - reach, (low - reach).clamp(min=0.0))
    high = torch.where(above, high + reach, (high + reach).clamp(max=0.0))
    low = torch.where(exact.low.isinf(), exact.low, low)
    high = torch.where(exact.high.isinf(), exact.high, high)
    return overflowed(Interval(exact.value, low, high), precision)


def overflowed(computed: Interval, precision: Precision) -> Interval:
    """An end beyond the largest finite number goes to infinity: a computed number may have.

    The other end stays: with a fused multiply-add, or in another order, the same number may not have overflowed.
    """
    low = torch.where(computed.low < -precision.largest, -inf, computed.low)
    high = torch.where(computed.high > precision.largest, inf, computed.high)
    return Interval(computed.value, low, high)


def flushed(operand: Interval, precision: Precision) -> Interval:
    """An operand of which subnormal numbers may be taken for 0."""
    tiny_low = (operand.low > 0) & (operand.low < precision.normal)
    tiny_high = (operand.high < 0) & (operand.high > -precision.normal)
    if not bool((tiny_low | tiny_high).any()):
        return operand
    return Interval(operand.value, torch.where(tiny_low, 0.0, operand.low), torch.where(tiny_high, 0.0, operand.high))


def in_tf32(operand: Interval) -> Interval:
    """An operand of f32 as a tensor core may take it: its fraction cut off after 10 bits, or rounded to so many.

    A subnormal number may be taken for 0 or go up to twice itself.
    """
    low, high = operand.low - _lost_in_tf32(operand.low), operand.high + _lost_in_tf32(operand.high)
    return overflowed(Interval(operand.value, low, high), F32)


def _lost_in_tf32(end: Tensor) -> Tensor:
    size = end.abs()
    lost = torch.where(size < F32.normal, size, 2.0**-10 * size)
    return torch.where(size.isinf(), 0.0, lost)


def _to_nearest(exact: Interval) -> Interval:
    """From an end to where it is rounded, and not beyond: no error where the exact result is a number of f32.

    Sums and products of f32 numbers, rounded to f64 and then to f32, are rounded as if once: 53 digits are more than
    2 * 24 + 1. The ends of an interval come from inexact numbers, and are moved by more than the f64 error in them.
    """
    f32 = DTYPES["f32"]
    if exact.is_exact:
        stored = round_to(exact.value, f32)
        if torch.equal(stored, exact.value):
            return exact
        return Interval(exact.value, torch.minimum(exact.value, stored), torch.maximum(exact.value, stored))
    low = torch.where(exact.low.isinf(), exact.low, exact.low - 2.0**-50 * exact.low.abs())
    high = torch.where(exact.high.isinf(), exact.high, exact.high + 2.0**-50 * exact.high.abs())
    return Interval(exact.value, torch.minimum(low, round_to(low, f32)), torch.maximum(high, round_to(high, f32)))


def _relative(end: Tensor, error: Error, precision: Precision) -> Tensor:
    ulps: Tensor | float = error.ulps + precision.reference_ulps
    if error.growth:
        powers = end.abs().log2().abs()
        ulps = ulps + error.growth * torch.where(powers.isfinite(), powers, 0.0)
    return 2 * precision.unit * ulps * end.abs()
