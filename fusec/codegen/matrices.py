"""Strides and offsets of matrices as text of the launcher, as products and boxes take them."""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from fusec.ir.flow import Affine
from fusec.ir.layout import strides
from fusec.ir.plan import Matrix
from fusec.ir.sizes import size_text
from fusec.ir.types import Axis, Dim


class MatrixText:
    """`dims` has the stored dimensions of every tensor, and `texts` what each stride is in the launcher."""

    def __init__(self, dims: Mapping[str, tuple[Dim, ...]], texts: Mapping[str, str]) -> None:
        self._dims = dims
        self._texts = dict(texts)

    def stride(self, matrix: Matrix, axis: Axis) -> str:
        """How far apart neighbours along an axis lie, in elements."""
        return self._text(sympy.Add(*(dict(p.terms).get(axis, sympy.S.Zero) * step for p, step in self._steps(matrix))))

    def offset(self, matrix: Matrix) -> str:
        """Where the first element is, in elements."""
        return self._text(sympy.Add(*(position.offset * step for position, step in self._steps(matrix))))

    def _steps(self, matrix: Matrix) -> list[tuple[Affine, sympy.Symbol]]:
        return list(zip(matrix.positions, strides(matrix.tensor, self._dims[matrix.tensor]), strict=True))

    def _text(self, value: sympy.Expr) -> str:
        return size_text(value, self._texts)
