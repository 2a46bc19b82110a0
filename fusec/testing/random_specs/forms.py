"""The expressions that random specs are made of. `{0}` and `{1}` are values; each says whether its result is bounded.

What is divided by is at least 1, what a logarithm or a root is taken of as well, and what an exponential is taken of is
bounded.
"""

from __future__ import annotations

UNARY = {
    "relu({0})": False,
    "silu({0})": False,
    "gelu({0})": False,
    "gelu_tanh({0})": False,
    "softplus({0})": False,
    "abs({0})": False,
    "-{0}": False,
    "2 * {0} + 1": False,
    "{0} / pi": False,
    "log(1 + abs({0}))": False,
    "sqrt(1 + abs({0}))": False,
    "log1p(abs({0}))": False,
    "log2(1 + abs({0}))": False,
    "log2(2 + {0} * {0})": False,
    "{0} * exp2(-exponent(1 + abs({0})))": True,
    "(1 + abs({0})) ** 0.5": False,
    "where({0} > 0, {0}, {0} / 8)": False,
    "where({0} >= 1 or {0} <= -1, {0}, tiny)": False,
    "where(abs({0}) < inf, {0}, 0)": False,
    "where(true and not false, {0}, 1)": False,
    "floor({0})": False,
    "ceil(2 * {0}) / 2": False,
    "sign({0})": True,
    "round(4 * {0}) / 4": False,
    "{0} // 2": False,
    "{0} % 3": True,
    "{0} - floor({0})": True,
    "tanh({0})": True,
    "sigmoid({0})": True,
    "{0} / (1 + abs({0}))": True,
    "{0} * rsqrt({0} * {0} + 1)": True,
    "clamp({0}, -2, 2)": True,
    "minimum(maximum({0}, -1), 1)": True,
    "cast({0}, bf16)": False,
    "cast({0}, T)": False,
    "cast(cast({0}, f32) * 2, bf16)": False,
}
"""Of any real value."""

OF_BOUNDED = (
    "exp({0})",
    "exp2(-{0})",
    "sin(3 * {0})",
    "cos({0})",
    "erf({0})",
    "erfc({0})",
    "expm1({0})",
    "{0} * {0}",
    "{0} ** 3",
    "cast({0}, f16)",
    "cast(8 * {0}, f8e4m3)",
    "cast({0}, f8e5m2)",
    "cast({0}, f4e2m1)",
    "cast(40 * {0}, i8) / 16",
    "quantize_by({0}, 1 / max_of(f8e4m3), f8e4m3) / 64",
    "dequantize(cast({0}, f8e4m3), 0.5)",
    "dequantize_asymmetric(quantize_asymmetric_by({0}, 1 / 32, 5, i8), 1 / 32, 5)",
)
"""Of a bounded value; theirs is bounded too."""

BINARY = {
    "{0} + {1}": False,
    "{0} - {1}": False,
    "maximum({0}, {1})": False,
    "minimum({0}, {1})": False,
    "{0} / (1 + abs({1}))": False,
    "{0} / (1 + {1} * {1})": False,
    "{0} // (1 + abs({1}))": False,
    "{0} % (1 + abs({1}))": False,
    "where({0} < {1}, {0}, {1} / 2)": False,
    "where({0} == {1} or {0} != {0}, 1, {0} - {1})": False,
    "{0} * tanh({1})": False,
    "tanh({0}) * {1}": False,
    "sigmoid({0}) * sigmoid({1})": True,
    "cast({0}, bf16) + cast({1}, f16)": False,
    "cast(cast({0}, f16) * cast(tanh({1}), bf16), f16)": False,
}

