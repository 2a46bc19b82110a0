"""Literals folded as far as it takes to tell that what is made of them is no number: the graph keeps the operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from fusec.ir.expressions import Const, Elementwise, Expr, NodeId
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.type_rules import TypeFault

Number: TypeAlias = int | float

_LEAST, _MOST = -(2**63), 2**63 - 1


def constant(expr: Expr, known: Mapping[NodeId, Number]) -> Number | None:
    """The number that `expr` is, where it follows from literals alone; `known` are those of its operands.

    Raises `TypeFault` for a division by zero and a shift by other than 0 to 63 places, whatever is divided or shifted,
    for an integer beyond 64 bits and a real number beyond a double.
    """
    match expr:
        case Const(value):
            return None if isinstance(value, bool) else value
        case Elementwise(op, args):
            if op in ("floordiv", "mod") and known.get(args[1]) == 0:
                raise TypeFault(f"`{ELEMENTWISE[op].symbol}` divides by zero", 1)
            if op in ("lshift", "rshift") and not 0 <= (places := known.get(args[1], 0)) < 64:
                raise TypeFault(f"`{ELEMENTWISE[op].symbol}` shifts by 0 to 63 places, not by {places}", 1)
            values = [known[arg] for arg in args if arg in known]
            return _folded(op, values) if len(values) == len(args) else None
        case _:
            return None


def _folded(op: str, values: Sequence[Number]) -> Number | None:
    try:
        found = _computed(op, values)
    except OverflowError:
        raise TypeFault("this number is too large for a double", help="infinity is called `inf`") from None
    except (ZeroDivisionError, ValueError):
        return None
    if isinstance(found, int) and not _LEAST <= found <= _MOST:
        help = "`a * 2.0 ** n` is a real number" if op == "lshift" else "write one of its numbers with a point"
        raise TypeFault("this integer does not fit into 64 bits", help=help)
    return found


def _computed(op: str, values: Sequence[Number]) -> Number | None:
    whole = all(isinstance(value, int) for value in values)
    match op, values:
        case "neg", [a]:
            return -a
        case "abs", [a]:
            return abs(a)
        case "add", [a, b]:
            return a + b
        case "sub", [a, b]:
            return a - b
        case "mul", [a, b]:
            return a * b
        case "div", [a, b]:
            return a / b
        case "pow", [a, b]:
            power = float(a) ** float(b)
            return power if isinstance(power, float) else None
        case "floordiv", [a, b]:
            return a // b
        case "mod", [a, b]:
            return a % b
        case "lshift", [int(a), int(b)]:
            return a << b
        case "rshift", [int(a), int(b)]:
            return a >> b
        case "bitand", [int(a), int(b)]:
            return a & b
        case "bitor", [int(a), int(b)]:
            return a | b
        case "bitxor", [int(a), int(b)]:
            return a ^ b
        case "bitnot", [int(a)]:
            return ~a
        case "minimum", [a, b] if whole:
            return min(a, b)
        case "maximum", [a, b] if whole:
            return max(a, b)
        case _:
            return None
