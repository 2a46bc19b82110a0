"""The text of a value of a kernel, and of the mask of a tile: expressions of Triton, bracketed where they need it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from fusec.codegen.triton import (
    BY_KIND,
    CALLS,
    EITHER,
    FOLDS,
    INFIX,
    LARGEST,
    TAIL,
    WHOLES,
    aligned_text,
    cast_text,
    count_text,
    dtype_text,
    expanded,
    fill_text,
    is_single,
    number_text,
    saturates,
)
from fusec.ir.multiply import Sums
from fusec.ir.ops import ELEMENTWISE, PREFIX
from fusec.ir.tile_values import (
    Apply,
    AsWhole,
    ByTurns,
    Condition,
    Dims,
    DTypeRef,
    ElementOf,
    Exactly,
    Filled,
    Fold,
    InRange,
    IsZero,
    Largest,
    Masked,
    MaskName,
    Name,
    Number,
    Product,
    Rounded,
    ScaledDot,
    ScaleSizes,
    SizeExpr,
    Turned,
    Value,
    Whole,
    Widened,
    WithSigns,
)
from fusec.ir.types import Kind, Storage
from fusec.passes.kernel.blocks import SWAP_AB, VECTOR

ATOM = 11
"""The strength of a text that holds together whatever stands around it, as a name does."""

_UNARY = 9

_PRODUCTS = {
    Sums.PARTS: "device.dot_in_parts({})",
    Sums.FAST: "tl.dot({})",
    Sums.WHOLE: "tl.dot({}, out_dtype=tl.int32)",
}
"""Products of operands of 8 bits."""


class ValuePrinter:
    """Spells values and masks. `real` is the type reals are computed in."""

    def __init__(self, real: str) -> None:
        self.real = real

    def text(self, value: Value, outer: int = 0) -> str:
        """A value, in parentheses where what stands around it, as strong as `outer`, would take it apart."""
        match value:
            case Name(text):
                return text
            case Number(number, kind=kind):
                return number_text(number, kind)
            case SizeExpr(size):
                text = count_text(size)
                return f"({text})" if outer and " " in text else text
            case Largest(dtype):
                return f"device.max_of({dtype_text(dtype)})" if isinstance(dtype, ElementOf) else LARGEST[dtype.name]
            case Apply():
                return self._apply(value, outer)
            case Rounded(arg, dtype):
                if saturates(dtype):
                    return f"device.round_to({self._lanes(arg, 0)}, {dtype_text(dtype)})"
                return f"{self._lanes(arg, ATOM)}.to({dtype_text(dtype)})"
            case Widened(arg, storage, bits=bits):
                return self.widened(self.text(arg, ATOM), storage, bits)
            case AsWhole(arg, type, dims):
                return cast_text(self.text(arg, ATOM), WHOLES[type], dims)
            case Fold():
                return self._fold(value)
            case Product(a, b, whole=True):
                plain = replace(value, whole=False)
                swapped = replace(plain, a=Turned(b, ()), b=Turned(a, ()))
                return f"{self.text(swapped)}.T if {SWAP_AB} else {self.text(plain)}"
            case Product(a, b, total, precision=precision, sums=sums):
                operands = ", ".join(self.text(each) for each in (a, b, total) if each is not None)
                if sums is not Sums.SINGLE:
                    begins = ", 0.0" if sums is Sums.PARTS and total is None else ""
                    return _PRODUCTS[sums].format(f"{operands}{begins}")
                # Triton makes `dot(a, b, 0) + c` a dot that begins with c, and rounds c at every product, unless some
                # sums may be imprecise. That says nothing of operands that are not of f8.
                return f'tl.dot({operands}, input_precision="{precision}", max_num_imprecise_acc=1)'
            case ByTurns(first, second, over, dims):
                both = ", ".join(self.fitted(each, dims) for each in (first, second))
                return f"device.by_turns({both}, {dims.index(over)})"
            case Exactly(arg, low, high, dtype, less=None):
                return f"device.exactly({self._lanes(arg, 0)}, {low}, {high}, {self._target(dtype)})"
            case Exactly(arg, _, high, dtype, dims, less=less, digit=digit):
                assert less is not None
                both = ", ".join(self._whole(each, dims) for each in (arg, less))
                name = "exact" if digit is None else ("low_digit", "high_digit")[digit]
                return f"device.{name}_difference({both}, {high}, {self._target(dtype)})"
            case Turned(arg):
                return f"{self.text(arg, ATOM)}.T"
            case ScaledDot(a, b, total):
                sides = (f'{self.text(each.digits)}, {self.text(each.scales)}, "{each.format}"' for each in (a, b))
                return f"tl.dot_scaled({', '.join(sides)}, {self.text(total)})"
            case ScaleSizes(arg):
                return f"device.scale_sizes({self.text(arg)})"
            case WithSigns(digits, scales):
                return f"device.with_signs({self.text(digits)}, {self.text(scales)})"
            case Masked(arg, mask, fill, dims, kind):
                text = self.fitted(arg, dims)
                return f"tl.where({self.mask(mask, dims)}, {text}, {fill_text(fill, kind)})"
            case Filled(_, shape, fill, kind):
                element = self.real if kind is Kind.REAL else "tl.int64"
                return f"tl.full([{', '.join(shape)}], {fill_text(fill, kind)}, {element})"
            case _:
                assert_never(value)

    def _target(self, dtype: DTypeRef | None) -> str:
        """A storage type, or that of arithmetic."""
        return self.real if dtype is None else dtype_text(dtype)

    def _whole(self, value: Value, dims: Dims) -> str:
        """An integer with as many dimensions as what is made of it; a literal as a value with a type."""
        if isinstance(value, Number):
            return f"tl.full([], {self.text(value)}, tl.int32)"
        return self.fitted(value, dims)

    def _lanes(self, value: Value, outer: int) -> str:
        """A value that has a type and methods, as lanes have; a literal has none, nor has an integer of the call."""
        whole = value.kind is Kind.INT
        if isinstance(value, Number | Largest | SizeExpr) or (isinstance(value, Name) and whole and not value.dims):
            return f"tl.cast({self.text(value)}, {'tl.int64' if whole else self.real})"
        return self.text(value, outer)

    def _apply(self, value: Apply, outer: int) -> str:
        op = value.op
        operand: Callable[[int, int], str] = lambda place, strength: self.operand(  # noqa: E731
            value.args[place], value.dims, value.kind, strength
        )
        if op in INFIX:
            sign, strength = INFIX[op]
            kind = _operand_kind(value)
            first, second = reversed(value.args) if _looks_like_a_dot(value) else value.args
            left = self.operand(first, value.dims, kind, strength)
            right = self.operand(second, value.dims, kind, strength + 1)
            text = f"{left} {sign} {right}"
            return f"({text})" if strength < outer else text
        if op in PREFIX:
            if value.kind is Kind.BOOL:
                return f"({operand(0, ATOM)} == 0)"
            text = f"{PREFIX[op]}{operand(0, _UNARY)}"
            return f"({text})" if outer > _UNARY else text
        if ELEMENTWISE[op].keeps_integers and value.kind is Kind.INT:
            return operand(0, outer)
        name = BY_KIND[op][value.kind is Kind.INT] if op in BY_KIND else CALLS[op]
        if ELEMENTWISE[op].selects:
            condition = self.operand(value.args[0], value.dims, Kind.BOOL, 0)
            return f"{name}({condition}, {', '.join(self._argument(arg, value) for arg in value.args[1:])})"
        return f"{name}({', '.join(self._argument(arg, value) for arg in value.args)})"

    def _argument(self, arg: Value, call: Apply) -> str:
        """An operand as a function takes it, which makes an f32 of every literal and refuses integers for reals.

        A function of literals alone has no other operand that says what is computed in.
        """
        text = self.operand(arg, call.dims, call.kind, 0)
        if all(map(_is_literal, call.args)):
            return f"tl.full([], {text}, {self.real if call.kind is Kind.REAL else 'tl.int64'})"
        if call.kind is not Kind.REAL:
            return text
        if isinstance(arg, SizeExpr):
            return f"tl.cast({text}, {self.real})"
        if isinstance(arg, Number) and self.real == EITHER and not is_single(float(arg.value)):
            return f"tl.full([], {text}, {self.real})"
        return text

    def operand(self, value: Value, dims: Dims, kind: Kind, strength: int) -> str:
        """An operand as its operation needs it: of the right kind, with all the dimensions of the result."""
        if kind is Kind.REAL and value.kind is Kind.INT:
            if isinstance(value, Number):
                return number_text(float(value.value), Kind.REAL)
            if isinstance(value, Largest) and not isinstance(value.dtype, ElementOf):
                return f"{LARGEST[value.dtype.name]}.0"
            if not isinstance(value, SizeExpr | Largest):
                return expanded(cast_text(self.text(value, ATOM), self.real, value.dims), value.dims, dims)
        if value.dims and value.dims != dims:
            return expanded(self.text(value, ATOM), value.dims, dims)
        return self.text(value, strength)

    def fitted(self, value: Value, dims: Dims) -> str:
        """A value with as many dimensions as the place it goes to."""
        if value.dims and value.dims != dims:
            return expanded(self.text(value, ATOM), value.dims, dims)
        return self.text(value)

    def widened(self, text: str, storage: Storage, by_bits: bool = False) -> str:
        """A text in a storage type as arithmetic takes it: reals in f32 or f64, integers in 32 bits or more."""
        bits = [option.bits for option in storage.options]
        match storage.kind:
            case Kind.REAL if by_bits:
                return f"device.widen_bits({text}, {self.real})"
            case Kind.REAL if self.real == EITHER and min(bits) == 8:
                return f"device.widen({text}, {self.real})"
            case Kind.REAL:
                return f"{text}.to({self.real})"
            case Kind.INT if min(bits) < 32:
                return f"{text}.to({'tl.int32' if max(bits) <= 32 else 'tl.int64'})"
            case _:
                return text

    def _fold(self, fold: Fold) -> str:
        dims = list(fold.arg.dims)
        text = self.text(fold.arg)
        for dim in reversed(fold.over):
            place = dims.index(dim)
            dims.remove(dim)
            text = FOLDS[fold.op].format(text, place)
        return text

    def mask(self, conditions: tuple[Condition, ...], dims: Dims, pair: bool = False) -> str:
        """Conditions that all have to hold, with the dimensions of a tile, and one more for a `pair` of lanes."""
        texts = [expanded(self._condition(c), c.dims, dims, pair) for c in conditions]
        # Every condition but a name stands in parentheses, which it does not need alone.
        alone = len(texts) == 1 and texts[0].startswith("(") and texts[0].endswith(")")
        return texts[0][1:-1] if alone else " & ".join(texts)

    def _condition(self, condition: Condition) -> str:
        match condition:
            case MaskName(text):
                return text
            case IsZero(index):
                return f"({index.text} == 0)"
            case InRange(index, size, looked_up, even, tail, aligned, anywhere):
                text = self.text(index, ATOM)
                # An index of a tile is in the type of offsets, one of rows or from memory may be of 64 bits.
                narrow = not looked_up and index.dims != ("row",)
                end = aligned_text(size) if aligned else count_text(size, Whole.INDEX if narrow else Whole.LONG)
                above = f"{text} < {end}"
                if anywhere:
                    return f"device.inside({text}, {end}, start, ahead, {TAIL}, {VECTOR})"
                if tail:
                    return f"(({above}) | ({TAIL} == 0))"
                if even:
                    return f"(({above}) | {even})"
                return f"(({text} >= 0) & ({above}))" if looked_up else f"({above})"
            case _:
                assert_never(condition)


def _is_literal(value: Value) -> bool:
    return isinstance(value, Number | Largest) or (isinstance(value, Apply) and all(map(_is_literal, value.args)))


def _looks_like_a_dot(value: Apply) -> bool:
    """Whether the sum of `a[:, :, None] * b[None, :, :]` is to come, which Triton makes a dot of, in tf32.

    It looks at where dimensions are added last, and neither at the axis of the sum nor at how few are summed; with `b`
    first it sees no dot.
    """
    if not ELEMENTWISE[value.op].is_product or len(value.args) != 2:
        return False
    added = [[place for place, dim in enumerate(value.dims) if dim not in arg.dims] for arg in value.args if arg.dims]
    return [places[-1:] for places in added] == [[2], [0]]


def _operand_kind(value: Apply) -> Kind:
    if value.kind is not Kind.BOOL:
        return value.kind
    kinds = {arg.kind for arg in value.args}
    return Kind.REAL if Kind.REAL in kinds else Kind.INT if Kind.INT in kinds else Kind.BOOL
