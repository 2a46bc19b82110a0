"""A kernel as text: its statements before Triton's words for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

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
    ElementOf,
    Enter,
    Fetch,
    Filled,
    Fold,
    Halves,
    InRange,
    IsZero,
    Kernel,
    Largest,
    Let,
    LoadTile,
    Loop,
    Masked,
    MaskName,
    Meet,
    Name,
    Number,
    Point,
    Product,
    Put,
    Rounded,
    SizeExpr,
    Statement,
    StoreTile,
    Turned,
    Unstack,
    Value,
    Widened,
)
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.sizes import size_text


def show_kernel(kernel: Kernel) -> str:
    """The whole kernel. A value that is given a name has its dimensions behind it: `total[row] = sum of x over N`."""
    kinds = {
        "boxes": kernel.boxes,
        "pointers": kernel.pointers,
        "scalars": kernel.scalars,
        "integers": (*kernel.integers, *kernel.varying),
        "compile time": (*kernel.structure, *kernel.blocks, *kernel.flags),
    }
    lines = [f"kernel {kernel.name}", *(f"  {kind} {', '.join(names)}" for kind, names in kinds.items() if names)]
    return "\n".join([*lines, *(f"  {line}" for line in _body(kernel.body))])


def _body(statements: tuple[Statement, ...]) -> Iterator[str]:
    for statement in statements:
        yield from _statement(statement)


def _statement(statement: Statement) -> Iterator[str]:
    match statement:
        case Assign(name, value):
            yield f"{_named(name)} = {_value(value)}"
        case Point(name, address):
            yield f"point {_named(name)} at {_address(address)}"
        case LoadTile(names, address, mask, fill, _, cache):
            words = [f"load {', '.join(map(_named, names))} from {_address(address)}", *_masked(mask)]
            words += [f"else {fill}"] if fill is not None else []
            yield " ".join([*words, *([f"({cache})"] if cache else [])])
        case StoreTile(values, address, mask, dtype):
            texts = ", ".join(map(_value, values))
            yield " ".join([f"store {texts} as {_dtype(dtype)} to {_address(address)}", *_masked(mask)])
        case Fetch(name, box, corner):
            yield f"fetch {_named(name)} from {box}[{', '.join(corner)}]"
        case Put(value, box, corner, _, dtype):
            yield f"put {_value(value)} as {_dtype(dtype)} into {box}[{', '.join(corner)}]"
        case Unstack(names, stacked, _, _, flip):
            yield f"{', '.join(map(_named, names))} = parts of {stacked.text}{f', turned by {flip}' if flip else ''}"
        case Halves(var, name, tiles, body):
            yield f"for {var}, {_named(name)} of {', '.join(tile.text for tile in tiles)}"
            yield from (f"  {line}" for line in _body(body))
        case Define(name, text):
            yield f"{_named(name)} = {text}"
        case Let(name, mask):
            yield f"mask {name.text}{_dims(name.dims)} = {' and '.join(map(_condition, mask))}"
        case Loop(var, start, stop, step, _, body, flat):
            yield f"for {var} from {start} to {stop} by {step}{', flat' if flat else ''}"
            yield from (f"  {line}" for line in _body(body))
        case Branch(cases):
            for condition, body in cases:
                yield f"when {condition}" if condition else "otherwise"
                yield from (f"  {line}" for line in _body(body))
        case Enter():
            yield "enter in turn"
        case Meet():
            yield "meet"
        case Comment(text):
            yield f"# {text}"
        case _:
            assert_never(statement)


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
        case Product(a, b, total, precision=precision):
            text = f"{_operand(total)} + {_operand(a)} @ {_operand(b)}"
            return f"{text} in {precision}" if precision != "ieee" else text
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
        case InRange(index, size, looked_up, even):
            inside = f"{'0 <= ' if looked_up else ''}{_value(index)} < {size_text(size)}"
            return f"({inside} or {even})" if even else inside
        case IsZero(index):
            return f"{index.text} == 0"
        case MaskName(text):
            return text
        case _:
            assert_never(condition)


def _named(name: Name) -> str:
    return f"{name.text}{_dims(name.dims)}{f' {name.storage}' if name.storage else ''}"


def _dims(dims: Dims) -> str:
    return f"[{', '.join(dims)}]" if dims else ""


def _dtype(dtype: object) -> str:
    return f"element of {dtype.tensor}" if isinstance(dtype, ElementOf) else str(dtype)
