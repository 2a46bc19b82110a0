"""Print a kernel: one line of Triton per statement. Every decision was made before; this only spells."""

from __future__ import annotations

from typing import assert_never

import sympy

from fusec.codegen.triton import bracketed, dtype_text, expanded, fill_text, saturates
from fusec.codegen.values import ATOM, ValuePrinter
from fusec.ir.kernel import (
    Address,
    Along,
    Apply,
    Assign,
    AsWhole,
    Branch,
    Comment,
    Define,
    Dims,
    DTypeRef,
    Enter,
    Fetch,
    Halves,
    Kernel,
    Let,
    LoadTile,
    Loop,
    Meet,
    Name,
    Point,
    Put,
    Statement,
    StoreTile,
    Unstack,
    Value,
    Whole,
)
from fusec.ir.sizes import count_text, size_text
from fusec.ir.types import DType, Kind
from fusec.passes.kernel.blocks import OVERLAP


def kernel_lines(kernel: Kernel, real: str) -> list[str]:
    """The body of a kernel, one string a line. `real` is the type reals are computed in."""
    return _Printer(real).block(kernel.body, 0)


class _Printer:
    def __init__(self, real: str) -> None:
        self._values = ValuePrinter(real)

    def block(self, statements: tuple[Statement, ...], depth: int) -> list[str]:
        """The lines of a body, indented by `depth` levels."""
        indent = "    " * depth
        return [indent + line for statement in statements for line in self._statement(statement)]

    def _statement(self, statement: Statement) -> list[str]:
        match statement:
            case Assign(name, value):
                text = self._in_place(name, value) or f"{name.text} = {self._values.text(value)}"
                return [text]
            case Point(name, address):
                return [f"{name.text} = {self._address(address)}"]
            case LoadTile():
                return [self._load(statement)]
            case StoreTile():
                return [self._store(statement)]
            case Fetch(name, box, corner, shape):
                tile = f"{box}.load([{', '.join(corner)}])"
                return [f"{name.text} = {_reshaped(tile, shape)}"]
            case Put(value, box, corner, shape, dtype):
                return [f"{box}.store([{', '.join(corner)}], {_reshaped(self._rounded(value, dtype, box), shape)})"]
            case Unstack():
                return self._unstack(statement)
            case Halves(var, name, tiles, body):
                first, second = (tile.text for tile in tiles)
                lines = [f"for {var} in tl.static_range(2):", f"    {name.text} = {first} if {var} == 0 else {second}"]
                return [*lines, *self.block(body, 1)]
            case Define(name, text):
                return [f"{name.text} = {text}"]
            case Let(name, mask):
                return [f"{name.text} = {self._values.mask(mask, name.dims)}"]
            case Loop(var, start, stop, step, _, body, flat):
                bounds = ", ".join((start, stop, step))
                walk = f"tl.range({bounds}, flatten=True)" if flat else f"range({bounds})"
                return [f"for {var} in {walk}:", *self.block(body, 1)]
            case Branch(cases):
                return self._branch(cases)
            case Enter():
                return [f"device.enter({OVERLAP})"]
            case Meet():
                return ["tl.debug_barrier()"]
            case Comment(text):
                return [f"# {text}"]
            case _:
                assert_never(statement)

    def _in_place(self, name: Name, value: Value) -> str | None:
        """`total += part` for a sum onto itself."""
        if isinstance(value, Apply) and value.op == "add" and value.args[0] == name:
            return f"{name.text} += {self._values.operand(value.args[1], value.dims, value.kind, 0)}"
        return None

    def _unstack(self, unstack: Unstack) -> list[str]:
        first, second = (name.text for name in unstack.names)
        parts = f"{unstack.stacked.text}.reshape({unstack.rows}, 2, {unstack.columns}).permute(0, 2, 1)"
        lines = [f"{first}, {second} = {parts}.split()"]
        if unstack.flip:
            turned = [
                f"tl.where({unstack.flip} != 0, {one}, {other})" for one, other in ((second, first), (first, second))
            ]
            lines.append(f"{first}, {second} = {', '.join(turned)}")
        return lines

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
            arguments.append(f"mask={self._values.mask(load.mask, load.address.dims, pair)}")
            arguments.append(f"other={fill_text(load.fill if load.fill is not None else 0, load.names[0].kind)}")
        if load.cache:
            arguments.append(f'eviction_policy="{load.cache}"')
        text = f"tl.load({', '.join(arguments)})"
        if load.storage is not None:
            text = self._values.widened(text, load.storage, load.bits)
        if pair:
            text = f"tl.split({text})"
        return f"{', '.join(name.text for name in load.names)} = {text}"

    def _store(self, store: StoreTile) -> str:
        first, dims = store.values[0], store.address.dims
        text = self._values.fitted(first, dims) if len(store.values) == 1 else self._joined(store)
        if saturates(store.dtype) and not _is_stored_as(first, store.dtype):
            text = f"device.round_to({text}, {dtype_text(store.dtype)})"
        pair = store.address.pair is not None
        mask = f", mask={self._values.mask(store.mask, dims, pair)}" if store.mask else ""
        return f"tl.store({self._address(store.address)}, {text}{mask})"

    def _joined(self, store: StoreTile) -> str:
        """Neighbours as one tile. Triton joins values of one type only: integers of 64 bits if both are integers."""
        values, kinds = store.values, {value.kind for value in store.values}
        if kinds == {Kind.INT} and not all(_is_stored_as(value, store.dtype) for value in values):
            values = tuple(AsWhole(value, Whole.LONG, value.dims) for value in values)
        kind = Kind.REAL if Kind.REAL in kinds else values[0].kind
        texts = [self._values.operand(value, store.address.dims, kind, 0) for value in values]
        return f"tl.join({', '.join(texts)})"

    def _rounded(self, value: Value, dtype: DTypeRef, box: str) -> str:
        """A value in the storage type `dtype`, which is that of `box`."""
        if _is_stored_as(value, dtype):
            return self._values.text(value, ATOM)
        if saturates(dtype):
            return f"device.round_to({self._values.text(value)}, {box}.dtype)"
        return f"{self._values.text(value, ATOM)}.to({box}.dtype)"

    def _address(self, address: Address) -> str:
        dims, pair = address.dims, address.pair is not None
        parts = [expanded(address.pointer.text, address.pointer.dims, dims, pair)]
        parts += [self._along(along, dims, pair) for along in address.along]
        if address.pair is not None:
            lanes = f"[{', '.join(['None'] * len(dims) + [':'])}]" if dims else ""
            step = size_text(address.pair)
            far = ".to(INDEX)" if " " in step else ""
            parts.append(f"tl.arange(0, 2){far}{lanes}{f' * {step}' if step != '1' else ''}")
        return " + ".join(parts)

    def _along(self, along: Along, dims: Dims, pair: bool) -> str:
        # Only the offsets within a tensor may be beyond 32 bits; scratch, which has no stride, is not as large.
        exact = along.stride != 1
        terms = [self._term(value, factor, dims, pair, exact) for value, factor in along.terms]
        offset = along.offset
        if offset != 0:
            terms.append(count_text(offset, Whole.INDEX.value) if exact else size_text(offset))
        text = " + ".join(terms)
        if not exact:
            return text
        if not along.terms and offset != 1 and text == size_text(offset):
            text = f"tl.cast({text}, {Whole.INDEX.value})"
        return f"{f'({text})' if len(terms) > 1 or ' + ' in text else text} * {size_text(along.stride)}"

    def _term(self, value: Value, factor: sympy.Expr, dims: Dims, pair: bool, exact: bool) -> str:
        text = self._values.text(value, ATOM)
        text = expanded(text, value.dims, dims, pair)
        step = count_text(factor, Whole.INDEX.value) if exact else size_text(factor)
        return text if factor == 1 else f"{text} * {bracketed(step)}"


def _reshaped(text: str, shape: tuple[str, ...]) -> str:
    return f"{text}.reshape({', '.join(shape)})" if shape else text


def _is_stored_as(value: Value, dtype: DTypeRef) -> bool:
    """Whether a value needs no rounding to be stored: it is in a storage type, or a truth value stored as one."""
    if isinstance(dtype, DType) and dtype.kind is Kind.BOOL:
        return value.kind is Kind.BOOL
    return isinstance(value, Name) and value.storage is not None
