"""Triton's interpreter, made to compute what the hardware computes. Needs numpy, as Triton's own does."""

from fusec.interpreter.exact import alone, exact, interpreting

__all__ = ["alone", "exact", "interpreting"]
