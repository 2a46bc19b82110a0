"""Habits of other languages: what PyTorch, NumPy, Triton and C write, and what a spec has in its place."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

MODULES = frozenset(
    {"F", "functional", "jnp", "libdevice", "math", "nn", "np", "numpy", "ops", "special", "tl", "torch"}
)
"""What other libraries write in front of a function."""

DTYPES: Mapping[str, str] = MappingProxyType(
    {
        "double": "f64",
        "float64": "f64",
        "float": "f32",
        "float32": "f32",
        "fp32": "f32",
        "half": "f16",
        "float16": "f16",
        "fp16": "f16",
        "bfloat16": "bf16",
        "f8": "f8e4m3",
        "fp8": "f8e4m3",
        "float8_e4m3fn": "f8e4m3",
        "float8_e5m2": "f8e5m2",
        "long": "i64",
        "int64": "i64",
        "int": "i32",
        "int32": "i32",
        "int8": "i8",
        "uint8": "u8",
    }
)
"""What other languages call our dtypes."""

_ORDER = "the order of axes matters in a signature alone: declare the tensor in the order that it has in memory"
_SHAPE = "values broadcast by the names of their axes; the stored form is declared, as in `y: T[M, H*D]`"
_NUMBER = "write the number: it broadcasts"
_EXTENT = "an axis is a number where a value is wanted, as in `x / N`"
_DOT = "write `dot(a, b, over=K)`"
_LOOK_UP = "write `table[i]`, with a tensor of integers i"
_WRITE = "write `t[i] = v`, for `mut t`"
_SCAN = (
    "not in the language yet; along a short axis write `z = rename(x, N -> M)` and "
    "`sum(where(index(M) <= index(N), z, 0), over=M)`"
)
_SORT = (
    "not in the language yet; how many are larger than an element is, with `z = rename(x, N -> M)`, "
    "`sum(where(z > x, 1, 0), over=M)`"
)
_RANDOM = "there are no random numbers: pass a tensor of them"
_TRIANGLE = "write `where(index(M) >= index(N), x, 0)`"
_NOT_YET = "not in the language yet"

FUNCTIONS: Mapping[str, str] = MappingProxyType(
    {
        # arithmetic
        "pow": "write `a ** b`",
        "power": "write `a ** b`",
        "square": "write `x * x`",
        "add": "write `a + b`",
        "sub": "write `a - b`",
        "subtract": "write `a - b`",
        "mul": "write `a * b`",
        "multiply": "write `a * b`",
        "div": "write `a / b`",
        "divide": "write `a / b`",
        "true_divide": "write `a / b`",
        "floor_divide": "write `a // b`",
        "cdiv": "write `(a + b - 1) // b`",
        "remainder": "write `a % b`, which has the sign of b",
        "fmod": "write `a % b`, which has the sign of b",
        "neg": "write `-x`",
        "negative": "write `-x`",
        "reciprocal": "write `1 / x`",
        "fma": "write `a * b + s`",
        "addcmul": "write `s + a * b`",
        "lerp": "write `a + (b - a) * s`",
        "bitwise_and": "write `a & b`",
        "bitwise_or": "write `a | b`",
        "bitwise_xor": "write `a ^ b`",
        "bitwise_not": "write `~a`",
        "bitwise_left_shift": "write `a << n`",
        "bitwise_right_shift": "write `a >> n`",
        # truth
        "logical_and": "write `a and b`",
        "logical_or": "write `a or b`",
        "logical_not": "write `not a`",
        "isnan": "write `x != x`",
        "isinf": "write `abs(x) == inf`",
        "isfinite": "write `abs(x) < inf`",
        "any": "write `amax(where(condition, 1, 0), over=N) > 0`",
        "all": "write `amin(where(condition, 1, 0), over=N) > 0`",
        "nan_to_num": "write `where(x != x, 0, x)`",
        "masked_fill": "write `where(mask, value, x)`",
        "select": "write `where(condition, a, b)`",
        # elementwise
        "log10": "write `log(x) * 0.4342944819032518`",
        "logit": "write `log(x / (1 - x))`",
        "logaddexp": "write `maximum(a, b) + log1p(exp(-abs(a - b)))`",
        "logsigmoid": "write `-softplus(-x)`",
        "tan": "write `sin(x) / cos(x)`",
        "sinh": "write `(expm1(x) - expm1(-x)) / 2`",
        "cosh": "write `(exp(x) + exp(-x)) / 2`",
        "acos": _NOT_YET,
        "asin": _NOT_YET,
        "atan": _NOT_YET,
        "atan2": _NOT_YET,
        "trunc": "write `sign(x) * floor(abs(x))`",
        "frac": "write `x - floor(x)`",
        "frexp": "write `exponent(x)`, and `x / exp2(exponent(x))` for the rest",
        "ldexp": "write `x * exp2(n)`",
        "clip": "did you mean `clamp`?",
        "swish": "did you mean `silu`?",
        "relu6": "write `clamp(x, 0, 6)`",
        "leaky_relu": "write `where(x > 0, x, 0.01 * x)`",
        "elu": "write `where(x > 0, x, expm1(x))`",
        "mish": "write `x * tanh(softplus(x))`",
        "hardsigmoid": "write `clamp(x / 6 + 0.5, 0, 1)`",
        "hardswish": "write `x * clamp(x / 6 + 0.5, 0, 1)`",
        "hardtanh": "write `clamp(x, -1, 1)`",
        "softsign": "write `x / (1 + abs(x))`",
        "glu": "write `g, u = halves(x, over=D)` and `u * sigmoid(g)`",
        "swiglu": "write `g, u = halves(x, over=D)` and `silu(g) * u`",
        # along an axis
        "max": "`maximum(a, b)` is of two values, `amax(x, over=N)` along an axis",
        "min": "`minimum(a, b)` is of two values, `amin(x, over=N)` along an axis",
        "var": "write `mean((x - mean(x, over=N)) ** 2, over=N)`",
        "std": "write `sqrt(mean((x - mean(x, over=N)) ** 2, over=N))`",
        "norm": "write `sqrt(sum(x * x, over=N))`",
        "prod": "not in the language yet; of positive numbers it is `exp(sum(log(x), over=N))`",
        "argmax": "write `amin(where(x == amax(x, over=N), index(N), N), over=N)`",
        "argmin": "write `amin(where(x == amin(x, over=N), index(N), N), over=N)`",
        "count_nonzero": "write `sum(where(x != 0, 1, 0), over=N)`",
        "cumsum": _SCAN,
        "cumprod": _NOT_YET,
        "cummax": _SCAN.replace("sum(", "amax(").replace("z, 0", "z, -inf"),
        "scan": _SCAN,
        "associative_scan": _SCAN,
        "sort": _SORT,
        "argsort": _SORT,
        "topk": _SORT,
        "median": _SORT,
        "quantile": _SORT,
        "unique": _NOT_YET,
        "nonzero": _NOT_YET,
        "bincount": _NOT_YET,
        "histc": _NOT_YET,
        "rms_norm": "did you mean `rmsnorm`?",
        "layer_norm": "did you mean `layernorm`?",
        "matmul": _DOT,
        "mm": _DOT,
        "bmm": _DOT,
        "mv": _DOT,
        "einsum": _DOT,
        "inner": _DOT,
        "outer": "write `a * b`: values broadcast by the names of their axes",
        "linear": _DOT,
        "addmm": "write `dot(a, b, over=K) + bias`",
        "conv1d": _NOT_YET,
        "conv2d": _NOT_YET,
        "scaled_dot_product_attention": "write `dot(softmax(dot(q, k, over=D) * s, over=U), v, over=U)`",
        # shapes
        "size": _EXTENT,
        "shape": _EXTENT,
        "numel": _EXTENT,
        "len": _EXTENT,
        "T": _ORDER,
        "mT": _ORDER,
        "t": _ORDER,
        "trans": _ORDER,
        "transpose": _ORDER,
        "permute": _ORDER,
        "swapaxes": _ORDER,
        "movedim": _ORDER,
        "contiguous": _ORDER,
        "reshape": _SHAPE,
        "view": _SHAPE,
        "flatten": _SHAPE,
        "unflatten": _SHAPE,
        "rearrange": _SHAPE,
        "unsqueeze": _SHAPE,
        "squeeze": _SHAPE,
        "expand": _SHAPE,
        "expand_dims": _SHAPE,
        "broadcast_to": _SHAPE,
        "repeat": _SHAPE,
        "repeat_interleave": _SHAPE,
        "tile": _SHAPE,
        "cat": "did you mean `concat`?",
        "concatenate": "did you mean `concat`?",
        "stack": "`interleave` puts two in turn, `join` and `concat` one after the other",
        "chunk": "did you mean `halves`?",
        "flip": "write `x[N - 1 - index(N)]`, for the first dimension of a parameter",
        "roll": "write `x[(index(N) - 1) % N]`, for the first dimension of a parameter",
        # positions and tables
        "arange": "did you mean `index`?",
        "program_id": "a spec says what is computed, on whole axes; `index(N)` is the position along one",
        "range": "a spec has no loops: name the axis and let values broadcast, or reduce over it",
        "gather": _LOOK_UP,
        "take": _LOOK_UP,
        "take_along_dim": _LOOK_UP,
        "index_select": _LOOK_UP,
        "embedding": _LOOK_UP,
        "load": "a tensor parameter is its value, and `table[i]` looks up a row",
        "store": "assign to the name of an output, or write `t[i] = v`, for `mut t`",
        "scatter": _WRITE,
        "scatter_add": _WRITE,
        "index_put": _WRITE,
        "index_copy": _WRITE,
        "index_add": _WRITE,
        "tril": _TRIANGLE,
        "triu": _TRIANGLE.replace(">=", "<="),
        "diag": "write `where(index(M) == index(N), x, 0)`",
        "eye": "write `where(index(M) == index(N), 1, 0)`",
        "zeros": _NUMBER,
        "zeros_like": _NUMBER,
        "ones": _NUMBER,
        "ones_like": _NUMBER,
        "full": _NUMBER,
        "full_like": _NUMBER,
        "rand": _RANDOM,
        "randn": _RANDOM,
        "dropout": _RANDOM,
        "bernoulli": _RANDOM,
        # types
        "to": "write `cast(x, f16)`, with the dtype",
        "astype": "write `cast(x, f16)`, with the dtype",
        "type": "write `cast(x, f16)`, with the dtype",
        "float": "did you mean `cast(x, f32)`?",
        "double": "did you mean `cast(x, f64)`?",
        "half": "did you mean `cast(x, f16)`?",
        "bfloat16": "did you mean `cast(x, bf16)`?",
        "int": "`cast(x, i32)` rounds to nearest; `cast(floor(x), i32)` down",
        "long": "`cast(x, i64)` rounds to nearest; `cast(floor(x), i64)` down",
        "bool": "compare it, as in `x != 0`",
        "finfo": "the largest number of a dtype is `max_of(f16)`",
        "print": "a spec only computes; outputs are what it shows",
    }
)
"""What other libraries call functions, methods and attributes, and what to write for them."""

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "None": "values broadcast by the names of their axes: none is added; an optional tensor has a default value",
        "True": "did you mean `true`?",
        "False": "did you mean `false`?",
        "nan": "NaN is `inf - inf`",
        "Infinity": "did you mean `inf`?",
    }
)
"""What other languages call values."""

KEYWORDS: Mapping[str, str] = MappingProxyType(
    {
        "keepdim": "a reduced axis is gone, and values broadcast by the names of the axes they have: leave it out",
        "keepdims": "a reduced axis is gone, and values broadcast by the names of the axes they have: leave it out",
        "keep_dims": "a reduced axis is gone, and values broadcast by the names of the axes they have: leave it out",
        "dtype": "arithmetic is in f32, and an output is rounded when it is stored: leave it out, or use `cast`",
        "out": "assign to the name of an output: leave it out",
        "approximate": "the approximation by tanh is `gelu_tanh(x)`",
        "allow_tf32": "write `precision=tf32`",
        "input_precision": "write `precision=tf32`",
    }
)
"""Parameters that functions of other libraries have."""

CHARACTERS: Mapping[str, str] = MappingProxyType(
    {
        '"': 'a docstring stands between `"""`',
        "'": 'a docstring stands between `"""`',
        "@": "a product of matrices is written `dot(a, b, over=K)`",
        "!": "a condition is turned around with `not`",
        "?": "a choice between two values is `where(condition, a, b)`",
        ";": "every statement has a line of its own",
    }
)
"""What stands for a character that a spec has no use for."""

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "for": "a spec has no loops: name the axis and let values broadcast, or reduce over it",
        "while": "a spec has no loops: name the axis and let values broadcast, or reduce over it",
        "if": "a spec has no branches: use `where(condition, a, b)`",
        "else": "a spec has no branches: use `where(condition, a, b)`",
        "elif": "a spec has no branches: use `where(condition, a, b)`",
        "is": "an optional tensor has a default that stands for it, as in `bias: T[N] = 0`",
        "assert": "conditions on sizes stand behind `where` in the header",
        "def": "a function begins with `fn`",
        "lambda": "a function begins with `fn`, and stands outside of the op",
        "import": "functions of another file come with `use NAME`",
        "from": "functions of another file come with `use NAME`",
    }
)
"""What stands for a statement of Python."""

SLICE = (
    "there are no slices: write `x[0]` for `x[0, :]`, `x[index(M), 0]` for `x[:, 0]`; parts of an axis are "
    "`split(x, L, R)` and `halves(x, over=D)`"
)
COMMENT = "a comment begins with `#`"
ANNOTATION = "a value has no annotation: `cast(x, f32)` rounds it"
JOINED = {"BIT_AND": "conditions are joined with `and`", "BIT_OR": "conditions are joined with `or`"}


def dotted(before: str, after: str) -> str:
    """What to write for `before.after`: a function of a module, a method, an attribute."""
    name = after.rpartition(".")[2]
    if name in FUNCTIONS and name not in DTYPES:
        return FUNCTIONS[name]
    if before in MODULES:
        return f"write `{DTYPES[name]}`" if name in DTYPES else f"write `{name}`, without `{before}.`"
    return FUNCTIONS.get(name, f"a function is called as `{name}(x)`, there are no methods")
