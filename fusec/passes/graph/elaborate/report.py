"""The mistakes of a file, collected on the way."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from fusec.diagnostics import Diagnostic, Note, Source, Span
from fusec.ir.types import DTYPES


class Report:
    """Collects diagnostics; the same message at the same place counts once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Source, int, int, str], Diagnostic] = {}

    def add(self, message: str, span: Span, *notes: Note, help: str | None = None) -> None:
        key = (span.source, span.start, span.end, message)
        self._found.setdefault(key, Diagnostic(message, span, notes, help))

    def __len__(self) -> int:
        return len(self._found)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return tuple(self._found.values())


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A help text that offers the known name nearest to `name`, if any is near."""
    names = sorted(set(known))
    lowered = {n.lower(): n for n in names}
    near = get_close_matches(name, names, n=1, cutoff=0.6) or [
        lowered[n] for n in get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.7)
    ]
    return f"did you mean `{near[0]}`?" if near else None


_OTHER_NAMES = {
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
"""What other languages call our dtypes."""


_OTHER_FUNCTIONS = {
    "max": "`maximum(a, b)` is of two values, `amax(x, over=N)` along an axis",
    "min": "`minimum(a, b)` is of two values, `amin(x, over=N)` along an axis",
    "pow": "write `a ** b`",
    "power": "write `a ** b`",
    "square": "write `x * x`",
    "add": "write `a + b`",
    "sub": "write `a - b`",
    "mul": "write `a * b`",
    "multiply": "write `a * b`",
    "div": "write `a / b`",
    "neg": "write `-x`",
    "reciprocal": "write `1 / x`",
    "log2": "write `log(x) / log(2)`",
    "var": "write `mean((x - mean(x, over=N)) ** 2, over=N)`",
    "swish": "did you mean `silu`?",
    "rms_norm": "did you mean `rmsnorm`?",
    "layer_norm": "did you mean `layernorm`?",
    "size": "an axis is a number where a value is wanted, as in `x / N`",
    "len": "an axis is a number where a value is wanted, as in `x / N`",
    "matmul": "write `dot(a, b, over=K)`",
    "mm": "write `dot(a, b, over=K)`",
    "bmm": "write `dot(a, b, over=K)`",
    "einsum": "write `dot(a, b, over=K)`",
    "linear": "write `dot(x, w, over=K)`",
    "cat": "did you mean `concat`?",
    "chunk": "did you mean `halves`?",
    "arange": "did you mean `index`?",
    "clip": "did you mean `clamp`?",
    "to": "did you mean `cast`?",
    "float": "did you mean `cast(x, f32)`?",
    "half": "did you mean `cast(x, f16)`?",
}
"""What other libraries call our functions."""


def near_function(name: str, known: Iterable[str]) -> str | None:
    """A help text that offers the function that `name` may mean."""
    return _OTHER_FUNCTIONS.get(name) or did_you_mean(name, known)


def near_dtype(name: str) -> str | None:
    """A help text that offers the dtype that `name` may mean."""
    return f"did you mean `{_OTHER_NAMES[name]}`?" if name in _OTHER_NAMES else did_you_mean(name, DTYPES)


def listing(names: Iterable[object], last: str = "and") -> str:
    """`a`, `b` and `c`."""
    quoted = [f"`{name}`" for name in names]
    return f" {last} ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted) or "none"
