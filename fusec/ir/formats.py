"""Formats: the largest and the least numbers of the storage types."""

from __future__ import annotations

from fusec.ir.types import DType, Kind

_FULL = "f8e4m3"
"""It has numbers where the others have infinities, and NaN in one code of each sign."""


def largest_of(dtype: DType) -> float | int:
    """The largest finite number of a type, which is `max_of` it."""
    if dtype.kind is not Kind.REAL:
        return limits(dtype)[1]
    last = 2.0**-dtype.mantissa
    return (2 - 2 * last) * 2.0 ** (_bias(dtype) + 1) if dtype.name == _FULL else (2 - last) * 2.0 ** _bias(dtype)


def least_of(dtype: DType) -> float:
    """The least real number above 0 of a type."""
    return 2.0 ** (1 - _bias(dtype) - dtype.mantissa)


def has_infinity(dtype: DType) -> bool:
    """Whether numbers of a type may be infinite."""
    return dtype.kind is Kind.REAL and dtype.name != _FULL


def saturates(dtype: DType) -> bool:
    """Whether what is rounded to a type and is beyond it becomes its largest number."""
    return dtype.kind is Kind.INT or dtype.bits == 8


def limits(dtype: DType) -> tuple[int, int]:
    """The least and the largest integer of a type."""
    if dtype.name == "u8":
        return 0, 2**dtype.bits - 1
    return -(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1) - 1


def _bias(dtype: DType) -> int:
    """The largest exponent that numbers have, but for those in place of infinities."""
    return int(2 ** (dtype.bits - dtype.mantissa - 2) - 1)
