"""Statements of a kernel as text, before Triton's words for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from fusec.ir.kernel import Multiply
from fusec.ir.multiply import Sums
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.sizes import size_text
from fusec.ir.statements import (
    Assign,
    Branch,
    Call,
    Chosen,
    Corner,
    Early,
    Fetch,
    FirstPrograms,
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
)
from fusec.ir.tile_values import (
    Address,
    Along,
    Apply,
    AsWhole,
    Condition,
    Dims,
    ElementOf,
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
    SizeExpr,
    Turned,
    Value,
    Widened,
)


def show_statements(statements: tuple[Statement, ...]) -> Iterator[str]:
    """The lines of a body. A value that is given a name has its dimensions behind it: `total[row] = sum(x over N)`."""
    for statement in statements:
        yield from _statement(statement)


def _statement(statement: Statement) -> Iterator[str]:
    match statement:
        case Assign(name, value):
            yield f"{show_name(name)} = {_value(value)}"
        case Point(name, address):
            yield f"point {show_name(name)} at {_address(address)}"
        case LoadTile(names, address, mask, fill, _, cache, _, splits):
            word = "load" if splits is None else f"add up SPLITS parts, {splits} apart,"
            words = [f"{word} {', '.join(map(show_name, names))} from {_address(address)}", *_masked(mask)]
            words += [f"else {fill}"] if fill is not None else []
            words += [f"({cache})"] if cache else []
            yield " ".join([*words, *_in_vectors(statement)])
        case StoreTile(values, address, mask, dtype):
            texts = ", ".join(map(_value, values))
            words = [f"store {texts} as {_dtype(dtype)} to {_address(address)}", *_masked(mask)]
            yield " ".join([*words, *_in_vectors(statement)])
        case Fetch(name, tiles, corner):
            yield f"fetch {show_name(name)} from {tiles}[{_corner(corner)}]"
        case Put(value, tiles, corner, _, dtype):
            yield f"put {_value(value)} as {_dtype(dtype)} into {tiles}[{_corner(corner)}]"
        case NoTiles(name):
            yield f"{name.text} holds nothing"
        case Keep(tiles, tile):
            yield f"hold {tile.text} in {tiles.text}"
        case Kept(name, tiles):
            yield f"{show_name(name)} = held in {tiles.text}"
        case Lanes(name, size):
            yield f"{show_name(name)} counts {size} lanes"
        case Let(name, mask):
            yield f"mask {show_mask(statement)}"
        case Call(names, function, arguments):
            given = ", ".join(map(_argument, arguments))
            yield f"{', '.join(map(show_name, names))} = function({', '.join(function.inputs)}) of {given}"
            yield from (f"  {line}" for line in show_statements(function.body))
            yield f"  result {', '.join(map(_value, function.results))}"
        case Branch(cases):
            for test, body in cases:
                yield f"when {_test(test)}" if test else "otherwise"
                yield from (f"  {line}" for line in show_statements(body))
        case _:
            assert_never(statement)


def _argument(argument: Value | tuple[Condition, ...]) -> str:
    if isinstance(argument, tuple):
        return " and ".join(map(_condition, argument)) or "everywhere"
    return _value(argument)


def _in_vectors(access: LoadTile | StoreTile) -> list[str]:
    kinds = {"row": "of a row", "written": "of a row written in place", "shared": "of what rows share"}
    return [f"by vectors {kinds[access.vectors.of]}"] if access.vectors else []


def _test(test: Test) -> str:
    match test:
        case Given(tensor, omitted):
            return f"{tensor} is {'omitted' if omitted else 'given'}"
        case Chosen(flag, option):
            return f"{flag} is {option}"
        case IfHeld():
            return "tiles are held"
        case Early(late):
            return "many programs" if late else "few programs"
        case FirstPrograms(blocks):
            return "in the first row of blocks" if blocks else "the first program"
        case _:
            assert_never(test)


def _corner(corner: tuple[Corner, ...]) -> str:
    texts = (_times(place.index.text, place.times or "1") if place.index else "0" for place in corner)
    return ", ".join(texts)


def show_mask(mask: Let) -> str:
    """A mask and what it is."""
    return f"{mask.name.text}{_dims(mask.name.dims)} = {' and '.join(map(_condition, mask.mask))}"


def show_product(dot: Multiply) -> Iterator[str]:
    """A dot of tiles that is added to an accumulator."""
    made = Product(dot.a, dot.b, dot.total, dot.total.dims, dot.precision, dot.sums)
    yield f"{show_name(dot.total)} = {_value(made)}"


def _value(value: Value) -> str:
    match value:
        case Name(text):
            return text
        case Number(number):
            return repr(number)
        case SizeExpr(size):
            return f"size({size_text(size)})"
        case Largest(dtype):
            return f"max_of({_dtype(dtype)})"
        case Apply(op, args):
            return _apply(op, args)
        case Rounded(arg, dtype):
            return f"cast({_value(arg)}, {_dtype(dtype)})"
        case Widened(arg):
            return _value(arg)
        case AsWhole(arg, type):
            return f"{type.name.lower()}({_value(arg)})"
        case Fold(op, arg, over):
            return f"{op}({_value(arg)} over {', '.join(over)})"
        case Product(a, b, total, precision=precision, sums=sums):
            before = f"{_operand(total)} + " if total is not None else ""
            text = f"{before}{_operand(a)} @ {_operand(b)}"
            words = [*([f"in {precision}"] if precision != "ieee" else [])]
            words += [f"sums {sums.value}"] if sums is not Sums.SINGLE else []
            return " ".join((text, *words))
        case Turned(arg):
            return f"turned({_value(arg)})"
        case Masked(arg, mask, fill):
            return f"({_operand(arg)} {' '.join(_masked(mask))} else {fill})"
        case Filled(dims, shape, fill):
            sizes = ", ".join(f"{dim}: {size}" for dim, size in zip(dims, shape, strict=True))
            return f"fill({fill}, [{sizes}])"
        case _:
            assert_never(value)


def _apply(op: str, args: tuple[Value, ...]) -> str:
    symbol = _symbol(op)
    return f" {symbol} ".join(map(_operand, args)) if symbol else f"{op}({', '.join(map(_value, args))})"


def _operand(value: Value) -> str:
    text = _value(value)
    return f"({text})" if isinstance(value, Apply) and _symbol(value.op) else text


def _symbol(op: str) -> str | None:
    return ELEMENTWISE[op].symbol if op in ELEMENTWISE else None


def _address(address: Address) -> str:
    """`x_row[n * x_stride_N]`; neighbours have their distance behind it."""
    steps = f"[{' + '.join(map(_along, address.along))}]" if address.along else ""
    pair = f" and {size_text(address.pair)} further" if address.pair is not None else ""
    return f"{address.pointer.text}{steps}{pair}"


def _along(along: Along) -> str:
    terms = [_times(_value(value), size_text(factor)) for value, factor in along.terms]
    terms += [size_text(along.offset)] if along.offset != 0 else []
    text = " + ".join(terms)
    return _times(f"({text})" if len(terms) > 1 else text, size_text(along.stride))


def _times(text: str, factor: str) -> str:
    return text if factor == "1" else f"{text} * {f'({factor})' if ' ' in factor else factor}"


def _masked(mask: tuple[Condition, ...]) -> list[str]:
    return [f"where {' and '.join(map(_condition, mask))}"] if mask else []


def _condition(condition: Condition) -> str:
    match condition:
        case InRange(index, size, looked_up, even, tail, anywhere=anywhere):
            inside = f"{'0 <= ' if looked_up or anywhere else ''}{_value(index)} < {size_text(size)}"
            even = "before the tail" if tail else even
            return f"({inside} or {even})" if even else inside
        case IsZero(index):
            return f"{index.text} == 0"
        case MaskName(text):
            return text
        case _:
            assert_never(condition)


def show_name(name: Name) -> str:
    """A variable with its dimensions, and the type it is stored in."""
    return f"{name.text}{_dims(name.dims)}{f' {name.storage}' if name.storage else ''}"


def _dims(dims: Dims) -> str:
    return f"[{', '.join(dims)}]" if dims else ""


def _dtype(dtype: object) -> str:
    return f"element of {dtype.tensor}" if isinstance(dtype, ElementOf) else str(dtype)
