"""What to write in the place of an operand of the wrong kind."""

from __future__ import annotations

from fusec.ir.types import Kind

NUMBER = "`where(condition, 1, 0)` makes a number of a truth value"
TRUTH = "compare it, as in `x != 0`"

_OF_CONDITIONS = {
    "mul": "`where(condition, x, 0)` is `x` where a condition holds",
    "bitand": "conditions are joined with `and`",
    "bitor": "conditions are joined with `or`",
    "bitxor": "of two conditions one alone is `a and not b or b and not a`",
    "bitnot": "a condition is turned around with `not`",
}
_OF_REALS = {
    "bitxor": "a power is written `a ** b`",
    "lshift": "a real number is multiplied by `2 ** n`",
    "rshift": "a real number is multiplied by `2 ** -n`",
}


def on_kind(op: str, given: Kind, wanted: tuple[Kind, ...]) -> str:
    """What to write when an operand of `op` is `given`, and has to be one of `wanted`."""
    if given is Kind.BOOL:
        return _OF_CONDITIONS.get(op, NUMBER)
    if wanted == (Kind.BOOL,):
        return TRUTH
    if given is Kind.REAL:
        return _OF_REALS.get(op, "`cast(x, i32)` rounds to an integer")
    return "`1.0 * x` is a real number"
