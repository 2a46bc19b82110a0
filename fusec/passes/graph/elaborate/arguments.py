"""Which argument of a call goes to which parameter."""

from __future__ import annotations

from collections.abc import Sequence

from fusec.diagnostics import Note
from fusec.lang import habits, syntax
from fusec.passes.graph.elaborate.report import Fault, did_you_mean, listing

_OVER = ("axes", "axis", "dim", "dims")
"""What other libraries call the parameter `over`."""


class ArgumentFault(Fault):
    """Arguments that do not fit the parameters."""


def bind(
    name: str, call: syntax.Call, places: Sequence[str], required: frozenset[str], gathering: str | None = None
) -> dict[str, tuple[syntax.Expr, ...]]:
    """For every place of the function `name` the expressions given to it: none, one, or more for the `gathering` one.

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
                raise _too_many(name, places, argument)
        else:
            keyword_seen = True
            place = argument.keyword.text
            if place not in found or place == gathering:
                help = _keyword_help(place, places)
                raise ArgumentFault(f"`{name}` has no parameter `{place}`", argument.keyword.span, help)
            if found[place]:
                first = Note(f"`{place}` is first given here", found[place][0].span)
                raise ArgumentFault(f"`{place}` is given twice", argument.span, "leave one of them out", (first,))
        found[place] = (*found[place], argument.value)
    missing = [place for place in places if place in required and not found[place]]
    if missing:
        raise ArgumentFault(f"`{name}` is not given {listing(missing)}", call.span, _parameters(places))
    return found


def _too_many(name: str, places: Sequence[str], argument: syntax.Argument) -> ArgumentFault:
    count = len(places)
    return ArgumentFault(
        f"`{name}` takes {count} argument{'' if count == 1 else 's'}, this is one more",
        argument.span,
        _parameters(places),
    )


def _keyword_help(word: str, places: Sequence[str]) -> str | None:
    if word in _OVER and "over" in places:
        return "axes are given by name, as in `over=N`"
    if word in habits.KEYWORDS:
        return habits.KEYWORDS[word]
    return did_you_mean(word, places) or _parameters(places)


def _parameters(places: Sequence[str]) -> str | None:
    if not places:
        return None
    return f"its parameter{' is' if len(places) == 1 else 's are'} {listing(places)}"
