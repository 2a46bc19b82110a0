"""How Triton spells what a kernel is made of: its types, operations, numbers and casts."""

from __future__ import annotations

import math
import struct

import sympy

from fusec.ir.ops import PREFIX
from fusec.ir.sizes import operand_text, size_text
from fusec.ir.tile_values import ANY, Dims, DTypeRef, ElementOf, Whole
from fusec.ir.types import Kind
from fusec.passes.kernel.blocks import VEC

TRITON_DTYPES: dict[str, str] = {
    "f64": "tl.float64",
    "f32": "tl.float32",
    "f16": "tl.float16",
    "bf16": "tl.bfloat16",
    "f8e4m3": "tl.float8e4nv",
    "f8e5m2": "tl.float8e5",
    "i64": "tl.int64",
    "i32": "tl.int32",
    "i8": "tl.int8",
    "u8": "tl.uint8",
    "bool": "tl.int1",
}
LARGEST: dict[str, str] = {
    "f64": "1.7976931348623157e308",
    "f32": "3.4028234663852886e38",
    "f16": "65504.0",
    "bf16": "3.3895313892515355e38",
    "f8e4m3": "448.0",
    "f8e5m2": "57344.0",
    "i64": "9223372036854775807",
    "i32": "2147483647",
    "i8": "127",
    "u8": "255",
    "f8e8m0": "1.7014118346046923e38",
    "f4e2m1": "6.0",
    "i4": "7",
    "u4": "15",
}
INFIX: dict[str, tuple[str, int]] = {
    "add": ("+", 7),
    "sub": ("-", 7),
    "mul": ("*", 8),
    "div": ("/", 8),
    "eq": ("==", 2),
    "ne": ("!=", 2),
    "lt": ("<", 2),
    "le": ("<=", 2),
    "gt": (">", 2),
    "ge": (">=", 2),
    "and": ("&", 5),
    "or": ("|", 3),
    "bitand": ("&", 5),
    "bitor": ("|", 3),
    "bitxor": ("^", 4),
    "lshift": ("<<", 6),
    "rshift": (">>", 6),
}
CALLS: dict[str, str] = {
    "abs": "tl.abs",
    "exp": "tl.exp",
    "exp2": "device.exp2",
    "expm1": "device.expm1",
    "log": "tl.log",
    "log2": "tl.log2",
    "log1p": "device.log1p",
    "exponent": "device.exponent",
    "sqrt": "tl.sqrt",
    "rsqrt": "tl.rsqrt",
    "sigmoid": "tl.sigmoid",
    "tanh": "device.tanh",
    "erf": "tl.erf",
    "erfc": "device.erfc",
    "sin": "tl.sin",
    "cos": "tl.cos",
    "sign": "device.sign",
    "floor": "tl.floor",
    "ceil": "tl.ceil",
    "round": "device.round_even",
    "minimum": "device.minimum",
    "maximum": "device.maximum",
    "pow": "device.power",
    "where": "tl.where",
}
BY_KIND: dict[str, tuple[str, str]] = {
    "floordiv": ("device.floor_divide", "device.floor_divide_int"),
    "mod": ("device.floor_mod", "device.floor_mod_int"),
}
FOLDS: dict[str, str] = {
    "sum": "tl.sum({}, {})",
    "amax": "tl.reduce({}, {}, device.nan_max)",
    "amin": "tl.reduce({}, {}, device.nan_min)",
}
"""The fold of a tile along one of its dimensions."""
SPELLED = {*INFIX, *CALLS, *BY_KIND, *PREFIX}
"""The elementwise operations that have a Triton spelling: all of them, which a test asserts."""

WHOLES: dict[Whole, str] = {Whole.LONG: "tl.int64", Whole.INDEX: "INDEX"}
"""Integers of more than 32 bits; INDEX is chosen at run time."""

TAIL = "TAIL"
"""The variable of a loop that is 0 in whole steps and 1 in what is left of the axis."""

EITHER = "REAL"
"""The type of reals where it is chosen at run time, f32 or f64."""


def dtype_text(dtype: DTypeRef) -> str:
    """A storage type, or that of the tensor it refers to."""
    return f"{dtype.tensor}_ptr.dtype.element_ty" if isinstance(dtype, ElementOf) else TRITON_DTYPES[dtype.name]


def saturates(dtype: DTypeRef) -> bool:
    """Whether rounding to a storage type stops at its largest number instead of going to infinity."""
    if isinstance(dtype, ElementOf):
        return dtype.saturates
    return dtype.bits == 8 or dtype.kind is not Kind.REAL


def number_text(value: float | int | bool, kind: Kind) -> str:
    """A literal of the spec."""
    if kind is Kind.REAL:
        return fill_text(float(value), kind)
    return str(value)


def fill_text(value: float, kind: Kind) -> str:
    """What stands in lanes outside of a tensor; an infinity of integers is the last one that 64 bits hold."""
    if kind is Kind.INT:
        if math.isinf(value):
            return str(-(2**63)) if value < 0 else str(2**63 - 1)
        return str(int(value))
    if kind is Kind.BOOL:
        return str(bool(value))
    if math.isfinite(value):
        return repr(float(value))
    return f'float("{value}")'


def is_single(value: float) -> bool:
    """Whether a literal is a number of f32."""
    return not math.isfinite(value) or struct.unpack("f", struct.pack("f", value))[0] == value


def count_text(value: sympy.Expr, type: Whole = Whole.LONG) -> str:
    """An extent as a number of a kernel, made in integers of `type`.

    Each extent that a kernel is given has as many bits as it needs; of a product or a sum of several, or of several
    times one, only the caller knows.
    """
    terms = sympy.Add.make_args(value)
    factors = sympy.Mul.make_args(value)
    parts = factors if len(terms) == 1 else terms
    first = min((part for part in parts if part.is_Symbol), key=str, default=None)
    if first is None or len([part for part in parts if part.free_symbols]) < 2:
        return size_text(value)
    wide = f"tl.cast({first}, {WHOLES[type]})"
    if len(terms) > 1:
        return f"{wide} + {operand_text(value - first, factor=False)}"
    return f"{wide} * {operand_text(value / first, factor=True)}"


def long_text(size: sympy.Expr) -> str:
    """An extent that is counted beyond: the end of its last block, or the next step of a loop, may need more bits."""
    text = count_text(size, Whole.INDEX)
    return f"tl.cast({text}, {WHOLES[Whole.INDEX]})" if size.free_symbols and text == size_text(size) else text


def aligned_text(size: sympy.Expr) -> str:
    """An extent or a stride, so that the compiler sees that VEC divides it, and so many neighbours are one access."""
    return f"{size_text(size)} // {VEC} * {VEC}"


def cast_text(text: str, type: str, dims: Dims) -> str:
    """A scalar may be an argument that Triton made a constant of, which has no methods."""
    return f"{text}.to({type})" if dims else f"tl.cast({text}, {type})"


def expanded(text: str, have: Dims, want: Dims, pair: bool = False) -> str:
    """`text[:, None]`: a value with new dimensions of size one where it lacks them; scalars need none."""
    if not have or (have == want and not pair):
        return text
    if want == ANY:
        return f"tl.expand_dims({text}, -1)"
    places = [":" if dim in have else "None" for dim in want] + (["None"] if pair else [])
    return f"{text}[{', '.join(places)}]"


def bracketed(text: str) -> str:
    """A text as an operand: in parentheses unless it is one word."""
    return f"({text})" if " " in text else text
