"""Rounding to a storage type, exactly: once, from f64, with no detour through another format.

Torch converts f64 to the small formats by way of f32 and so rounds twice; a value just beside the middle of two bf16
numbers then goes the wrong way. Here the rounding is done in f64 arithmetic on the unit in the last place of the
target, in which every step but the rounding itself is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from fusec.ir.formats import FLOAT_FORMATS, FloatFormat, limits
from fusec.ir.host.dtypes import TORCH_NAMES
from fusec.ir.types import DType, Kind

TORCH_DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {name: getattr(torch, text.removeprefix("torch.")) for name, text in TORCH_NAMES.items()}
)
"""Storage type -> torch dtype. The packed `i4` has none: torch has no tensor of two numbers to a byte."""

MEANING_DTYPES = MappingProxyType({Kind.REAL: torch.float64, Kind.INT: torch.int64, Kind.BOOL: torch.bool})
"""The torch dtype in which the reference holds numbers of a kind."""


def torch_dtype(dtype: DType) -> torch.dtype:
    """The torch dtype of a storage type; `NotImplementedError` for `i4`, which torch cannot hold."""
    if dtype.packed:
        raise NotImplementedError(f"the reference has no packed {dtype}: torch has no tensor of two numbers to a byte")
    return TORCH_DTYPES[dtype.name]


def widen(stored: Tensor) -> Tensor:
    """A stored tensor in the dtype of the reference for its kind: f64, i64 or bool. Exact."""
    if stored.dtype.is_floating_point:
        return stored.to(torch.float64)
    return stored if stored.dtype == torch.bool else stored.to(torch.int64)


def as_kind(values: Tensor, kind: Kind) -> Tensor:
    """Values of the reference taken as another kind: integers as reals, truth values as 0 and 1."""
    return values.to(MEANING_DTYPES[kind])


def round_to(values: Tensor, dtype: DType) -> Tensor:
    """`values` rounded to the nearest number of `dtype`, ties to even; held in the reference's dtype for the kind.

    f8 and integers saturate, also at infinity; the other floats overflow to infinity. NaN stays NaN, and becomes 0
    in an integer, which has none. As a truth value, all but 0 is true.
    """
    if dtype.kind is Kind.BOOL:
        return values != 0
    if dtype.kind is Kind.INT:
        return _round_to_integer(values, dtype)
    if dtype.name == "f32" and values.dtype in (torch.int64, torch.float64):
        # Processors round so, once. Beyond 2**53 an integer is no f64, so the way through f64 would round twice.
        return values.to(torch.float32).to(torch.float64)
    return _round_to_float(values.to(torch.float64), FLOAT_FORMATS[dtype.name])


def spacing(values: Tensor, dtype: DType) -> Tensor:
    """The distance between neighbouring numbers of `dtype` at finite `values`, in f64; 1 for integers.

    Among the subnormal numbers of f64 it says 2**-1022, which is more than the distance.
    """
    if dtype.kind is not Kind.REAL:
        return torch.ones_like(values, dtype=torch.float64)
    return _power_of_two(_last_place(values, FLOAT_FORMATS[dtype.name]).clamp(min=-1022))


def _round_to_float(values: Tensor, form: FloatFormat) -> Tensor:
    if form.mantissa == 52:
        return values
    last = _last_place(values, form)
    rounded = torch.round(values * _power_of_two(-last)) * _power_of_two(last)
    rounded = torch.where(torch.isfinite(values), rounded, values)
    if form.saturates:
        return rounded.clamp(-form.largest, form.largest)
    infinite = torch.copysign(torch.full_like(rounded, torch.inf), rounded)
    return torch.where(rounded.abs() > form.largest, infinite, rounded)


def _round_to_integer(values: Tensor, dtype: DType) -> Tensor:
    low, high = limits(dtype)
    if values.dtype != torch.float64:
        return values.to(torch.int64).clamp(low, high)
    # Converting a float beyond the limits of i64 is undefined: convert only what is inside.
    whole = torch.round(torch.nan_to_num(values, nan=0.0, posinf=torch.inf, neginf=-torch.inf))
    inside = (whole >= low) & (whole <= high) & (whole < 2.0**63)  # `high` of i64, as a f64, is 2**63
    limit = torch.where(whole > 0, high, low).to(torch.int64)
    return torch.where(inside, torch.where(inside, whole, 0.0).to(torch.int64), limit)


def _last_place(values: Tensor, form: FloatFormat) -> Tensor:
    """The exponent of the unit in the last place of `form` at `values`."""
    exponent = torch.frexp(values).exponent.to(torch.int64) - 1
    exponent = torch.where(values == 0, form.least_exponent, exponent.clamp(min=form.least_exponent))
    return exponent - form.mantissa


def _power_of_two(exponent: Tensor) -> Tensor:
    """2**exponent for exponents of normal f64 numbers, exact: the bits of the number are written down."""
    return ((exponent + 1023) << 52).view(torch.float64)
