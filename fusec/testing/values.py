"""What tensors are filled with: one way per kind of trouble, all drawn from a seeded generator."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Generator, Tensor

from fusec.ir.formats import FLOAT_FORMATS
from fusec.ir.types import DType, Kind
from fusec.reference.rounding import torch_dtype

Shape: TypeAlias = tuple[int, ...]


def draw(kind: str, shape: Shape, dtype: DType, generator: Generator) -> Tensor:
    """A tensor of `dtype` with values of the named kind, see `VALUES`."""
    if dtype.kind is Kind.BOOL:
        return torch.randint(0, 2, shape, generator=generator) == 1
    if dtype.kind is Kind.INT:
        return _integers(kind, shape, torch_dtype(dtype), generator)
    largest = FLOAT_FORMATS[dtype.name].largest
    values = VALUES[kind](shape, dtype, generator)
    finite = torch.where(torch.isfinite(values), values.clamp(-largest, largest), values)
    return finite.to(torch_dtype(dtype))


def draw_codes(holds: str, shape: Shape, generator: Generator) -> Tensor:
    """Bytes of what a tensor `holds`: any digits of numbers of four bits, powers of two around 1 of f8e8m0."""
    low, high = (119, 136) if holds.startswith("f8e8m0") else (0, 256)
    return torch.randint(low, high, shape, generator=generator, dtype=torch.int64).to(torch.uint8)


def draw_positions(kind: str, shape: Shape, limit: int, ordered: bool, generator: Generator, least: int = 0) -> Tensor:
    """Indices from `least` to below `limit`; of the kind "stray", some outside of that.

    `ordered` ones are the boundaries of segments: they rise from 0 to `limit`.
    """
    if ordered:
        inner = torch.randint(0, limit + 1, shape, generator=generator).sort().values
        if inner.numel():
            inner[0], inner[-1] = 0, limit
        return inner
    inside = torch.randint(least, max(limit, least + 1), shape, generator=generator)
    if kind != "stray":
        return inside
    outside = torch.tensor([-1, limit, limit + 1, -(2**31), 2**31 - 1])
    chosen = outside[torch.randint(0, len(outside), shape, generator=generator)]
    return torch.where(_few(shape, generator), chosen, inside)


def draw_distinct(kind: str, shape: Shape, limit: int, generator: Generator) -> Tensor:
    """Indices of a dimension of size `limit`, each there once at most; those too many, and a few if "stray", are -1."""
    count = prod(shape)
    inside = torch.randperm(limit, generator=generator)[:count]
    found = torch.cat([inside, inside.new_full((count - len(inside),), -1)])
    found = found[torch.randperm(count, generator=generator)].reshape(shape)
    return torch.where(_few(shape, generator), -1, found) if kind == "stray" else found


def _normal(shape: Shape, dtype: DType, generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _huge(shape: Shape, dtype: DType, generator: Generator) -> Tensor:
    top = int(torch.tensor(FLOAT_FORMATS[dtype.name].largest, dtype=torch.float64).log2())
    return _normal(shape, dtype, generator) * _power(shape, top // 2, top, generator)


def _tiny(shape: Shape, dtype: DType, generator: Generator) -> Tensor:
    """Rows of every magnitude down to the subnormal numbers, half of them within reach of an epsilon."""
    form = FLOAT_FORMATS[dtype.name]
    rows = _rows(shape)
    least = _power(rows, max(form.least_exponent - form.mantissa, -300), -4, generator)
    modest = _power(rows, -24, -4, generator)
    chosen = torch.rand(rows, generator=generator) < 0.5
    return _normal(shape, dtype, generator) * torch.where(chosen, least, modest)


def _zeros(shape: Shape, dtype: DType, generator: Generator) -> Tensor:
    signs = torch.randint(0, 2, shape, generator=generator).to(torch.float64)
    return torch.copysign(torch.zeros(shape, dtype=torch.float64), signs - 0.5)


def _inf(shape: Shape, dtype: DType, generator: Generator) -> Tensor:
    values = _normal(shape, dtype, generator)
    return torch.where(_few(shape, generator), torch.copysign(torch.tensor(torch.inf), values), values)


def _nan(shape: Shape, dtype: DType, generator: Generator) -> Tensor:
    return torch.where(_few(shape, generator), torch.nan, _normal(shape, dtype, generator))


def _outlier(shape: Shape, dtype: DType, generator: Generator) -> Tensor:
    values = _normal(shape, dtype, generator)
    if not shape or not values.numel():
        return values
    place = torch.randint(0, shape[-1], _rows(shape), generator=generator)
    found = values.gather(-1, place)
    return values.scatter(-1, place, found * 2.0**10 + torch.copysign(torch.tensor(2.0**7), found))


def _whole(shape: Shape, dtype: DType, generator: Generator) -> Tensor:
    """Small whole numbers: sums of them are exact, so that a fault of structure shows at once."""
    return torch.randint(-4, 5, shape, generator=generator).to(torch.float64)


def _sparse(shape: Shape, dtype: DType, generator: Generator) -> Tensor:
    return torch.where(_few(shape, generator), _whole(shape, dtype, generator), 0.0)


def _constant_rows(shape: Shape, dtype: DType, generator: Generator) -> Tensor:
    return _normal(_rows(shape), dtype, generator).expand(shape)


def _positive(shape: Shape, dtype: DType, generator: Generator) -> Tensor:
    """Positive numbers of 11 bits and a little more: who leaves out the rest of f32 always errs to the same side."""
    whole = torch.randint(2**10, 2**11, shape, generator=generator).to(torch.float64)
    return (whole + torch.rand(shape, generator=generator, dtype=torch.float64) / 2) * 2.0**-14


VALUES: MappingProxyType[str, Callable[[Shape, DType, Generator], Tensor]] = MappingProxyType(
    {
        "normal": _normal,
        "huge": _huge,
        "tiny": _tiny,
        "zeros": _zeros,
        "inf": _inf,
        "nan": _nan,
        "outlier": _outlier,
        "whole": _whole,
        "sparse": _sparse,
        "constant_rows": _constant_rows,
        "positive": _positive,
    }
)

RANDOM = frozenset({"normal", "positive"})
"""The kinds of which every element is an ordinary number, drawn on its own."""


def _integers(kind: str, shape: Shape, dtype: torch.dtype, generator: Generator) -> Tensor:
    limits = torch.iinfo(dtype)
    if kind == "zeros":
        return torch.zeros(shape, dtype=dtype)
    low, high = (limits.min, limits.max) if kind == "huge" else (max(limits.min, -8), 8)
    return torch.randint(low, high, shape, generator=generator, dtype=torch.int64).to(dtype)


def _few(shape: Shape, generator: Generator) -> Tensor:
    """True in about one place of eight, somewhere at least where there is a place."""
    chosen = torch.rand(shape, generator=generator) < 0.125
    if chosen.numel() and not chosen.any():
        chosen.view(-1)[int(torch.randint(0, chosen.numel(), (), generator=generator))] = True
    return chosen


def _power(shape: Shape, low: int, high: int, generator: Generator) -> Tensor:
    return torch.exp2(torch.randint(low, high + 1, shape, generator=generator).to(torch.float64))


def _rows(shape: Shape) -> Shape:
    return (*shape[:-1], 1) if shape else ()
