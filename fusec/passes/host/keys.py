"""Keys: what the host table calls the sizes of axes and stored dimensions, and what has to be computed for them."""

from __future__ import annotations

import sympy

from fusec.ir.axis_words import axis_key
from fusec.ir.expressions import Affine
from fusec.ir.flow import LEAD_AXES
from fusec.ir.host.schedules import Matrix
from fusec.ir.layout import stored_dims, strides
from fusec.ir.sizes import size_text
from fusec.ir.tensor_map import Matrix as Placed
from fusec.ir.types import Axis, Dim, Fixed, Lead, Named, Quotient, extent, product_extent, product_text


class Keys:
    """Hands out keys, each for one size; `computed` has those that are no plain extents."""

    def __init__(self, dims: dict[str, tuple[Dim, ...]]) -> None:
        """`dims` are the stored dimensions of every tensor."""
        self._dims = dims
        self.computed: dict[str, sympy.Expr] = {}

    def axis(self, axis: Axis) -> str:
        """The key of an axis."""
        match axis:
            case Named() | Fixed():
                return axis_key(axis)
            case Lead():
                return self.axes(LEAD_AXES)
            case _:
                return self._key(axis_key(axis), extent(axis))

    def axes(self, axes: tuple[Axis, ...]) -> str:
        """The keys of several axes."""
        return " ".join(map(self.axis, axes))

    def tensor(self, name: str, sized: bool) -> str:
        """The stored dimensions of a tensor; their sizes are known if it is `sized`."""
        return " ".join(self._dim(dim, sized) for dim in stored_dims(self._dims[name]))

    def shape(self, name: str) -> str:
        """The shape of a tensor, with `lead` for all sizes of `...`."""
        return " ".join("lead" if dim == (Lead(),) else self._dim(dim, True) for dim in self._dims[name])

    def matrix(self, matrix: Placed, axes: tuple[Axis, ...]) -> str | Matrix:
        """A tensor as a product sees it: its name alone where each of these axes lies along a dimension of its own.

        Else with the strides of those that do not.
        """
        name, dims = matrix.tensor, stored_dims(self._dims[matrix.tensor])
        steps = list(zip(matrix.positions, strides(name, self._dims[name]), strict=True))
        found = {self.axis(axis): _stride(axis, steps) for axis in axes}
        offset = sympy.Add(*(position.offset * step for position, step in steps))
        plain = dict(zip((self._dim(dim, False) for dim in dims), (step for _, step in steps), strict=True))
        unlike = {key: value for key, value in found.items() if value != plain.get(key, sympy.S.Zero)}
        if not unlike and offset == 0 and len(plain) == len(dims):
            return name
        return Matrix(name, {key: self._terms(value) for key, value in unlike.items()}, self._terms(offset))

    def _dim(self, dim: Dim, sized: bool) -> str:
        if len(dim) == 1 and isinstance(dim[0], Named | Quotient):
            return self.axis(dim[0])
        text = _text(dim)
        return self._key(text, product_extent(dim)) if sized and not text.isdigit() else text

    def _terms(self, value: sympy.Expr) -> tuple[str, ...]:
        """A sum of products of keys."""
        terms = sympy.Add.make_args(sympy.expand(value)) if value != 0 else ()
        return tuple(" ".join(map(self._factor, sympy.Mul.make_args(term))) for term in sorted(terms, key=str))

    def _factor(self, factor: sympy.Expr) -> str:
        if isinstance(factor, sympy.Symbol | sympy.Integer):
            return str(factor)
        if isinstance(factor, sympy.Pow):
            return " ".join([self._factor(factor.base)] * int(factor.exp))
        known = next((key for key, value in self.computed.items() if value == factor), None)
        return known or self._key(size_text(factor).replace(" ", ""), factor)

    def _key(self, wanted: str, value: sympy.Expr) -> str:
        """`wanted`, or that with dots behind it where another size has that key."""
        while self.computed.setdefault(wanted, value) != value:
            wanted += "."
        return wanted


def _stride(axis: Axis, steps: list[tuple[Affine, sympy.Symbol]]) -> sympy.Expr:
    """How far apart neighbours along an axis lie, in elements."""
    return sympy.Add(*(dict(position.terms).get(axis, sympy.S.Zero) * step for position, step in steps))


def _text(dim: Dim) -> str:
    return product_text(dim).replace(" ", "")
