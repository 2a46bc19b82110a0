"""Which argument of a call goes to which parameter."""

from __future__ import annotations

from collections.abc import Sequence

from fusec.diagnostics import Note, Span
from fusec.lang import syntax
from fusec.passes.graph.elaborate.report import did_you_mean, listing


class ArgumentFault(Exception):
    """Arguments that do not fit the parameters."""

    def __init__(self, message: str, span: Span, help: str | None = None, notes: tuple[Note, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.help = help
        self.notes = notes


def bind(
    call: syntax.Call, places: Sequence[str], required: frozenset[str], gathering: str | None = None
) -> dict[str, tuple[syntax.Expr, ...]]:
    """For every place the expressions given to it: one, or any number for the `gathering` one, or none.

    Raises `ArgumentFault`.
    """
    found: dict[str, tuple[syntax.Expr, ...]] = dict.fromkeys(places, ())
    keyword_seen = False
    for argument in call.args:
        if argument.keyword is None:
            if keyword_seen:
                raise ArgumentFault("an argument without a name follows one with a name", argument.span)
            place = next((p for p in places if p == gathering or not found[p]), None)
            if place is None:
                raise _too_many(call, places, argument)
        else:
            keyword_seen = True
            place = argument.keyword.text
            if place not in found or place == gathering:
                help = did_you_mean(place, places) or f"its parameters are {listing(places)}"
                raise ArgumentFault(f"`{call.callee.text}` has no parameter `{place}`", argument.keyword.span, help)
            if found[place]:
                first = Note(f"`{place}` is first given here", found[place][0].span)
                raise ArgumentFault(f"`{place}` is given twice", argument.span, notes=(first,))
        found[place] = (*found[place], argument.value)
    missing = [place for place in places if place in required and not found[place]]
    if missing:
        help = f"its parameters are {listing(places)}"
        raise ArgumentFault(f"`{call.callee.text}` is not given {listing(missing)}", call.span, help)
    return found


def _too_many(call: syntax.Call, places: Sequence[str], argument: syntax.Argument) -> ArgumentFault:
    count = len(places)
    help = f"its parameters are {listing(places)}" if places else None
    return ArgumentFault(
        f"`{call.callee.text}` takes {count} argument{'' if count == 1 else 's'}, this is one more", argument.span, help
    )
