"""Print a kernel: one line of Triton per statement. Every decision was made before; this only spells."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import assert_never

import sympy

from fusec.ir.kernel import (
    Address,
    Along,
    Apply,
    Assign,
    AsWhole,
    Branch,
    Comment,
    Condition,
    Define,
    Dims,
    DTypeRef,
    ElementOf,
    Filled,
    Fold,
    InRange,
    IsZero,
    Kernel,
    Largest,
    Let,
    LoadTile,
    Loop,
    Masked,
    MaskName,
    Name,
    Number,
    Point,
    Product,
    Rounded,
    SizeExpr,
    Statement,
    StoreTile,
    Value,
    Whole,
    Widened,
)
from fusec.ir.sizes import size_text
from fusec.ir.types import DType, DTypeVar, Kind, Storage

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
_LARGEST = {
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
}
_INFIX: dict[str, tuple[str, int]] = {
    "add": ("+", 5),
    "sub": ("-", 5),
    "mul": ("*", 6),
    "div": ("/", 6),
    "eq": ("==", 2),
    "ne": ("!=", 2),
    "lt": ("<", 2),
    "le": ("<=", 2),
    "gt": (">", 2),
    "ge": (">=", 2),
    "and": ("&", 4),
    "or": ("|", 3),
}
_CALLS: dict[str, str] = {
    "abs": "tl.abs",
    "exp": "tl.exp",
    "exp2": "tl.exp2",
    "log": "tl.log",
    "sqrt": "tl.sqrt",
    "rsqrt": "tl.rsqrt",
    "sigmoid": "tl.sigmoid",
    "tanh": "device.tanh",
    "erf": "tl.erf",
    "sin": "tl.sin",
    "cos": "tl.cos",
    "floor": "tl.floor",
    "round": "device.round_even",
    "minimum": "device.minimum",
    "maximum": "device.maximum",
    "pow": "device.power",
    "where": "tl.where",
}
_BY_KIND: dict[str, tuple[str, str]] = {
    "floordiv": ("device.floor_divide", "device.floor_divide_int"),
    "mod": ("device.floor_mod", "device.floor_mod_int"),
}
SPELLED = {*_INFIX, *_CALLS, *_BY_KIND, "neg", "not"}
"""The elementwise operations that have a Triton spelling: all of them, which a test asserts."""

_ATOM, _UNARY = 9, 7
_EITHER = "REAL"
"""The type of reals where it is chosen at run time, f32 or f64."""
_FOLDS = {"amax": "device.nan_max", "amin": "device.nan_min"}


def kernel_lines(kernel: Kernel, real: str) -> list[str]:
    """The body of a kernel, one string a line. `real` is the type reals are computed in."""
    return _Printer(real).block(kernel.body, 0)


class _Printer:
    def __init__(self, real: str) -> None:
        self._real = real

    def block(self, statements: tuple[Statement, ...], depth: int) -> list[str]:
        """The lines of a body, indented by `depth` levels."""
        indent = "    " * depth
        return [indent + line for statement in statements for line in self._statement(statement)]

    def _statement(self, statement: Statement) -> list[str]:
        match statement:
            case Assign(name, value):
                text = self._in_place(name, value) or f"{name.text} = {self._value(value)}"
                return [text]
            case Point(name, address):
                return [f"{name.text} = {self._address(address)}"]
            case LoadTile():
                return [self._load(statement)]
            case StoreTile():
                return [self._store(statement)]
            case Define(name, text):
                return [f"{name.text} = {text}"]
            case Let(name, mask):
                return [f"{name.text} = {self._mask(mask, name.dims)}"]
            case Loop(var, start, stop, step, _, body):
                bounds = ", ".join((start, stop, step))
                return [f"for {var} in range({bounds}):", *self.block(body, 1)]
            case Branch(cases):
                return self._branch(cases)
            case Comment(text):
                return [f"# {text}"]
            case _:
                assert_never(statement)

    def _in_place(self, name: Name, value: Value) -> str | None:
        """`total += part` for a sum onto itself."""
        if isinstance(value, Apply) and value.op == "add" and value.args[0] == name:
            return f"{name.text} += {self._operand(value.args[1], value.dims, value.kind, 0)}"
        return None

    def _branch(self, cases: tuple[tuple[str, tuple[Statement, ...]], ...]) -> list[str]:
        lines: list[str] = []
        for place, (condition, body) in enumerate(cases):
            word = "if" if place == 0 else "elif"
            lines.append(f"{word} {condition}:" if condition else "else:")
            lines += self.block(body, 1)
        return lines

    # Memory

    def _load(self, load: LoadTile) -> str:
        pair = load.address.pair is not None
        arguments = [self._address(load.address)]
        if load.mask:
            arguments.append(f"mask={self._mask(load.mask, load.address.dims, pair)}")
            arguments.append(f"other={_fill(load.fill if load.fill is not None else 0, load.names[0].kind)}")
        if load.cache:
            arguments.append(f'eviction_policy="{load.cache}"')
        text = f"tl.load({', '.join(arguments)})"
        if load.storage is not None:
            text = self._widened(text, load.storage)
        if pair:
            text = f"tl.split({text})"
        return f"{', '.join(name.text for name in load.names)} = {text}"

    def _store(self, store: StoreTile) -> str:
        values = [self._fitted(value, store.address.dims) for value in store.values]
        text = values[0] if len(values) == 1 else f"tl.join({', '.join(values)})"
        if _saturates(store.dtype) and not _is_stored_as(store.values[0], store.dtype):
            text = f"device.round_to({text}, {_dtype(store.dtype)})"
        pair = store.address.pair is not None
        mask = f", mask={self._mask(store.mask, store.address.dims, pair)}" if store.mask else ""
        return f"tl.store({self._address(store.address)}, {text}{mask})"

    def _address(self, address: Address) -> str:
        dims, pair = address.dims, address.pair is not None
        parts = [_expanded(address.pointer.text, address.pointer.dims, dims, pair)]
        parts += [self._along(along, dims, pair) for along in address.along]
        if address.pair is not None:
            lanes = f"[{', '.join(['None'] * len(dims) + [':'])}]" if dims else ""
            step = size_text(address.pair)
            far = ".to(INDEX)" if " " in step else ""
            parts.append(f"tl.arange(0, 2){far}{lanes}{f' * {step}' if step != '1' else ''}")
        return " + ".join(parts)

    def _along(self, along: Along, dims: Dims, pair: bool) -> str:
        terms = [self._term(value, factor, dims, pair) for value, factor in along.terms]
        if along.offset != 0:
            terms.append(size_text(along.offset))
        text = " + ".join(terms)
        if along.stride == 1:
            return text
        if not along.terms and along.offset != 1:
            text = f"tl.cast({text}, {Whole.INDEX.value})"
        return f"{f'({text})' if len(terms) > 1 or ' + ' in text else text} * {size_text(along.stride)}"

    def _term(self, value: Value, factor: sympy.Expr, dims: Dims, pair: bool) -> str:
        text = self._value(value, _ATOM)
        text = _expanded(text, value.dims, dims, pair)
        return text if factor == 1 else f"{text} * {_bracket(size_text(factor))}"

    def _mask(self, conditions: tuple[Condition, ...], dims: Dims, pair: bool = False) -> str:
        texts = [_expanded(self._condition(c), c.dims, dims, pair) for c in conditions]
        # Every condition but a name stands in parentheses, which it does not need alone.
        alone = len(texts) == 1 and texts[0].startswith("(") and texts[0].endswith(")")
        return texts[0][1:-1] if alone else " & ".join(texts)

    def _condition(self, condition: Condition) -> str:
        match condition:
            case MaskName(text):
                return text
            case IsZero(index):
                return f"({index.text} == 0)"
            case InRange(index, size, looked_up, even):
                text = self._value(index, _ATOM)
                above = f"{text} < {size_text(size)}"
                if even:
                    return f"(({above}) | {even})"
                return f"(({text} >= 0) & ({above}))" if looked_up else f"({above})"
            case _:
                assert_never(condition)

    # Values

    def _value(self, value: Value, outer: int = 0) -> str:
        match value:
            case Name(text):
                return text
            case Number(number, kind=kind):
                return _number(number, kind)
            case SizeExpr(size):
                text = _size(size)
                return f"({text})" if outer and " " in text else text
            case Largest(dtype):
                return _LARGEST[dtype.name] if not isinstance(dtype, ElementOf) else f"device.max_of({_dtype(dtype)})"
            case Apply():
                return self._apply(value, outer)
            case Rounded(arg, dtype):
                if _saturates(dtype):
                    return f"device.round_to({self._value(arg)}, {_dtype(dtype)})"
                return f"{self._value(arg, _ATOM)}.to({_dtype(dtype)})"
            case Widened(arg, storage):
                return self._widened(self._value(arg, _ATOM), storage)
            case AsWhole(arg, type, dims):
                return _cast(self._value(arg, _ATOM), type.value, dims)
            case Fold():
                return self._fold(value)
            case Product(a, b, total):
                operands = ", ".join(map(self._value, (a, b, total)))
                return f'tl.dot({operands}, input_precision="ieee")'
            case Masked(arg, mask, fill, dims, kind):
                text = self._fitted(arg, dims)
                return f"tl.where({self._mask(mask, dims)}, {text}, {_fill(fill, kind)})"
            case Filled(_, shape, fill, kind):
                element = self._real if kind is Kind.REAL else "tl.int64"
                return f"tl.full([{', '.join(shape)}], {_fill(fill, kind)}, {element})"
            case _:
                assert_never(value)

    def _apply(self, value: Apply, outer: int) -> str:
        op = value.op
        operand: Callable[[int, int], str] = lambda place, strength: self._operand(  # noqa: E731
            value.args[place], value.dims, value.kind, strength
        )
        if op in _INFIX:
            sign, strength = _INFIX[op]
            kind = _operand_kind(value)
            left = self._operand(value.args[0], value.dims, kind, strength)
            right = self._operand(value.args[1], value.dims, kind, strength + 1)
            text = f"{left} {sign} {right}"
            return f"({text})" if strength < outer else text
        if op == "neg":
            text = f"-{operand(0, _UNARY)}"
            return f"({text})" if outer > _UNARY else text
        if op == "not":
            return f"({operand(0, _ATOM)} == 0)"
        if op in ("floor", "round") and value.kind is Kind.INT:
            return operand(0, outer)
        name = _BY_KIND[op][value.kind is Kind.INT] if op in _BY_KIND else _CALLS[op]
        if op == "where":
            condition = self._operand(value.args[0], value.dims, Kind.BOOL, 0)
            return f"{name}({condition}, {', '.join(self._argument(arg, value) for arg in value.args[1:])})"
        return f"{name}({', '.join(self._argument(arg, value) for arg in value.args)})"

    def _argument(self, arg: Value, call: Apply) -> str:
        """An operand as a function takes it, which makes an f32 of every literal and refuses integers for reals."""
        text = self._operand(arg, call.dims, call.kind, 0)
        if call.kind is not Kind.REAL:
            return text
        if isinstance(arg, SizeExpr):
            return f"tl.cast({text}, {self._real})"
        if isinstance(arg, Number) and self._real == _EITHER and not _is_single(float(arg.value)):
            return f"tl.full([], {text}, {self._real})"
        return text

    def _operand(self, value: Value, dims: Dims, kind: Kind, strength: int) -> str:
        """An operand as its operation needs it: of the right kind, with all the dimensions of the result."""
        if kind is Kind.REAL and value.kind is Kind.INT:
            if isinstance(value, Number):
                return _number(float(value.value), Kind.REAL)
            if isinstance(value, Largest) and not isinstance(value.dtype, ElementOf):
                return f"{_LARGEST[value.dtype.name]}.0"
            if not isinstance(value, SizeExpr | Largest):
                return _expanded(_cast(self._value(value, _ATOM), self._real, value.dims), value.dims, dims)
        if value.dims and value.dims != dims:
            return _expanded(self._value(value, _ATOM), value.dims, dims)
        return self._value(value, strength)

    def _fitted(self, value: Value, dims: Dims) -> str:
        """A value with as many dimensions as the place it goes to."""
        if value.dims and value.dims != dims:
            return _expanded(self._value(value, _ATOM), value.dims, dims)
        return self._value(value)

    def _widened(self, text: str, storage: Storage) -> str:
        """A text in a storage type as arithmetic takes it: reals in f32 or f64, integers in 32 bits or more."""
        bits = [option.bits for option in (storage.options if isinstance(storage, DTypeVar) else (storage,))]
        match storage.kind:
            case Kind.REAL if self._real == _EITHER and min(bits) == 8:
                return f"device.widen({text}, {self._real})"
            case Kind.REAL:
                return f"{text}.to({self._real})"
            case Kind.INT if min(bits) < 32:
                return f"{text}.to({'tl.int32' if max(bits) <= 32 else 'tl.int64'})"
            case _:
                return text

    def _fold(self, fold: Fold) -> str:
        dims = list(fold.arg.dims)
        text = self._value(fold.arg)
        for dim in reversed(fold.over):
            place = dims.index(dim)
            dims.remove(dim)
            call = f"tl.sum({text}, {place})" if fold.op == "sum" else f"tl.reduce({text}, {place}, {_FOLDS[fold.op]})"
            text = call
        return text


def _operand_kind(value: Apply) -> Kind:
    if value.kind is not Kind.BOOL:
        return value.kind
    kinds = {arg.kind for arg in value.args}
    return Kind.REAL if Kind.REAL in kinds else Kind.INT if Kind.INT in kinds else Kind.BOOL


def _expanded(text: str, have: Dims, want: Dims, pair: bool = False) -> str:
    """`text[:, None]`: a value with new dimensions of size one where it lacks them; scalars need none."""
    if not have or (have == want and not pair):
        return text
    places = [":" if dim in have else "None" for dim in want] + (["None"] if pair else [])
    return f"{text}[{', '.join(places)}]"


def _number(value: float | int | bool, kind: Kind) -> str:
    if kind is Kind.REAL:
        return _fill(float(value), kind)
    return str(value)


def _fill(value: float, kind: Kind) -> str:
    if kind is Kind.INT:
        if math.isinf(value):
            return str(-(2**63)) if value < 0 else str(2**63 - 1)
        return str(int(value))
    if kind is Kind.BOOL:
        return str(bool(value))
    if math.isfinite(value):
        return repr(float(value))
    return f'float("{value}")'


def _size(size: sympy.Expr) -> str:
    """An extent as a number; how many elements several axes have may need 64 bits."""
    symbols = sorted((factor for factor in size.args if factor.is_Symbol), key=str) if size.is_Mul else []
    if len(size.free_symbols) < 2 or not symbols:
        return size_text(size)
    rest = size_text(size / symbols[0])
    return f"tl.cast({symbols[0]}, {Whole.LONG.value}) * {_bracket(rest) if (size / symbols[0]).is_Add else rest}"


def _is_single(value: float) -> bool:
    """Whether a literal is a number of f32."""
    return not math.isfinite(value) or struct.unpack("f", struct.pack("f", value))[0] == value


def _dtype(dtype: DTypeRef) -> str:
    return f"{dtype.tensor}_ptr.dtype.element_ty" if isinstance(dtype, ElementOf) else TRITON_DTYPES[dtype.name]


def _is_stored_as(value: Value, dtype: DTypeRef) -> bool:
    """Whether a value needs no rounding to be stored: it is in a storage type, or a truth value stored as one."""
    if isinstance(dtype, DType) and dtype.kind is Kind.BOOL:
        return value.kind is Kind.BOOL
    return isinstance(value, Name) and value.storage is not None


def _saturates(dtype: DTypeRef) -> bool:
    if isinstance(dtype, ElementOf):
        return dtype.saturates
    return dtype.bits == 8 or dtype.kind is not Kind.REAL


def _cast(text: str, type: str, dims: Dims) -> str:
    """A scalar may be an argument that Triton made a constant of, which has no methods."""
    return f"{text}.to({type})" if dims else f"tl.cast({text}, {type})"


def _bracket(text: str) -> str:
    return f"({text})" if " " in text else text
