"""Statements as text: a line of Triton for each, or a few. Every decision was made before; this only spells."""

from __future__ import annotations

from dataclasses import replace
from math import isnan
from typing import assert_never

import sympy

from fusec.codegen.triton import (
    EITHER,
    TAIL,
    WHOLES,
    aligned_text,
    bracketed,
    count_text,
    dtype_text,
    expanded,
    fill_text,
    long_text,
    saturates,
)
from fusec.codegen.values import ATOM, ValuePrinter
from fusec.codegen.variables import free
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.sizes import size_text
from fusec.ir.statements import (
    Assign,
    Branch,
    Call,
    Chosen,
    Corner,
    Cut,
    Early,
    Fetch,
    FirstPrograms,
    Function,
    Given,
    IfHeld,
    Keep,
    Kept,
    Lanes,
    Let,
    LoadTile,
    NoTiles,
    Point,
    Put,
    Statement,
    StoreTile,
    Test,
    Touch,
    Vectors,
    every,
)
from fusec.ir.tile_values import (
    ANY,
    Address,
    Along,
    Apply,
    AsWhole,
    Condition,
    Dims,
    DTypeRef,
    Masked,
    Name,
    Value,
    Whole,
)
from fusec.ir.types import DType, Kind
from fusec.passes.kernel.blocks import EVICT, HELD, PREFETCH, VEC, VECTOR

_SHORT = 88
"""Characters of a choice that stands in one line, also where that is indented."""

_LOADS = {"row": "load_row", "written": "load_written_row", "shared": "load_shared"}
"""The functions of `runtime/row_vectors.py` by what they load of."""


