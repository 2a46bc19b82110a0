"""Specs as their users write them, each with the formula it has to agree with: PyTorch in f64, written by hand.

A formula takes the arguments of the op by name: real tensors and scalars as f64, integers as i64, None for what was
left out. It knows nothing of the compiler. What it returns is what the op returns, not yet rounded to a dtype; then
come the new contents of tensors that are written in place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Formula: TypeAlias = Callable[..., Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True)
class Written:
    """The text of a spec of one op, and its formula."""

    text: str
    formula: Formula


TABLE: dict[str, Written] = {}
"""By the name of the op, which is the name of the formula."""


def spec(text: str) -> Callable[[Formula], Formula]:
    """Note that the decorated formula is what the spec `text` means."""

    def note(formula: Formula) -> Formula:
        name = formula.__name__
        assert f"op {name}(" in text
        assert name not in TABLE
        TABLE[name] = Written(text, formula)
        return formula

    return note


def stored(value: Tensor, dtype: torch.dtype) -> Tensor:
    """`value` as an output of `dtype`: to nearest even, integers and f8 saturate."""
    if dtype.is_floating_point:
        if dtype.itemsize == 1:
            value = value.clamp(torch.finfo(dtype).min, torch.finfo(dtype).max)
        return value.to(dtype)
    if dtype != torch.bool and value.is_floating_point():
        limits = torch.iinfo(dtype)
        value = value.round().clamp(limits.min, limits.max).nan_to_num()
    return value.to(dtype)


def rounded(value: Tensor, dtype: torch.dtype) -> Tensor:
    """`cast(value, dtype)`: stored and read again, in f64."""
    return stored(value, dtype).double()
