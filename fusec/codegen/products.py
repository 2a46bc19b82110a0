"""Products by the library as lines of the launcher: how each sees its matrices, and when it is launched."""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from fusec.codegen.extents import count
from fusec.codegen.signature import literal, sequence
from fusec.ir.layout import strides
from fusec.ir.plan import LibraryProduct, Matrix
from fusec.ir.sizes import size_text
from fusec.ir.types import Axis, Dim

PRODUCTS = "products"
"""What the launcher calls the products of an op, in the order they run."""


class ProductWriter:
    """Writes the products of an op.

    `dims` has the stored dimensions of every tensor, `texts` what each stride is in the launcher, and `places` where
    in a walk over leading axes the offset of a tensor stands.
    """

    def __init__(self, dims: Mapping[str, tuple[Dim, ...]], texts: Mapping[str, str], places: Mapping[str, int]):
        self._dims = dims
        self._texts = dict(texts)
        self._places = places

    def lines(self, products: tuple[LibraryProduct, ...]) -> list[str]:
        """All products, each None where the strides of a call make no matrices of its operands."""
        return [f"{PRODUCTS} = (", *(f"    {self._product(product)}," for product in products), ")"]

    def launch(self, product: LibraryProduct, number: int) -> list[str]:
        """The launch of product `number`; with leading axes one for each walk over two of them."""
        one = f"{PRODUCTS}[{number}]"
        tensors = dict.fromkeys(matrix.tensor for matrix in (product.a, product.b, product.out))
        moved = [f"{literal(name)}: at[{self._places[name]}]" for name in tensors if name in self._places]
        if not moved:
            return [f"launches.append({one})"]
        return [f"launches += [{one}.at({{{', '.join(moved)}}}) for at in rows.offsets]"]

    def _product(self, product: LibraryProduct) -> str:
        a, b, out = product.a, product.b, product.out
        seen = {"batch": (a, b, out), "rows": (a, out), "columns": (b, out), "inner": (a, b)}
        parts = [literal(matrix.tensor) for matrix in (a, b, out)]
        for name, matrices in seen.items():
            axes: tuple[Axis, ...] = getattr(product, name)
            entries = (sequence([count((axis,)), *(self._stride(m, axis) for m in matrices)]) for axis in axes)
            if axes:
                parts.append(f"{name}={sequence(entries)}")
        offsets = [self._text(self._offset(matrix)) for matrix in (a, b, out)]
        if any(offset != "0" for offset in offsets):
            parts.append(f"offsets={sequence(offsets)}")
        return f"matmul({', '.join(parts)})"

    def _stride(self, matrix: Matrix, axis: Axis) -> str:
        """How far apart neighbours along an axis lie."""
        steps = zip(matrix.positions, strides(matrix.tensor, self._dims[matrix.tensor]), strict=True)
        return self._text(sympy.Add(*(dict(position.terms).get(axis, sympy.S.Zero) * step for position, step in steps)))

    def _offset(self, matrix: Matrix) -> sympy.Expr:
        steps = zip(matrix.positions, strides(matrix.tensor, self._dims[matrix.tensor]), strict=True)
        return sympy.Add(*(position.offset * step for position, step in steps))

    def _text(self, value: sympy.Expr) -> str:
        return size_text(value, self._texts)
