"""Marks of an axis at round numbers."""

from __future__ import annotations

from math import ceil, floor, log10

MOST = 6
"""Marks that are enough."""


def round_marks(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between two numbers, as many as are enough."""
    step = next(each for each in _steps((high - low) / MOST) if (high - low) / each <= MOST)
    return [float(f"{number * step:.10g}") for number in range(ceil(low / step), floor(high / step) + 1)]


def _steps(least: float) -> list[float]:
    power = 10.0 ** floor(log10(least))
    return [power * factor for factor in (1, 2, 5, 10)]
