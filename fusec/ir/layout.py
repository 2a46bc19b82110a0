"""How the arguments of an op lie in memory, under the names the kernels and the launcher share."""

from __future__ import annotations

import re

import sympy

from fusec.ir.flow import LEAD_AXES
from fusec.ir.types import Dim, Lead, product_text, symbol


def stored_dims(dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The dimensions a kernel addresses: those of the signature, with `...` as the two axes it is walked by."""
    return tuple(d for dim in dims for d in (((axis,) for axis in LEAD_AXES) if dim == (Lead(),) else (dim,)))


def strides(tensor: str, dims: tuple[Dim, ...]) -> tuple[sympy.Symbol, ...]:
    """One symbol per stored dimension: `x_stride_HD` for dimension `H*D` of `x`; counted where names collide."""
    texts = [re.sub(r"\W+", "_", product_text(dim).replace("*", "")).strip("_") for dim in stored_dims(dims)]
    unique = [text if texts.count(text) == 1 else f"{text}_{place}" for place, text in enumerate(texts)]
    return tuple(symbol(f"{tensor}_stride_{text}") for text in unique)
