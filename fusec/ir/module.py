"""A module class of an op, which owns its weights: what the constructor takes, and what follows from that.

Sizes are expressions over one symbol (`types.symbol`) for each argument of the constructor that is a size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import sympy

from fusec.diagnostics import Span
from fusec.ir.types import Dim


@dataclass(frozen=True, slots=True)
class Setting:
    """An argument of the constructor; `default` is None when it must be given.

    It is the size of `dim` or, where that is None, the op's parameter of that name: a number, a choice, or whether an
    optional weight is there.
    """

    name: str
    dim: Dim | None = None
    default: float | int | bool | str | None = None
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Spread:
    """Values drawn uniformly within 1/sqrt(inputs) of zero: those of a matrix with so many terms to each sum."""

    inputs: sympy.Expr


Start: TypeAlias = float | Spread
"""What a weight holds at first: one number everywhere, or drawn values."""


@dataclass(frozen=True, slots=True)
class Owned:
    """A weight of the op, under its name there."""

    name: str
    shape: tuple[sympy.Expr, ...]
    start: Start


@dataclass(frozen=True, slots=True)
class Rule:
    """`left relation right`, which the constructor's sizes have to keep."""

    left: sympy.Expr
    relation: str
    right: sympy.Expr


@dataclass(frozen=True, slots=True)
class Module:
    """A class called `name`. `extents` has the `dim` parameters of the op that follow from the sizes.

    What is neither a setting, nor owned, nor an extent, nor an optional weight that no setting asks for, is left to
    `forward`.
    """

    name: str
    settings: tuple[Setting, ...]
    weights: tuple[Owned, ...]
    extents: tuple[tuple[str, sympy.Expr], ...]
    rules: tuple[Rule, ...]
