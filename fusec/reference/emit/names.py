"""Names of local variables: unique, no Python word, and telling where the spec gives none."""

from __future__ import annotations

import keyword

from fusec.ir.expressions import Cast, Elementwise, Expr, Gather, Reduce
from fusec.ir.ops import ELEMENTWISE, REDUCTIONS

_TAKEN = {"torch", "int", "float", "bool", "str", "abs", "min", "max", "round", "None", "ValueError"}


class Names:
    """Hands out variable names, each once."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = _TAKEN | taken

    def new(self, wanted: str) -> str:
        """`wanted`, with a number behind it when it is taken already."""
        candidate, count = wanted, 1
        while candidate in self._taken or keyword.iskeyword(candidate) or keyword.issoftkeyword(candidate):
            count += 1
            candidate = f"{wanted}{count}"
        self._taken.add(candidate)
        return candidate


def noun(expr: Expr) -> str:
    """What to call the result of an expression that has no name."""
    match expr:
        case Elementwise(op=op):
            return ELEMENTWISE[op].noun or op
        case Reduce(op=op):
            return REDUCTIONS[op].noun
        case Cast():
            return "rounded"
        case Gather(param):
            return f"{param}_rows"
        case _:
            return type(expr).__name__.lower()
