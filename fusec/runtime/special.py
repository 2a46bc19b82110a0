"""Functions that lose digits when they are written with the ones Triton has: exp(x) - 1, log(1 + x), 1 - erf(x).

They are made of Triton's own exponential and logarithm, so they are the same on every device and in the interpreter.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def expm1(x):
    """exp(x) - 1 as (u - 1) x / log(u) with u = exp(x): what rounding made of u is in both (W. Kahan)."""
    u = tl.exp(x)
    rest = u - 1.0
    near = rest * (x / tl.log(u))
    return tl.where(u == 1.0, x, tl.where((rest > -1.0) & (u < float("inf")), near, rest))


@triton.jit
def log1p(x):
    """log(1 + x) as log(u) x / (u - 1) with u = 1 + x: what rounding made of u is in both (W. Kahan)."""
    u = 1.0 + x
    near = tl.log(u) * (x / (u - 1.0))
    return tl.where(u == 1.0, x, tl.where(u < float("inf"), near, u))


@triton.jit
def tanh(x):
    """sign(x) (1 - exp(-2 |x|)) / (1 + exp(-2 |x|)), without a difference of numbers that are close."""
    e = expm1(-2.0 * tl.abs(x))
    size = -e / (2.0 + e)
    return tl.where(x < 0, -size, size)


@triton.jit
def _erfc_single(t):
    """(1 + 2 x) exp(x^2) erfc(x) for x from 0 to 10, off by 2.9e-8; t = (x - 2) / (x + 2)."""
    f = -0.0004200622963 * t - 0.001255413916
    f = f * t + 0.001330044558
    f = f * t + 0.008658470005
    f = f * t - 0.008063874396
    f = f * t - 0.05421322109
    f = f * t + 0.1640556159
    f = f * t - 0.1660304624
    f = f * t - 0.09276398471
    return f * t + 1.276978377


@triton.jit
def _erfc_double(t):
    """The same for x from 0 to 28, off by 1.4e-17; t = (x - 4) / (x + 4)."""
    f = -1.8206098680308682e-09 * t - 1.3670989863347383e-08
    f = f * t - 7.71541861441783e-09
    f = f * t + 1.1534943745754157e-07
    f = f * t + 6.270727157198311e-08
    f = f * t - 8.351619688696847e-07
    f = f * t + 3.0135049944875397e-07
    f = f * t + 5.7178872846321855e-06
    f = f * t - 1.1224789135154701e-05
    f = f * t - 2.4403169244974074e-05
    f = f * t + 0.000150622243948303
    f = f * t - 0.00019925550755614952
    f = f * t - 0.00075777334141333
    f = f * t + 0.005031969755895426
    f = f * t - 0.016197734059115006
    f = f * t + 0.03716751556249286
    f = f * t - 0.06633036581152939
    f = f * t + 0.09373283499679412
    f = f * t - 0.10103906603635213
    f = f * t + 0.06809705425473732
    f = f * t + 0.01537965210262074
    f = f * t - 0.1396211168405629
    return f * t + 1.2329951186255526


@triton.jit
def erfc(x):
    """1 - erf(x), small where x is large. What is beyond 28 is 0.

    The form is that of M. M. Shepherd and J. G. Laframboise, Chebyshev Approximation of (1 + 2x) exp(x^2) erfc x, 1981;
    the polynomials go through that function at Chebyshev's points.
    """
    size = tl.abs(x)
    size = tl.where(size > 28.0, 28.0, size)
    if x.dtype == tl.float64:
        f = _erfc_double((size - 4.0) / (size + 4.0))
    else:
        f = _erfc_single((size - 2.0) / (size + 2.0))
    tail = tl.exp(-size * size) * f / (1.0 + 2.0 * size)
    return tl.where(x < 0, 2.0 - tail, tail)
