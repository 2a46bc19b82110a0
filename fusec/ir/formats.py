"""Number formats of the storage types: their precision and range, and what PyTorch calls them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import MappingProxyType

from fusec.ir.types import DType, Kind


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """A binary float format: stored fraction bits, exponent of the least normal number, largest finite number."""

    mantissa: int
    least_exponent: int
    largest: float
    saturates: bool = False
    has_infinity: bool = True


FLOAT_FORMATS = MappingProxyType(
    {
        "f64": FloatFormat(52, -1022, sys.float_info.max),
        "f32": FloatFormat(23, -126, (2 - 2.0**-23) * 2.0**127),
        "f16": FloatFormat(10, -14, 65504.0),
        "bf16": FloatFormat(7, -126, (2 - 2.0**-7) * 2.0**127),
        "f8e4m3": FloatFormat(3, -6, 448.0, saturates=True, has_infinity=False),
        "f8e5m2": FloatFormat(2, -14, 57344.0, saturates=True),
        "f8e8m0": FloatFormat(0, -127, 2.0**127, has_infinity=False),
        "f4e2m1": FloatFormat(1, 0, 6.0, saturates=True, has_infinity=False),
    }
)


def limits(dtype: DType) -> tuple[int, int]:
    """The least and the largest integer of a type."""
    if dtype.name.startswith("u"):
        return 0, 2**dtype.bits - 1
    return -(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1) - 1


def largest_of(dtype: DType) -> float | int:
    """The largest finite number of a type, which is `max_of` it."""
    return FLOAT_FORMATS[dtype.name].largest if dtype.kind is Kind.REAL else limits(dtype)[1]


def least_of(dtype: DType) -> float:
    """The least real number above 0 of a type."""
    form = FLOAT_FORMATS[dtype.name]
    return 2.0 ** (form.least_exponent - form.mantissa)


def has_infinity(dtype: DType) -> bool:
    """Whether numbers of a type may be infinite."""
    return dtype.kind is Kind.REAL and FLOAT_FORMATS[dtype.name].has_infinity


def saturates(dtype: DType) -> bool:
    """Whether what is rounded to a type and is beyond it becomes its largest number."""
    return dtype.kind is Kind.INT or (dtype.kind is Kind.REAL and FLOAT_FORMATS[dtype.name].saturates)
