"""Specs with formulas written by hand, by what they are about."""

from . import activation, contraction, gradients, normalisation, packed, probability, quantisation, rotary, structure
from .table import TABLE, stored

__all__ = [
    "TABLE",
    "activation",
    "contraction",
    "gradients",
    "normalisation",
    "packed",
    "probability",
    "quantisation",
    "rotary",
    "stored",
    "structure",
]