class StatementPrinter:
    """Spells statements. `real` is the type reals are computed in."""

    def __init__(self, real: str) -> None:
        self._values = ValuePrinter(real)

    def block(self, statements: tuple[Statement, ...]) -> list[str]:
        """The lines of a body."""
        lines: list[str] = []
        left = list(statements)
        while left:
            looked_up = self._looked_up(*left[:2])
            lines += [looked_up] if looked_up else self._statement(left[0])
            del left[: 2 if looked_up else 1]
        return lines

    def value(self, value: Value) -> str:
        """An expression."""
        return self._values.text(value)

    def _statement(self, statement: Statement) -> list[str]:
        match statement:
            case Assign(name, value):
                text = self._in_place(name, value) or f"{name.text} = {self._values.text(value)}"
                return [text]
            case Point(name, address):
                return [f"{name.text} = {self._address(address)}"]
            case LoadTile():
                return [self._load(statement)]
            case Touch(address, mask):
                return [f"device.touch({self._address(address)}, {self._values.mask(mask, address.dims)})"]
            case StoreTile():
                return [self._store(statement)]
            case Fetch(name, tiles, corner, shape):
                return [f"{name.text} = {_reshaped(f'{tiles}.load({_corner(corner)})', shape)}"]
            case Put(value, tiles, corner, shape, dtype, through) if through:
                stored = self._rounded(value, dtype, tiles)
                which = ", ".join(axis.index.text for axis in corner if axis.index is not None)
                return [f"roles.put({tiles}, {through}, {stored}, {which}, HALF, {', '.join(shape)})"]
            case Put(value, tiles, corner, shape, dtype):
                return [f"{tiles}.store({_corner(corner)}, {_reshaped(self._rounded(value, dtype, tiles), shape)})"]
            case NoTiles(name):
                return [f"{name.text} = ()"]
            case Keep(tiles, tile):
                return [f"{tiles.text} = {tiles.text} + ({tile.text},)"]
            case Kept(name, tiles, size):
                return [f"{name.text} = {tiles.text}[start // {size}]"]
            case Lanes(name, size, wide=True, block=None):
                return [f"{name.text} = tl.arange(0, {size}).to(INDEX)"]
            case Lanes(name, size, block=Name(block)):
                return [f"{name.text} = {block}.to(INDEX) * {bracketed(size)} + tl.arange(0, {size})"]
            case Lanes(name, size, ""):
                return [f"{name.text} = tl.arange(0, {size})"]
            case Lanes(name, size, first):
                return [f"{name.text} = ({first} + tl.arange(0, {size})).to(INDEX)"]
            case Let(name, mask):
                return [f"{name.text} = {self._values.mask(mask, name.dims)}"]
            case Branch(cases):
                return self._branch(cases)
            case Call():
                return [self._call(statement)]
            case _:
                assert_never(statement)

    def _call(self, call: Call) -> str:
        given = {
            name: self._argument(argument, call.dims)
            for name, argument in zip(call.function.inputs, call.arguments, strict=True)
        }
        arguments = (given.get(name, name) for name in function_parameters(call.function, self.function(call.function)))
        return f"{', '.join(name.text for name in call.names)} = {call.called}({', '.join(arguments)})"

    def _argument(self, argument: Value | tuple[Condition, ...], dims: Dims) -> str:
        if isinstance(argument, tuple):
            return self._values.mask(argument, dims) or "True"
        return self._values.fitted(argument, dims)

    def function(self, function: Function) -> list[str]:
        """The lines of the body of a function."""
        *lines, last = self.block(function.body)
        results = ", ".join(self._values.text(value) for value in function.results)
        start = f"{results} = "
        if last.startswith(start):
            return [*lines, f"return {last.removeprefix(start)}"]
        return [*lines, last, f"return {results}"]

    def _in_place(self, name: Name, value: Value) -> str | None:
        """`total += part` for a sum onto itself."""
        if isinstance(value, Apply) and ELEMENTWISE[value.op].linear == (1, 1) and value.args[0] == name:
            return f"{name.text} += {self._values.operand(value.args[1], value.dims, value.kind, 0)}"
        return None

    def _looked_up(self, load: Statement, filled: Statement | None = None) -> str | None:
        """A tile that is read and then filled where it is outside of its tensor, in one statement."""
        match load, filled:
            case LoadTile(names=(name,)), Assign(again, Masked(arg, mask, fill, dims, kind)):
                if name.text == again.text and isinstance(arg, Name) and arg.text == name.text and arg.dims == dims:
                    inside = self._values.mask(mask, dims)
                    if kind is Kind.REAL and isnan(fill) and self._is_widened_plainly(load):
                        return f"{name.text} = {self._table_value(load, mask, inside)}"
                    return f"{name.text} = tl.where({inside}, {self._loaded(load)}, {fill_text(fill, kind)})"
        return None

    def _is_widened_plainly(self, load: LoadTile) -> bool:
        storage = load.storage
        if storage is None or storage.kind is not Kind.REAL or load.bits or load.address.pair is not None:
            return False
        return self._values.widened("", storage) == f".to({self._values.real})"

    def _table_value(self, load: LoadTile, inside: tuple[Condition, ...], text: str) -> str:
        """What a table of reals holds, NaN where an index is not `inside` of it."""
        rest = tuple(condition for condition in load.mask if condition not in inside)
        arguments = [self._address(load.address), text]
        if rest:
            arguments.append(self._values.mask(rest, load.address.dims))
        if self._values.real != "tl.float32":
            arguments.append(f"real={self._values.real}")
        if load.cache:
            arguments.append(f"eviction_policy={_cache(load.cache)}")
        return f"device.look_up({', '.join(arguments)})"

    def _branch(self, cases: tuple[tuple[Test | None, tuple[Statement, ...]], ...]) -> list[str]:
        either = self._either(cases)
        if either:
            return [either]
        lines: list[str] = []
        for place, (test, body) in enumerate(cases):
            word = "if" if place == 0 else "elif"
            lines.append(f"{word} {_test(test)}:" if test else "else:")
            lines += [f"    {line}" for line in self.block(body)]
        return lines

    def _either(self, cases: tuple[tuple[Test | None, tuple[Statement, ...]], ...]) -> str | None:
        """A value that is one of two, in one statement: what an optional tensor has, or what stands for it."""
        match cases:
            case (IfHeld() as test, (Kept(name, tiles, size),)), (None, (LoadTile() as load,)):
                return f"{name.text} = {tiles.text}[start // {size}] if {_test(test)} else {self._loaded(load)}"
            case (test, body), (None, (Assign(name, value),)) if test:
                given = self._given(body, name)
                text = given and f"{name.text} = {given} if {_test(test)} else {self._values.text(value)}"
                return text if isinstance(test, Given) or len(text or "") <= _SHORT else None
        return None

    def _given(self, body: tuple[Statement, ...], name: Name) -> str | None:
        """The value that a body gives a name, if it does nothing else."""
        match body:
            case (Assign(given, value),) if given.text == name.text:
                return self._values.text(value)
            case (LoadTile(names=(given,)) as load,) if given.text == name.text:
                return self._loaded(load)
            case (Point(row, start), LoadTile(names=(given,), address=address) as load) if (
                given.text == name.text and address.pointer == row and start.dims in ((), address.dims)
            ):
                whole = replace(address, pointer=start.pointer, along=start.along + address.along)
                return self._loaded(replace(load, address=whole))
        return None

    # Memory

    def _load(self, load: LoadTile) -> str:
        text = self._loaded(load)
        if len(load.names) > 1:
            text = f"tl.split({text})"
        return f"{', '.join(name.text for name in load.names)} = {text}"

    def _added(self, load: LoadTile, stride: sympy.Symbol) -> str:
        """A product, of which several programs may have left a part each."""
        pair = load.address.pair is not None
        mask = self._values.mask(load.mask, load.address.dims, pair) if load.mask else "True"
        real = [] if self._values.real == "tl.float32" else [self._values.real]
        return f"device.sum_of_splits({', '.join([self._address(load.address), mask, str(stride), 'SPLITS', *real])})"

    def _loaded(self, load: LoadTile) -> str:
        if load.splits is not None:
            return self._added(load, load.splits)
        pair = load.address.pair is not None
        mask = self._values.mask(load.mask, load.address.dims, pair)
        kind = load.names[0].kind
        fill = fill_text(load.fill if load.fill is not None else 0, kind)
        if load.vectors is not None:
            fill = "None" if load.fill is None else fill
            cache = f", {_cache(load.cache)}" if load.cache else ""
            row, rest = self._in_row(load.address, load.vectors)
            text = f"device.{_LOADS[load.vectors.of]}({row}, {mask}, {fill}, {rest}{cache})"
        else:
            arguments = [self._address(load.address)]
            arguments += [f"mask={mask}", f"other={fill}"] if load.mask else []
            arguments += [f"eviction_policy={_cache(load.cache)}"] if load.cache else []
            text = _reshaped(f"tl.load({', '.join(arguments)})", load.shape)
        if load.storage is not None:
            text = self._values.widened(text, load.storage, load.bits)
        return text

    def _store(self, store: StoreTile) -> str:
        first, dims = store.values[0], store.address.dims
        text = self._values.fitted(first, dims) if len(store.values) == 1 else self._joined(store)
        if saturates(store.dtype) and not _is_stored_as(first, store.dtype):
            text = f"device.round_to({text}, {dtype_text(store.dtype)})"
        text = _reshaped(text, store.shape)
        pair = store.address.pair is not None
        if store.vectors is not None:
            row, rest = self._in_row(store.address, store.vectors)
            return f"device.store_row({row}, {text}, {self._values.mask(store.mask, dims)}, {rest})"
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

    def _rounded(self, value: Value, dtype: DTypeRef, tensor_map: str) -> str:
        """A value in the storage type `dtype`, which is that of `tensor_map`."""
        if _is_stored_as(value, dtype):
            return self._values.text(value, ATOM)
        if saturates(dtype):
            return f"device.round_to({self._values.text(value)}, {tensor_map}.dtype)"
        return f"{self._values.text(value, ATOM)}.to({tensor_map}.dtype)"

    def _address(self, address: Address) -> str:
        dims, pair = address.dims, address.pair is not None
        parts = [expanded(address.pointer.text, address.pointer.dims, dims, pair)]
        parts += [self._along(along, dims, pair) for along in address.along]
        if address.pair is not None:
            # In front of lanes alone, Triton adds as many dimensions as it takes.
            lanes = f"[{', '.join(['None'] * len(dims) + [':'])}]" if dims and dims != ANY else ""
            step = size_text(address.pair)
            far = ".to(INDEX)" if " " in step else ""
            parts.append(f"tl.arange(0, 2){far}{lanes}{f' * {step}' if step != '1' else ''}")
        return " + ".join(parts)

    def _in_row(self, address: Address, vectors: Vectors) -> tuple[str, str]:
        """For an access that may move whole vectors: the row and the offsets in it, and which step of it that is."""
        *outside, inner = address.along
        row = self._address(replace(address, along=tuple(outside), dims=address.pointer.dims))
        step = f"start, ahead, {count_text(vectors.size, Whole.INDEX)}, {TAIL}, {VECTOR}"
        return f"{row}, {self._along(inner, address.dims, pair=False)}", step

    def _along(self, along: Along, dims: Dims, pair: bool) -> str:
        # Only the offsets within a tensor may be beyond 32 bits; workspaces, which have no strides, are not as large.
        exact = along.stride != 1
        terms = [self._term(value, factor, dims, pair, exact) for value, factor in along.terms]
        offset = along.offset
        if offset != 0:
            terms.append(count_text(offset, Whole.INDEX) if exact else size_text(offset))
        text = " + ".join(terms)
        if not exact:
            return text
        if not along.terms and offset != 1 and text == size_text(offset):
            text = f"tl.cast({text}, {WHOLES[Whole.INDEX]})"
        stride = f"({aligned_text(along.stride)})" if along.aligned else size_text(along.stride)
        return f"{f'({text})' if len(terms) > 1 or ' + ' in text else text} * {stride}"

    def _term(self, value: Value, factor: sympy.Expr, dims: Dims, pair: bool, exact: bool) -> str:
        text = self._values.text(value, ATOM)
        text = expanded(text, value.dims, dims, pair)
        step = count_text(factor, Whole.INDEX) if exact else size_text(factor)
        return text if factor == 1 else f"{text} * {bracketed(step)}"


