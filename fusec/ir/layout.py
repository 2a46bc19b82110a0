"""How the arguments of an op lie in memory, under the names the kernels and the launcher share."""

from __future__ import annotations

import sympy

from fusec.ir.axis_words import axis_key
from fusec.ir.flow import LEAD_AXES
from fusec.ir.host.names import SPLITS, stride_names
from fusec.ir.types import Axis, Dim, Lead, product_text, symbol


def stored_dims(dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The dimensions a kernel addresses: those of the signature, with `...` as the two axes it is walked by."""
    return tuple(d for dim in dims for d in (((axis,) for axis in LEAD_AXES) if dim == (Lead(),) else (dim,)))


def strides(tensor: str, dims: tuple[Dim, ...]) -> tuple[sympy.Symbol, ...]:
    """One symbol per stored dimension: `x_stride_HD` for dimension `H*D` of `x`; counted where names collide."""
    return tuple(map(symbol, stride_names(tensor, tuple(map(product_text, stored_dims(dims))))))


def sum_strides(workspace: str, axes: tuple[Axis, ...]) -> tuple[sympy.Symbol, ...]:
    """One symbol for each axis of the sums that several splits leave, and one for the splits."""
    return tuple(map(symbol, stride_names(workspace, (*map(axis_key, axes), SPLITS))))


def split_stride(tensor: str) -> sympy.Symbol:
    """How far the parts of a product are apart that several splits leave."""
    return symbol(stride_names(tensor, (SPLITS,))[0])
