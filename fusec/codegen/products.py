"""Products by the library as lines of the launcher: how each sees its matrices, and when it is launched."""

from __future__ import annotations

from collections.abc import Mapping

from fusec.codegen.extents import count
from fusec.codegen.matrices import MatrixText
from fusec.codegen.signature import literal, sequence
from fusec.ir.plan import LibraryProduct
from fusec.ir.types import Axis

PRODUCTS = "products"
"""What the launcher calls the products of an op, in the order they run."""


class ProductWriter:
    """Writes the products of an op. `places` has where in a walk over leading axes the offset of a tensor stands."""

    def __init__(self, matrices: MatrixText, places: Mapping[str, int]) -> None:
        self._matrices = matrices
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
            entries = (sequence([count((axis,)), *(self._matrices.stride(m, axis) for m in matrices)]) for axis in axes)
            if axes:
                parts.append(f"{name}={sequence(entries)}")
        offsets = [self._matrices.offset(matrix) for matrix in (a, b, out)]
        if any(offset != "0" for offset in offsets):
            parts.append(f"offsets={sequence(offsets)}")
        if product.precision == "tf32":
            parts.append("tf32=True")
        return f"matmul({', '.join(parts)})"