def function_parameters(function: Function, lines: list[str]) -> tuple[str, ...]:
    """What a function takes: its inputs, then pointers, numbers, strides, and what is known when it is compiled."""
    rest = [name for name in free(lines) if name not in function.inputs]
    fixed = compile_time(function)
    ordered = sorted(rest, key=lambda name: (name in fixed, "_stride_" in name, not name.endswith("_ptr")))
    return (*function.inputs, *ordered)


def compile_time(function: Function) -> set[str]:
    """The parameters of a function that are known when it is compiled."""
    return {WHOLES[Whole.INDEX], EITHER, VEC, *(test.flag for test in every(function.body) if isinstance(test, Chosen))}


def tiles_text(cut: Cut) -> str:
    """How many tiles an axis is cut into."""
    return f"tl.cdiv({long_text(cut.extent)}, {cut.size})"


def blocks_text(cut: Cut) -> str:
    """The same for the blocks of a row, of which there may be at least one: then the number has a name."""
    return "blocks" if cut.at_least_one else tiles_text(cut)


def _cache(word: str) -> str:
    """What the cache is told of a load: a word, or the compile-time argument that has it."""
    return word if word == EVICT else f'"{word}"'


def _test(test: Test) -> str:
    match test:
        case Given(tensor, omitted):
            return f"{tensor}_ptr is{'' if omitted else ' not'} None"
        case Chosen(flag, option):
            return f'{flag} == "{option}"'
        case IfHeld():
            return HELD
        case Early(late):
            return f"not {PREFETCH}" if late else PREFETCH
        case FirstPrograms(blocks):
            return f"pid < {blocks_text(blocks)}" if blocks else "pid == 0"
        case _:
            assert_never(test)


def _corner(corner: tuple[Corner, ...]) -> str:
    return f"[{', '.join(map(_first, corner))}]"


def _first(corner: Corner) -> str:
    if corner.index is None:
        return "0"
    text = f"{corner.index.text}.to(tl.int32)" if corner.wide else corner.index.text
    return f"{text} * {corner.times}" if corner.times else text


def _reshaped(text: str, shape: tuple[str, ...]) -> str:
    return f"{text}.reshape({', '.join(shape)})" if shape else text


def _is_stored_as(value: Value, dtype: DTypeRef) -> bool:
    """Whether a value needs no rounding to be stored: it is in a storage type, or a truth value stored as one."""
    if isinstance(dtype, DType) and dtype.kind is Kind.BOOL:
        return value.kind is Kind.BOOL
    return isinstance(value, Name) and value.storage is not None
