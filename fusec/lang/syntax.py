"""The syntax tree: frozen nodes that know where they stand.

Names are not resolved here and nothing is checked beyond the grammar; a dimension such as `H*D` is an ordinary
expression. `Binary.op` and `Unary.op` are keys of `ir.ops.ELEMENTWISE`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from fusec.diagnostics import Diagnostic, Source, Span


@dataclass(frozen=True, slots=True)
class Name:
    """An identifier."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Number:
    """A literal; an `int` when it is written without point and exponent."""

    value: int | float
    span: Span


@dataclass(frozen=True, slots=True)
class Dots:
    """`...`, the leading axes."""

    span: Span


@dataclass(frozen=True, slots=True)
class Unary:
    """`-a`, `~a` or `not a`."""

    op: str
    operand: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic, a comparison, `and` or `or`."""

    op: str
    left: Expr
    right: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call, with its keyword if it has one."""

    value: Expr
    keyword: Name | None
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """`f(a, over=D)`."""

    callee: Name
    args: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Lookup:
    """`t[i, j]`: a gather where it is read, a scatter where it is assigned. The grammar admits any target."""

    target: Expr
    indices: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Several:
    """`a, b`, with or without brackets."""

    items: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Arrow:
    """`S -> T`, the argument of `rename`."""

    old: Expr
    new: Expr
    span: Span


Expr: TypeAlias = Name | Number | Dots | Unary | Binary | Call | Lookup | Several | Arrow


@dataclass(frozen=True, slots=True)
class Assign:
    """`a, b = value` or `t[i] = value`; the grammar admits any expression as a target."""

    targets: tuple[Expr, ...]
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Add:
    """`t[i] += value`; the grammar admits any expression as a target."""

    target: Expr
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Return:
    """`return value`, the last statement of a function."""

    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Bare:
    """An expression whose result goes nowhere."""

    value: Expr
    span: Span


Statement: TypeAlias = Assign | Add | Return | Bare


@dataclass(frozen=True, slots=True)
class TensorType:
    """`T[B, S, H*D]`; `T[]` has no dimensions."""

    element: Name
    dims: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ScalarType:
    """`f32`."""

    element: Name
    span: Span


@dataclass(frozen=True, slots=True)
class DimType:
    """`dim(H)`; the grammar admits any word in place of `dim`."""

    word: Name
    axis: Name
    span: Span


@dataclass(frozen=True, slots=True)
class ChoiceType:
    """`{silu, gelu}`."""

    options: tuple[Name, ...]
    span: Span


ParamType: TypeAlias = TensorType | ScalarType | DimType | ChoiceType


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of an op; `kind` is the word before its name (`weight`, `mut`, `distinct`), if any."""

    kind: Name | None
    name: Name
    type: ParamType
    default: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Result:
    """A declared output."""

    name: Name
    type: ParamType
    span: Span


@dataclass(frozen=True, slots=True)
class Membership:
    """`T in {f16, bf16}`."""

    variable: Name
    options: tuple[Name, ...]
    span: Span


Condition: TypeAlias = Membership | Expr


@dataclass(frozen=True, slots=True)
class Op:
    """An op: what becomes a Python function."""

    name: Name
    params: tuple[Param, ...]
    results: tuple[Result, ...]
    conditions: tuple[Condition, ...]
    doc: str
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Fn:
    """A function: a composite that is inlined where it is called."""

    name: Name
    params: tuple[Name, ...]
    doc: str
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Use:
    """`use NAME`: the functions of another file of the same folder."""

    name: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Setting:
    """An argument of a module's constructor: `hidden_dim: H*D`, or `eps` for the op's parameter of that name."""

    name: Name
    dim: Expr | None
    default: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Module:
    """`module NAME(settings) of OP`: a class that owns the weights of an op."""

    name: Name
    settings: tuple[Setting, ...]
    op: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Overload:
    """`overload NAME of OP`: arguments that do not fit OP go to the op NAME, which takes others of the same names."""

    name: Name
    op: Name
    span: Span


Definition: TypeAlias = Op | Fn | Module | Overload | Use


@dataclass(frozen=True, slots=True)
class File:
    """One file, as far as it could be read.

    `faults` say what could not be read; `broken` are the names that those definitions would have had.
    """

    source: Source
    uses: tuple[Use, ...]
    ops: tuple[Op, ...]
    fns: tuple[Fn, ...]
    modules: tuple[Module, ...] = ()
    overloads: tuple[Overload, ...] = ()
    broken: frozenset[str] = frozenset()
    faults: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A file with everything its code can call.

    `visible` maps a source to the functions its code sees, own ones first, then used ones, then the standard
    library; `standard` is the source of the latter. `broken` are names that may not be called unknown, since the
    place that would define them could not be read; `faults` are the mistakes found so far.
    """

    file: File
    visible: Mapping[Source, Mapping[str, Fn]]
    standard: Source
    broken: frozenset[str] = frozenset()
    incomplete: bool = False
    faults: tuple[Diagnostic, ...] = ()


def children(expr: Expr) -> tuple[Expr, ...]:
    """The expressions directly inside an expression."""
    match expr:
        case Name() | Number() | Dots():
            return ()
        case Unary(operand=operand):
            return (operand,)
        case Binary(left=left, right=right):
            return (left, right)
        case Call(args=args):
            return tuple(argument.value for argument in args)
        case Lookup(target=target, indices=indices):
            return (target, *indices)
        case Several(items=items):
            return items
        case Arrow(old=old, new=new):
            return (old, new)
        case _:
            assert_never(expr)


def walk(expr: Expr) -> Iterator[Expr]:
    """An expression and all expressions inside it, from the left."""
    yield expr
    for child in children(expr):
        yield from walk(child)
