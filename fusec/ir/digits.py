"""Digits: what a value is for each of the 256 bytes that it may be computed of, whatever operations it is made by.

Formats of few bits are arithmetic of a graph on the bytes that hold them (`graph/codes.py`). So a value is known for a
number of such a format by what it is for every byte, and by nothing that it is called.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import lru_cache
from math import nan
from typing import TypeAlias

from fusec.ir.arithmetic import Number
from fusec.ir.expressions import Const, Elementwise, Input, Load, NodeId
from fusec.ir.graph import Nodes
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import DTYPES

BYTE = DTYPES["u8"]
BYTES = range(2**BYTE.bits)

Values: TypeAlias = tuple[Number, ...]
"""One for every byte."""

_SIZES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
NUMBERS_OF_FOUR_BITS = (*_SIZES, *(-size for size in _SIZES))
"""Those of E2M1, by their digits."""

LOW, HIGH = (tuple(NUMBERS_OF_FOUR_BITS[byte >> shift & 15] for byte in BYTES) for shift in (0, 4))
"""What a byte stands for that holds two of them: the first number has the low digits."""

POWERS_OF_TWO = (*(2.0 ** (byte - 127) for byte in BYTES[:-1]), nan)
"""What a byte of E8M0 stands for."""

_MOST = 64
"""Operations that digits are decoded by at most."""

_TESTS: dict[str | None, Callable[..., bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
"""What truth is for single numbers, by the sign of a comparison."""

_Step: TypeAlias = tuple[str, tuple[int, ...]] | Number
"""An operation on earlier steps, or a literal. Step 0 is the byte."""


def of_a_byte(nodes: Nodes, number: NodeId) -> tuple[NodeId, Values] | None:
    """The byte that a value is computed of, an element of a tensor, and the value for every one; None of any other."""
    places: dict[NodeId, int] = {}
    steps: list[_Step] = []
    byte: NodeId | None = None
    stack = [number]
    while stack:
        current = stack[-1]
        expr = nodes[current].expr
        if current in places:
            stack.pop()
            continue
        match expr:
            case Input() | Load() if nodes[current].type.element == BYTE and byte in (None, current):
                byte, places[current] = current, 0
            case Const(value):
                steps.append(value)
                places[current] = len(steps)
            case Elementwise(op, args):
                if missing := [arg for arg in args if arg not in places]:
                    stack += missing
                    continue
                steps.append((op, tuple(places[arg] for arg in args)))
                places[current] = len(steps)
            case _:
                return None
        if len(places) > _MOST:
            return None
    values = None if byte is None else _values(tuple(steps))
    return None if byte is None or values is None else (byte, values)


@lru_cache(maxsize=256)
def _values(steps: tuple[_Step, ...]) -> Values | None:
    """What the last of some steps makes of every byte; None where one of them is not known for single numbers."""
    made: list[Values] = [tuple(BYTES)]
    for step in steps:
        if not isinstance(step, tuple):
            made.append((step,) * len(BYTES))
            continue
        op, places = step
        at = ELEMENTWISE[op].at or _TESTS.get(ELEMENTWISE[op].symbol)
        if at is None:
            return None
        made.append(tuple(at(*each) for each in zip(*(made[place] for place in places), strict=True)))
    return made[-1]
