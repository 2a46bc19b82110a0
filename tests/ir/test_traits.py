"""The traits of the operations are true, every one of them, and a wrong one is seen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from fractions import Fraction
from typing import Any

import pytest
from trait_checks import CHECKS, faults

from fusec.ir.ops import ELEMENTWISE
from fusec.ir.traits import ElementwiseOp, Scaling

OTHERS = {"name", "arity", "result", "operands", "symbol", "noun"}
"""What a signature says, and a word. `test_ranges` holds the `rule` to the reference."""

WRONG: dict[str, tuple[Any, ...]] = {
    "at": (lambda *args: 0.125,),
    "turns": (None, ((),), ((), ())),
    "image": ((-math.inf, math.inf), (0.0, math.inf), (-1.0, 1.0), (0.0, 1.0)),
    "positive": (True, False),
    "scaling": (
        *(Scaling(each=(Fraction(n, 2),)) for n in (-1, 0, 1, 2)),
        *(Scaling(together=Fraction(n), any_sign=sign) for n in (0, 1) for sign in (False, True)),
        Scaling(each=(Fraction(1), Fraction(1)), any_sign=True),
        Scaling(each=(Fraction(1), Fraction(-1)), any_sign=True),
        Scaling(),
    ),
    "linear": ((1, 1), (1, -1), (-1,), None),
    "exact": (True, False),
    "keeps_integers": (True, False),
    "selects": (True, False),
    "strict": (True, False),
    "quantises": (True, False),
    "grows": (True, False),
    "divides_integers": (True, False),
    "shifts": (True, False),
    "neutral": (0, 1, -1, None),
    "repeats": ("add", "mul"),
    "period": (1.0, math.pi, None),
}
"""Other values of every trait."""

TRUE_AS_WELL = {("mul", "repeats", "add")}


def planted() -> Iterator[tuple[ElementwiseOp, str, Any]]:
    """An operation, one of its traits, and another value of it."""
    for op in ELEMENTWISE.values():
        for trait, values in WRONG.items():
            for value in values:
                concerns = CHECKS[trait][0](op) and (trait not in ("turns", "linear") or _fits(op, value))
                if concerns and value != getattr(op, trait) and (op.name, trait, value) not in TRUE_AS_WELL:
                    yield op, trait, value


def _fits(op: ElementwiseOp, value: tuple[Any, ...] | None) -> bool:
    """Whether a value has as many entries as operands; `None` for turns that there are says less, and is true."""
    if value is None:
        return op.linear is not None or not any(op.turns or ())
    return len(value) == op.arity


@pytest.mark.parametrize("op", ELEMENTWISE.values(), ids=lambda op: op.name)
def test_traits_are_true(op: ElementwiseOp) -> None:
    assert {trait: found for trait in CHECKS if (found := faults(op, trait))} == {}


@pytest.mark.parametrize("trait", WRONG)
def test_a_wrong_trait_is_seen(trait: str) -> None:
    tried = [(op, value) for op, own, value in planted() if own == trait]
    assert tried
    unseen = [(op.name, value) for op, value in tried if not faults(replace(op, **{trait: value}), trait)]
    assert not unseen


def test_every_trait_is_held() -> None:
    assert {field.name for field in fields(ElementwiseOp)} - OTHERS - {"rule"} == CHECKS.keys() == WRONG.keys()
