"""Multiply: the type in which a dot multiplies its operands, the same in every plan and for any number of rows.

A computed operand is a number of f32, and multiplied as one. Both operands are multiplied in a storage type where each
is sure to be a number of that type, or where the dot permits to round to it (`precision=T`). Operands of 8 bits are
multiplied as they are: each in its own type of f8, or both as integers of i8. Integers are numbers of every type that
has room for the range they are proved to lie in: what is unpacked of four bits, less a zero point, is of bf16 and i8.
"""

from __future__ import annotations

from enum import Enum
from math import frexp, isinf

from fusec.ir.digits import of_a_byte
from fusec.ir.expressions import Choose, Const, Dot, Elementwise, Merge, Neighbours, NodeId, Part, Reduce, Rename
from fusec.ir.formats import limits
from fusec.ir.graph import Nodes
from fusec.ir.ops import ELEMENTWISE, REDUCTIONS
from fusec.ir.ranges import Range
from fusec.ir.types import DTYPES, Computed, DType, Element, Kind, Storage
from fusec.ir.value_ranges import ValueRanges

F16, F32 = DTYPES["f16"], DTYPES["f32"]
F64 = DTYPES["f64"]

I8, I32 = DTYPES["i8"], DTYPES["i32"]

MULTIPLIED = frozenset(DTYPES[name] for name in ("f16", "bf16", "f32"))
"""The types of operands that tensor cores multiply with sums in f32, both operands in one of them."""

SCALED_GROUP = 128
"""Numbers along what is contracted that share a scale in products of the library; of one operand, as many rows, too."""

MOST_I8 = (2**31 - 1) // 2**14
"""Products of numbers of i8 whose sum is sure to fit 32 bits, as which a tensor core adds them."""


class Sums(Enum):
    """How a tensor core adds the products of a dot.

    That of Hopper keeps 14 bits of a sum of products of f8. Such sums are of a few products each, and added in f32
    (`PARTS`), unless the dot permits them (`FAST`).
    """

    SINGLE = "f32"
    PARTS = "parts in f32"
    FAST = "fast"
    WHOLE = "i32"


_EXPONENTS = range(-13, 17)
"""Those of the normal numbers of f16, as `frexp` counts them. Other types have all of these."""


def multiplied_as(nodes: Nodes, dot: Dot) -> tuple[Storage, Storage] | None:
    """The storage types in which the operands of a dot are multiplied: one of `MULTIPLIED`, or both of 8 bits.

    Of two operands of f8 each in its own, of two integers i8, if that holds both. Else the first type that holds both,
    whatever a caller chooses: that of one of them if it is of 16 bits, the one that the dot rounds to, that of one of
    them, bf16 (which holds 8 bits) and f32. None for other integers and f64.
    """
    both = (dot.a, dot.b)
    elements = [nodes[number].type.element for number in both]
    stored = [element for element in elements if not isinstance(element, Computed)]
    if len(stored) == len(both) and all(map(_is_f8, stored)):
        return stored[0], stored[1]
    if all(nodes[number].type.kind is Kind.INT for number in both):
        return (I8, I8) if all(is_number_of(nodes, number, I8) for number in both) else None
    short = [element for element in stored if all(option.bits == 16 for option in element.options)]
    for storage in (*short, dot.rounded, *stored, DTYPES["bf16"], F32):
        if storage is None or not MULTIPLIED.issuperset(storage.options):
            continue
        if storage is dot.rounded or all(is_number_of(nodes, number, storage) for number in both):
            return storage, storage
    return None


def sums_of(nodes: Nodes, dot: Dot) -> Sums:
    """How a tensor core adds the products of a dot."""
    types = multiplied_as(nodes, dot)
    if types is None or not is_of_8_bits(types[0]):
        return Sums.SINGLE
    if types[0] == I8:
        return Sums.WHOLE
    return Sums.PARTS if dot.accum == "exact" else Sums.FAST


def is_of_8_bits(storage: Storage) -> bool:
    """Whether a type is one that is multiplied in 8 bits."""
    return storage == I8 or _is_f8(storage)


def _is_f8(storage: Storage) -> bool:
    return all(option.kind is Kind.REAL and option.bits == 8 for option in storage.options)


def is_number_of(nodes: Nodes, number: NodeId, storage: Storage) -> bool:
    """Whether a value is sure to be a number of a storage type: rounding to it would change nothing."""
    seen: set[NodeId] = set()
    stack = [number]
    while stack:
        number = stack.pop()
        if number in seen:
            continue
        seen.add(number)
        type, expr = nodes[number].type, nodes[number].expr
        if _holds(storage, type.element):
            continue
        if type.kind is Kind.INT:
            if not _has_room(storage, ValueRanges(nodes)(number)):
                return False
            continue
        match expr:
            case Const(value) if _have(storage, (value,)):
                pass
            case _ if type.element != Computed(Kind.REAL):
                return False
            case Elementwise() if (decoded := of_a_byte(nodes, number)) is not None and _have(storage, decoded[1]):
                pass
            case Elementwise(op, args) if ELEMENTWISE[op].exact:
                stack += args[ELEMENTWISE[op].numbers]
            case Merge(args=args) | Neighbours(args=args):
                stack += args
            case Part(arg=arg) | Rename(arg=arg):
                stack.append(arg)
            case Reduce(op=op, arg=arg) if REDUCTIONS[op].picks:
                stack.append(arg)
            case Choose(cases=cases):
                stack += (case for _, case in cases)
            case _:
                return False
    return True


def _holds(storage: Storage, element: Element) -> bool:
    """Whether every number of an element is one of `storage`, whatever types a caller chooses."""
    if element == storage:
        return True
    own = (F32,) if element == Computed(Kind.REAL) else () if isinstance(element, Computed) else element.options
    return bool(own) and all(_includes(wide, dtype) for wide in storage.options for dtype in own)


def _has_room(storage: Storage, integers: Range) -> bool:
    """Whether every integer of a range is a number of a storage type, whatever type a caller chooses."""
    return all(integers.within(*_whole_numbers(option)) for option in storage.options)


def _whole_numbers(dtype: DType) -> tuple[int, int]:
    """The integers that all are numbers of a type."""
    if dtype.kind is Kind.INT:
        return limits(dtype)
    most = 2 ** (dtype.mantissa + 1) if dtype.kind is Kind.REAL else 0
    return -most, most


def _includes(wide: DType, dtype: DType) -> bool:
    exponents = [one.bits - one.mantissa for one in (wide, dtype)]
    return wide.kind is dtype.kind is Kind.REAL and wide.mantissa >= dtype.mantissa and exponents[0] >= exponents[1]


def _have(storage: Storage, values: tuple[float, ...]) -> bool:
    """Whether some values are numbers of a storage type, whatever type a caller chooses."""
    return all(_has(option, value) for option in storage.options for value in values)


def _has(dtype: DType, value: float) -> bool:
    """Whether a literal is a number of `dtype`; a number that is small or large for 16 bits is taken for none."""
    if value == 0 or isinf(value):
        return True
    fraction, exponent = frexp(value)
    return exponent in _EXPONENTS and (fraction * 2.0 ** (dtype.mantissa + 1)).is_integer()
