"""What every function of the standard library means, in as many digits as mpmath is told to have, row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import mpmath as mp

Row: TypeAlias = list[mp.mpf]
Exact: TypeAlias = Callable[..., Row]
EPS = 1e-6


@dataclass(frozen=True)
class Meaning:
    """A call of a function on matrices `x`, `w`, `b` over `[M, N]` and half tables `c`, `s` over `[M, N/2]`.

    `exact` gives a row of `y`, the first of the `results`, from rows of these, before it is rounded to `dtype`. `dims`
    are those of `y`. Inputs have exponents between `exponents`: beyond, a square of them is no normal number of f32.
    """

    body: str
    exact: Exact
    inputs: str = "x"
    results: int = 1
    dims: str = "M, N"
    dtype: str = "f32"
    exponents: tuple[int, int] = (-149, 127)


def _each(function: Callable[[mp.mpf], mp.mpf]) -> Exact:
    return lambda x: [function(value) for value in x]


def _mean(x: Row) -> mp.mpf:
    return mp.fsum(x) / len(x)


def _unit(x: Row) -> Row:
    scale = 1 / mp.sqrt(_mean([value * value for value in x]) + mp.mpf(EPS))
    return [value * scale for value in x]


def _layernorm(x: Row, w: Row, b: Row) -> Row:
    centre = _mean(x)
    centred = [value - centre for value in x]
    return [value * gain + bias for value, gain, bias in zip(_unit(centred), w, b, strict=True)]


def _logsumexp(x: Row) -> mp.mpf:
    top = max(x)
    rest = [mp.exp(value - top) for place, value in enumerate(x) if place != x.index(top)]
    return top + mp.log1p(mp.fsum(rest))


def _turned(a: Row, b: Row, cos: Row, sin: Row) -> tuple[Row, Row]:
    left = [p * c - q * s for p, q, c, s in zip(a, b, cos, sin, strict=True)]
    return left, [q * c + p * s for p, q, c, s in zip(a, b, cos, sin, strict=True)]


def _halves(x: Row, cos: Row, sin: Row) -> Row:
    left, right = _turned(x[: len(x) // 2], x[len(x) // 2 :], cos, sin)
    return left + right


def _pairs(x: Row, cos: Row, sin: Row) -> Row:
    left, right = _turned(x[::2], x[1::2], cos, sin)
    return [value for pair in zip(left, right, strict=True) for value in pair]


def _whole_halves(x: Row, cos: Row, sin: Row) -> Row:
    n = len(x) // 2
    left = [p * c - q * s for p, q, c, s in zip(x[:n], x[n:], cos[:n], sin[:n], strict=True)]
    return left + [q * c + p * s for p, q, c, s in zip(x[:n], x[n:], cos[n:], sin[n:], strict=True)]


def _whole_pairs(x: Row, cos: Row, sin: Row) -> Row:
    mixed = _whole_halves(x[::2] + x[1::2], cos[::2] + cos[1::2], sin[::2] + sin[1::2])
    return [value for pair in zip(mixed[: len(x) // 2], mixed[len(x) // 2 :], strict=True) for value in pair]


def _scale(x: Row) -> mp.mpf:
    return max(max(abs(value) for value in x), mp.mpf(2) ** -96) / 448


def _spread(x: Row) -> Row:
    low = min(0, *x)
    scale = max(max(0, *x) - low, mp.mpf(2) ** -96) / 255
    zero = mp.nint(-low / scale)
    return [mp.nint(value / scale) + zero for value in x]


def _exponent(x: mp.mpf) -> mp.mpf:
    return mp.floor(mp.log(x, 2)) if x else mp.mpf(-119)


def _rounded(x: mp.mpf, fraction: int, least: int, most: float) -> mp.mpf:
    """The nearest number with so many bits of fraction, the least exponent `least`, and no more than `most`."""
    step = mp.mpf(2) ** (max(_exponent(abs(x)), mp.mpf(least)) - fraction)
    return max(-most, min(most, mp.nint(x / step) * step))


def _nvfp4(x: Row) -> Row:
    scale = _rounded(max(max(map(abs, x)) / 3, mp.mpf(2) ** -6), 3, -6, 448.0)
    return [_rounded(value * 2 / scale, 1, 0, 6.0) for value in x]


def _gelu(x: mp.mpf) -> mp.mpf:
    return x * mp.erfc(-x / mp.sqrt(2)) / 2 if abs(x) < 10**6 else max(x, mp.mpf(0))


def _gelu_tanh(x: mp.mpf) -> mp.mpf:
    return x / (1 + mp.exp(-2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)))


_SQUARES = (-60, 60)
_PRODUCTS = (-120, 60)

MEANINGS: Mapping[str, Meaning] = MappingProxyType(
    {
        "rmsnorm": Meaning(
            "rmsnorm(x, w, 1e-6, over=N)",
            lambda x, w: [value * gain for value, gain in zip(_unit(x), w, strict=True)],
            inputs="xw",
            exponents=_SQUARES,
        ),
        "rmsnorm_unit_offset": Meaning(
            "rmsnorm_unit_offset(x, w, 1e-6, over=N)",
            lambda x, w: [value * (1 + gain) for value, gain in zip(_unit(x), w, strict=True)],
            inputs="xw",
            exponents=_SQUARES,
        ),
        "rmsnorm_rounded": Meaning(
            "rmsnorm_rounded(x, 1, 1e-6, over=N, dtype=bf16)", _unit, dtype="bf16", exponents=_SQUARES
        ),
        "layernorm": Meaning("layernorm(x, w, b, 1e-6, over=N)", _layernorm, inputs="xwb", exponents=_SQUARES),
        "softmax": Meaning("softmax(x, over=N)", lambda x: [mp.exp(value - _logsumexp(x)) for value in x]),
        "log_softmax": Meaning("log_softmax(x, over=N)", lambda x: [value - _logsumexp(x) for value in x]),
        "logsumexp": Meaning("logsumexp(x, over=N)", lambda x: [_logsumexp(x)], dims="M"),
        "log_of_sum": Meaning(
            "log_of_sum(exp(x - amax(x, over=N)), over=N)", lambda x: [_logsumexp(x) - max(x)], dims="M"
        ),
        "rope": Meaning("rope(x, w, b, over=N)", _whole_halves, inputs="xwb", exponents=_PRODUCTS),
        "rope_half": Meaning("rope_half(x, c, s, over=N)", _halves, inputs="xcs", exponents=_PRODUCTS),
        "rope_interleaved": Meaning("rope_interleaved(x, c, s, over=N)", _pairs, inputs="xcs", exponents=_PRODUCTS),
        "rope_interleaved_full": Meaning(
            "rope_interleaved_full(x, w, b, over=N)", _whole_pairs, inputs="xwb", exponents=_PRODUCTS
        ),
        "relu": Meaning("relu(x)", _each(lambda x: max(x, mp.mpf(0)))),
        "silu": Meaning("silu(x)", _each(lambda x: x / (1 + mp.exp(-x)))),
        "gelu": Meaning("gelu(x)", _each(_gelu)),
        "gelu_tanh": Meaning("gelu_tanh(x)", _each(_gelu_tanh)),
        "softplus": Meaning("softplus(x)", _each(lambda x: max(x, mp.mpf(0)) + mp.log1p(mp.exp(-abs(x))))),
        "clamp": Meaning("clamp(x, -0.5, 0.25)", _each(lambda x: min(max(x, mp.mpf(-0.5)), mp.mpf(0.25)))),
        "quantize": Meaning(
            "quantize(x, f8e4m3, over=N)", lambda x: [value / _scale(x) for value in x], results=2, dtype="f8e4m3"
        ),
        "quantize_bounded": Meaning(
            "quantize_bounded(x, 1, f8e4m3, over=N)",
            lambda x: [value / min(_scale(x), mp.mpf(1) / 448) for value in x],
            results=2,
            dtype="f8e4m3",
        ),
        "quantize_pow2": Meaning(
            "quantize_pow2(x, f8e4m3, over=N)",
            lambda x: [value / mp.mpf(2) ** mp.ceil(mp.log(_scale(x), 2)) for value in x],
            results=2,
            dtype="f8e4m3",
        ),
        "quantize_mx": Meaning(
            "quantize_mx(x, f8e4m3, over=N)",
            lambda x: [value / mp.mpf(2) ** (_exponent(max(map(abs, x))) - 8) for value in x],
            results=2,
            dtype="f8e4m3",
            exponents=_PRODUCTS,
        ),
        "quantize_nvfp4": Meaning("quantize_nvfp4(x, 0.5, over=N)", _nvfp4, results=2, exponents=_PRODUCTS),
        "nvfp4_total": Meaning("nvfp4_total(x, over=N)", lambda x: [_scale(x) / 6], dims="M"),
        "quantize_asymmetric": Meaning(
            "quantize_asymmetric(x, u8, over=N)", _spread, results=3, dtype="u8", exponents=_PRODUCTS
        ),
        "quantize_by": Meaning(
            "quantize_by(x, abs(w) + tiny, f8e4m3)",
            lambda x, w: [value / (abs(scale) + mp.mpf(2) ** -96) for value, scale in zip(x, w, strict=True)],
            inputs="xw",
            dtype="f8e4m3",
            exponents=_PRODUCTS,
        ),
        "quantize_asymmetric_by": Meaning(
            "quantize_asymmetric_by(x, 0.25, -3, i8)", _each(lambda x: mp.nint(4 * x) - 3), dtype="i8"
        ),
        "dequantize": Meaning(
            "dequantize(x, w)",
            lambda x, w: [value * scale for value, scale in zip(x, w, strict=True)],
            inputs="xw",
            exponents=_PRODUCTS,
        ),
        "dequantize_asymmetric": Meaning(
            "dequantize_asymmetric(x, w, 3)",
            lambda x, w: [(value - 3) * scale for value, scale in zip(x, w, strict=True)],
            inputs="xw",
            exponents=_PRODUCTS,
        ),
    }
)
