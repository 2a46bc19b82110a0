"""Literals folded as far as it takes to tell that what is made of them is no number: the graph keeps the operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, isinf, isnan

from fusec.ir.arithmetic import Number
from fusec.ir.expressions import Const, Elementwise, Expr, NodeId
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.ranges import LEAST_I64, MOST_I64
from fusec.ir.traits import ElementwiseOp, Result
from fusec.ir.type_rules import TypeFault


def constant(expr: Expr, known: Mapping[NodeId, Number]) -> Number | None:
    """The number that `expr` is, where it follows from literals alone; `known` are those of its operands.

    Raises `TypeFault` for a division by zero and a shift by other than 0 to 63 places, whatever is divided or shifted,
    for an integer beyond 64 bits and a real number beyond a double.
    """
    match expr:
        case Const(value):
            return None if isinstance(value, bool) else value
        case Elementwise(op, args):
            own = ELEMENTWISE[op]
            if own.divides_integers and known.get(args[1]) == 0:
                raise TypeFault(f"`{own.symbol}` divides by zero", 1)
            if own.shifts and not 0 <= (places := known.get(args[1], 0)) < 64:
                raise TypeFault(f"`{own.symbol}` shifts by 0 to 63 places, not by {places}", 1)
            values = [known[arg] for arg in args if arg in known]
            return _folded(own, values) if len(values) == len(args) else None
        case _:
            return None


def _folded(op: ElementwiseOp, values: Sequence[Number]) -> Number | None:
    """The result for literals, unless a function of analysis makes it, or it is no number."""
    if op.at is None or op.selects or (op.symbol is None and op.result is Result.REAL):
        return None
    found = op.at(*values)
    if isinstance(found, int) and not LEAST_I64 <= found <= MOST_I64:
        help = "`a * 2.0 ** n` is a real number" if op.shifts else "write one of its numbers with a point"
        raise TypeFault("this integer does not fit into 64 bits", help=help)
    if isinf(found) and all(map(isfinite, values)):
        if 0 in values:
            return None
        if op.repeats is not None:
            # With a power a number is written, which is meant to be one.
            raise TypeFault("this number is too large for a double", help="infinity is called `inf`")
    return None if isnan(found) else found