REDUCED = {
    "mean({0}, over={1})": False,
    "sum({0} / 16, over={1})": False,
    "mean({0} * {0}, over={1})": False,
    "amax({0}, over={1})": False,
    "amax(abs({0}), over={1})": False,
    "amin({0}, over={1})": False,
    "log_of_sum(exp({0} - amax({0}, over={1})), over={1})": False,
    "rsqrt(mean({0} * {0}, over={1}) + 1)": True,
    "tanh(sum({0}, over={1}))": True,
}
"""Reductions of a value over some of its axes."""

WITHIN = {
    "softmax({0}, over={1})": True,
    "log_softmax({0}, over={1})": False,
    "{0} - logsumexp({0}, over={1})": False,
    "{0} - mean({0}, over={1})": False,
    "{0} * rsqrt(mean({0} * {0}, over={1}) + eps)": False,
    "{0} / (1 + amax(abs({0}), over={1}))": True,
    "{0} + amax({0}, over={1})": False,
}
"""Expressions that reduce and come back to the axes of the value."""

INTEGER = (
    "{0} + 3",
    "2 * {0} - 1",
    "{0} // 3",
    "{0} % 5",
    "abs({0})",
    "-{0}",
    "floor({0})",
    "round({0})",
    "minimum({0}, 4)",
    "maximum({0}, -2)",
    "where({0} > 2, {0}, 0)",
    "ceil({0})",
    "sign({0})",
    "~{0}",
    "{0} & 0xF",
    "{0} | 1",
    "{0} >> 2",
    "({0} % 16) << 3",
    "cast({0}, i8)",
    "cast({0}, u8)",
    "cast({0}, i4)",
    "cast({0}, u4)",
)

INTEGERS = (
    "{0} + {1}",
    "{0} - {1}",
    "({0} % 7) * ({1} % 5)",
    "maximum({0}, {1})",
    "{0} ^ {1}",
    "{0} & {1}",
    "where({0} <= {1}, {0}, {1} - 1)",
    "{0} // (1 + {1} % 3)",
)

WITH_INTEGER = (
    "{0} + {1} / 4",
    "{0} * ({1} % 3)",
    "where({1} > 0, {0}, 0)",
    "{0} / (1 + {1} % 4)",
    "cast({1}, f16) * 0.25 + {0}",
)
"""A real value and an integer one."""

TRUTH = ("{0} > {1}", "{0} <= {1}", "{0} >= {1} and {0} < 2", "not {0} < {1} or {1} != {1}", "{0} == {1}")
"""Of two numbers of one kind."""

WITH_TRUTH = (
    "where({1}, {0}, 0)",
    "where(not {1}, {0}, -{0})",
    "{0} + cast({1}, f32)",
    "where({1}, {0}, {0} * {0} / (1 + abs({0})))",
)

WITH_PLACE = (
    "{0} * (1 + index({1}) % 3)",
    "where(index({1}) % 2 == 0, {0}, -{0})",
    "where(index({1}) < {2} // 2, {0}, 0)",
    "{0} * ({2} - index({1})) / (1 + {2})",
)
"""Of a value, one of its axes and the extent of that."""

QUANTISED = (
    ("quantize({0}, {1}, over={2})", ("f8e4m3", "f8e4m3", "i8", "i4")),
    ("quantize({0}, {1}, over={2})", ("f8e4m3", "f8e4m3", "i8", "i4")),
    ("quantize_bounded({0}, 0.5, {1}, over={2})", ("f8e5m2", "i8")),
    ("quantize_pow2({0}, {1}, over={2})", ("f8e4m3", "i8", "i4")),
    ("quantize_asymmetric({0}, {1}, over={2})", ("i8", "u8", "i4", "u4")),
    ("quantize_mx({0}, {1}, over={2})", ("f8e4m3", "f4e2m1")),
    ("quantize_nvfp4({0}, nvfp4_total({0}, over={2}), over={2})", ("f4e2m1",)),
)
"""Functions that give values of a storage type and their scale, and those types."""

ACTIVATIONS = ("relu", "silu", "gelu", "gelu_tanh", "tanh", "sigmoid", "abs", "softplus")
